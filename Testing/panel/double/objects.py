"""The classes that a panel sees: one Python class for every class of the facts, around a PySide object.

`make(name)` builds them when first asked for. Their attributes are properties, methods, signals and enums of the
facts and nothing else, found in PythonQt's order. What a CTK or Slicer class does is in `native`.
"""

import functools
import weakref

import shiboken6
from PySide6 import QtCore

from . import convert, signals
from .facts import CLASSES, NotInSlicer, chain, constructors, methods, properties
from .members import INSTEAD, Method, Property, SignalAttribute, choose, natives, target_slot, write_property
from .native import native_class

_PROXIES = weakref.WeakValueDictionary()  # id of the PySide object -> what the panel sees of it


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
