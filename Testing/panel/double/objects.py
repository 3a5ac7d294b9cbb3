"""The classes that a panel sees: one Python class for every class of the facts, around a PySide object.

`make(name)` builds them when first asked for. Their attributes are properties, methods, signals and enums of the
facts and nothing else, found in PythonQt's order. What a CTK or Slicer class does is in `native`.
"""

import functools
import threading
import weakref

import shiboken6
from PySide6 import QtCore

from . import convert, signals
from .facts import CLASSES, NotInSlicer, chain, constructors, methods, properties
from .native import Native, native_class

_PROXIES = weakref.WeakValueDictionary()  # id of the PySide object -> what the panel sees of it


class Property:
    def __init__(self, name):
        self.name = name

    def __get__(self, proxy, owner=None):
        if proxy is None:
            raise NotInSlicer(f"{owner.__name__}.{self.name} is a property of objects, not of the class")
        return convert.wrap(read_property(proxy._native, proxy._facts, self.name))

    def __set__(self, proxy, value):
        write_property(proxy._native, proxy._facts, self.name, value)


def read_property(native, cls, name):
    kind, _, owner = properties(cls)[name]
    if isinstance(native, Native) and (CLASSES[owner]["ns"] != "qt" or hasattr(native, f"get_{name}")):
        return native.read(name, kind)
    name = "objectName" if name == "name" else name
    if native.metaObject().indexOfProperty(name) < 0:
        raise NotImplementedError(f"Qt 6 has no property {cls}.{name}; the double does not model it")
    return native.property(name)


def require_main_thread(native, what):
    """Qt objects are used in the main thread only; in Slicer anything else crashes, if not at once."""
    if isinstance(native, QtCore.QObject) and threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"{what} outside the main thread")


def write_property(native, cls, name, value):
    require_main_thread(native, f"{cls}.{name} written")
    kind, writable, owner = properties(cls)[name]
    if not writable:
        raise NotInSlicer(f"{cls}.{name} is read-only")
    if not convert.accepts(kind, value, owner):
        raise NotInSlicer(f"{cls}.{name} is a {kind}, and {value!r} is a {type(value).__name__}")
    if isinstance(native, Native) and (CLASSES[owner]["ns"] != "qt" or hasattr(native, f"set_{name}")):
        native.write(name, convert.unwrap(value))
        return
    name = "objectName" if name == "name" else name
    if not native.setProperty(name, convert.to_native(kind, value, owner)):
        raise NotImplementedError(f"Qt 6 does not take {value!r} for {cls}.{name}; the double does not model it")


class Method:
    """A method, slot or invokable. Calls without an overload that takes the arguments raise ValueError, as PythonQt."""

    def __init__(self, cls, name):
        self.cls, self.name = cls, name

    def __get__(self, proxy, owner=None):
        if proxy is not None:
            return BoundMethod(proxy, self.name)
        if any(o.static for o in methods(self.cls)[self.name]):
            return functools.partial(self._call_static, self.cls)
        return lambda instance, *args: BoundMethod(instance, self.name)(*args)

    def _call_static(self, cls, *args):
        overload = choose(methods(cls)[self.name], args, static=True)
        if self.name in INSTEAD.get(overload.owner, {}):
            return convert.wrap(INSTEAD[overload.owner][self.name](*args))
        return convert.wrap(getattr(native_class(cls), self.name)(*natives(overload, args)))


# {class: {method: function}}: what must not run as Qt has it. A method of an object gets the object first.
INSTEAD = {}


class BoundMethod:
    def __init__(self, proxy, name):
        self.__self__, self.__name__ = proxy, name

    def __call__(self, *args):
        native, cls, name = self.__self__._native, self.__self__._facts, self.__name__
        require_main_thread(native, f"{cls}.{name} called")
        overload = choose(methods(cls)[name], args)
        if name in INSTEAD.get(overload.owner, {}):
            return convert.wrap(INSTEAD[overload.owner][name](*(() if overload.static else (self.__self__,)), *args))
        values = natives(overload, args)
        if CLASSES[overload.owner]["ns"] == "qt" or (isinstance(native, Native) and native.models(name)):
            # An overridden virtual that calls its base must not reach itself.
            source = super(type(native), native) if hasattr(type(native), "overrides") else native
            if not hasattr(source, name):
                raise NotImplementedError(f"Qt 6 has no {cls}.{name}; the double does not model it")
            return convert.wrap(getattr(source, name)(*values))
        written = name[3:4].lower() + name[4:] if name.startswith("set") else None
        if written in properties(cls) and len(args) == 1:
            return write_property(native, cls, written, args[0])
        raise NotImplementedError(f"Slicer has {cls}.{name}; the double does not model it yet")

    def __eq__(self, other):
        return isinstance(other, BoundMethod) and (self.__self__, self.__name__) == (other.__self__, other.__name__)

    __hash__ = None


def choose(overloads, args, static=None):
    for overload in overloads:
        if (static is None or overload.static) and overload.required <= len(args) <= len(overload.types):
            kinds = overload.types[: len(args)]
            if all(convert.accepts(k, a, overload.owner) for k, a in zip(kinds, args, strict=True)):
                return overload
    shown = ", ".join(o.text for o in overloads)
    raise ValueError(f"{overloads[0].name}{args} fits no overload in Slicer; there is {shown}")


def natives(overload, args):
    return [convert.to_native(k, a, overload.owner) for k, a in zip(overload.types, args, strict=False)]


class SignalAttribute:
    def __init__(self, name):
        self.name = name

    def __get__(self, proxy, owner=None):
        if proxy is None:
            raise NotInSlicer(f"{owner.__name__}.{self.name} is a signal of objects, not of the class")
        return signals.BoundSignal(proxy, self.name)


class _Class(type):
    def __getattr__(cls, name):
        if name.endswith("_") and not name.startswith("_"):
            return getattr(cls, name[:-1])
        value = None if name.startswith("_") else convert.unlisted_enum(cls._facts, name)
        if value is None:
            raise NotInSlicer(f"Slicer has no {cls.__name__}.{name}")
        return value


class Proxy(metaclass=_Class):
    """Base of all classes of the panel's Qt."""

    _facts = None

    def __init__(self, *args):
        overloads = constructors(self._facts)
        if overloads is None:
            raise NotInSlicer(f"Python cannot build a {self._facts}")
        native_type = native_class(self._facts)
        if native_type is None:
            raise NotImplementedError(f"Qt 6 has no {self._facts}; the double does not model it")
        by_panel = not is_generated(type(self))
        if by_panel:
            native_type = _with_overrides(type(self), native_type)
        native = native_type(*natives(choose(overloads, args), args))
        _attach(self, native)
        if by_panel:
            native._proxy = self  # its Python half must live as long as the C++ object does

    def __getattr__(self, name):
        if name.startswith("__") or "_native" not in self.__dict__:
            raise AttributeError(name)
        native = self._native
        if name.endswith("_") and not name.startswith("_"):
            return getattr(self, name[:-1])
        if isinstance(native, QtCore.QObject):
            if name in [bytes(n.data()).decode() for n in native.dynamicPropertyNames()]:
                return convert.wrap(native.property(name))
            for child in native.children():
                if child.objectName() == name:
                    return convert.wrap(child)
        raise NotInSlicer(f"Slicer has no {self._facts}.{name}")

    def __setattr__(self, name, value):
        if name in properties(self._facts):
            write_property(self._native, self._facts, name, value)
        elif is_generated(type(self)):
            raise NotInSlicer(f"{self._facts} has no property {name} to write")
        else:
            object.__setattr__(self, name, value)

    def __bool__(self):
        return shiboken6.isValid(self._native)

    def __eq__(self, other):
        return isinstance(other, Proxy) and (self._native is other._native or self._native == other._native)

    def __hash__(self):
        return hash(self._native) if isinstance(self._native, QtCore.QObject) else id(self)

    def __repr__(self):
        return f"<{self._facts} double at {id(self._native):#x}>"

    def className(self):
        return self._facts

    def inherits(self, name):
        return name in chain(self._facts)

    def delete(self):
        shiboken6.delete(self._native)


def is_generated(python_class):
    """Whether this is a class of Qt, CTK or Slicer and not one that the panel derived from it."""
    return "_facts" in vars(python_class)


class ObjectMembers:
    """What PythonQt gives every QObject besides what moc lists."""

    def connect(self, signature, target, slot=None):
        signature = signals.known(self._facts, signature)
        return signals.connect(self, signature, target if slot is None else target_slot(signature, target, slot))

    def disconnect(self, signature, target=None):
        return signals.disconnect(self, [signals.known(self._facts, signature)], target)

    def parent(self):
        return convert.wrap(self._native.parent())

    def setParent(self, parent):
        self._native.setParent(convert.unwrap(parent))

    def children(self):
        return convert.wrap(list(self._native.children()))

    def findChildren(self, kind, name=None):
        name_of = kind if isinstance(kind, str) else kind.__name__
        found = [convert.wrap(c) for c in self._native.findChildren(QtCore.QObject)]
        return tuple(c for c in found if c.inherits(name_of) and (name is None or c._native.objectName() == name))

    def findChild(self, kind, name=None):
        found = self.findChildren(kind, name)
        return found[0] if found else None

    def property(self, name):
        if name in properties(self._facts):
            return getattr(self, name)
        return convert.wrap(self._native.property(name))

    def setProperty(self, name, value):
        if name in properties(self._facts):
            write_property(self._native, self._facts, name, value)
            return True
        self._native.setProperty(name, convert.unwrap(value))
        return False

    def tr(self, text, *_):
        return text


def target_slot(signature, receiver, slot):
    """The function that calls a slot (or emits a signal) of another object, as a C++ connection does."""
    slot = signals.normalized(slot)
    name, types = slot[:-1].split("(", 1)
    as_slot = any(f"{name}({','.join(o.types)})" == slot for o in methods(receiver._facts).get(name, ()))
    if not as_slot and slot not in signals.signals(receiver._facts).get(name, ()):
        raise NotInSlicer(f"{receiver._facts} has no slot {slot}")
    given = signature[:-1].split("(", 1)[1]
    if not (given + ",").startswith(types + "," if types else ""):
        raise NotInSlicer(f"{signature} does not fit {receiver._facts}.{slot}")
    count = len(signals.split_types(types))
    return lambda *args: getattr(receiver, name)(*args[:count])


def _attach(proxy, native):
    object.__setattr__(proxy, "_native", native)
    _PROXIES[id(native)] = proxy


def _with_overrides(python_class, native_type):
    """A PySide class whose virtual functions call those that the panel's subclass defines."""
    names = {n for c in python_class.__mro__ if issubclass(c, Proxy) and not is_generated(c) for n in vars(c)}

    def forward(name):
        return lambda self, *args: convert.unwrap(getattr(self._proxy, name)(*convert.wrap(args)))

    members = {n: forward(n) for n in names if n in methods(python_class._facts) and not n.startswith("__")}
    return type(native_type.__name__, (native_type,), {**members, "overrides": True, "_proxy": None})


def wrapper_of(value):
    """What the panel sees of a PySide object; anything else is given back as it is."""
    if not isinstance(value, shiboken6.Shiboken.Object):
        return value
    if type(value).__name__ == "QOverrideCursorGuard":  # setOverrideCursor gives nothing in C++
        return None
    if getattr(value, "_proxy", None) is not None:
        return value._proxy
    proxy = _PROXIES.get(id(value))
    if proxy is None:
        name = next((t.__name__ for t in type(value).__mro__ if t.__name__ in CLASSES), None)
        if name is None:
            raise NotImplementedError(f"{type(value).__name__} is not in api.json; add it to api_classes.txt")
        python_class = make(name)
        proxy = python_class.__new__(python_class)
        _attach(proxy, value)
    return proxy


@functools.cache
def make(cls):
    """The Python class of a class of the facts."""
    entry = CLASSES[cls]
    bases = (make(entry["base"]),) if entry["base"] else (Proxy,)
    if cls == "QObject":
        bases = (ObjectMembers, Proxy)
    members = {"_facts": cls, "__doc__": f"Double of {cls}."}
    values = {n: convert.class_enum(cls, n) for own in entry.get("enums", {}).values() for n in own}
    members |= {n: v for n, v in values.items() if v is not None}
    members |= {n: SignalAttribute(n) for n in (s.partition("(")[0] for s in entry.get("sigs", ()))}
    calls = {t.removeprefix("static ").partition("(")[0] for t in entry.get("calls", ())}
    hand_written = {*vars(ObjectMembers), *vars(Proxy)}
    members |= {n: Method(cls, n) for n in calls - hand_written if n not in properties(cls)}
    members |= {n: Property(n) for n in entry.get("props", {})}
    if "objectName" in entry.get("props", {}):
        members["name"] = Property("name")
    if cls == "QTimer":  # PythonQt: the function, not the property of the same name
        members["singleShot"] = Method(cls, "singleShot")
        INSTEAD[cls] = {"singleShot": _single_shot}
    python_class = _Class(cls, bases, members)
    python_class.__module__ = entry["ns"]
    return python_class


def _single_shot(msec, function):
    QtCore.QTimer.singleShot(msec, lambda: signals.call_slot(function, ()))
