"""Attributes of the panel's classes: properties, methods and signals, checked against the facts at every use."""

import functools
import threading

from PySide6 import QtCore

from . import convert, signals
from .facts import CLASSES, NotInSlicer, methods, properties
from .native import Native, native_class

# {class: {method: function}}: what must not run as Qt has it. A method of an object gets the object first.
INSTEAD = {}


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
