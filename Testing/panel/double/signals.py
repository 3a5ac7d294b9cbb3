"""Connecting as PythonQt does it: one overload by its text, or the first one by its name; surplus arguments dropped.

An exception in a slot does not reach the emitter. It is kept in `ERRORS`, and the test that caused it fails.
"""

import inspect
import sys
import traceback

import shiboken6
from PySide6 import QtCore

from . import convert
from .facts import NotInSlicer, normalized, signals, split_types

ERRORS = []  # texts of exceptions that a slot, a timer, an event or an observer raised
_CONNECTIONS = {}  # C++ address -> [Connection]

# Signals that Qt 6 dropped: the one that replaces it, and how its arguments become the old ones.
_QT5_ONLY = {
    "currentIndexChanged(QString)": ("currentIndexChanged", lambda box, i: (box.itemText(i),)),
    "activated(QString)": ("activated", lambda box, i: (box.itemText(i),)),
    "highlighted(QString)": ("highlighted", lambda box, i: (box.itemText(i),)),
    "valueChanged(QString)": ("textChanged", lambda _, text: (text,)),
    "buttonClicked(int)": ("idClicked", lambda _, i: (i,)),
    "buttonToggled(int,bool)": ("idToggled", lambda _, i, on: (i, on)),
}


def record_exception(kind=None, value=None, trace=None):
    """Usable as sys.excepthook, where VTK and PySide report what an observer or an event handler raised."""
    ERRORS.append("".join(traceback.format_exception(*((kind, value, trace) if kind else sys.exc_info()))))


def call_slot(function, args):
    """Call with as many arguments as the function declares, defaults included."""
    args = args[: declared_arguments(function)]
    try:
        return function(*args)
    except Exception:  # PythonQt prints it and goes on; here the test fails at its end
        record_exception()


def declared_arguments(function):
    """None (all) for *args and for whatever is no Python function, as `functools.partial` and methods of Qt."""
    plain = function.__func__ if inspect.ismethod(function) else function
    if not inspect.isfunction(plain) or plain.__code__.co_flags & inspect.CO_VARARGS:
        return None
    return plain.__code__.co_argcount - inspect.ismethod(function)


class Connection:
    def __init__(self, signature, target):
        self.signature, self.target = signature, target
        self.undo = lambda: None


def connections(native):
    address = shiboken6.getCppPointer(native)[0]
    if address not in _CONNECTIONS:
        _CONNECTIONS[address] = []
        native.destroyed.connect(lambda *_: _CONNECTIONS.pop(address, None))
    return _CONNECTIONS[address]


def known(cls, signature):
    """The signature in Qt's writing, or NotInSlicer."""
    text = normalized(signature)
    found = signals(cls).get(text.partition("(")[0], {})
    if text not in found:
        raise NotInSlicer(f"{cls} has no signal {text}" + (f"; it has {', '.join(found)}" if found else ""))
    return text


def connect(proxy, signature, target):
    """Call `target` with the wrapped arguments of the signal whenever it is emitted."""
    if not callable(target):
        raise TypeError(f"cannot connect {signature} to {target!r}, which is not callable")
    native, connection = proxy._native, Connection(signature, target)
    count = len(split_types(signature.partition("(")[2][:-1]))

    def deliver(*args):
        call_slot(target, convert.wrap(args[:count]))

    if signature in getattr(native, "own_signals", ()):
        connection.deliver = deliver
    else:
        source, adapt = _native_signal(native, signature)
        handler = (lambda *a: deliver(*adapt(native, *a))) if adapt else deliver
        source.connect(handler)
        connection.undo = lambda: source.disconnect(handler)
    connections(native).append(connection)
    return True


def disconnect(proxy, signatures, target=None):
    """Drop the first connection of these signatures to `target`, or all; whether there was one."""
    mine = connections(proxy._native)
    gone = [c for c in mine if c.signature in signatures and (target is None or c.target == target)]
    if target is not None:
        gone = gone[:1]  # a function connected twice stays connected once
    for connection in gone:
        connection.undo()
        mine.remove(connection)
    return bool(gone)


def emit(native, signature, *args):
    """Emit a signal that the double keeps itself (all of CTK's and Slicer's classes)."""
    if not native.signalsBlocked():
        for connection in list(connections(native)):
            if connection.signature == signature:
                connection.deliver(*args)


def _native_signal(native, signature):
    """PySide's signal for a signature of Qt 5, and the change of arguments if one is needed."""
    name, types = signature[:-1].split("(", 1)
    meta = native.metaObject()
    methods = [meta.method(i) for i in range(meta.methodCount())]
    texts = [
        bytes(m.methodSignature().data()).decode()
        for m in methods
        if m.methodType() == QtCore.QMetaMethod.MethodType.Signal and bytes(m.name().data()).decode() == name
    ]
    for text in sorted(texts, key=lambda t: t != signature):
        if text == signature or text.startswith(f"{name}({types}" + ("," if types else "")):
            return getattr(native, name)[text[:-1].split("(", 1)[1]] if types else getattr(native, name), None
    if signature in _QT5_ONLY:
        replacement, adapt = _QT5_ONLY[signature]
        return getattr(native, replacement), adapt
    raise NotImplementedError(f"{type(native).__name__}.{signature} is not in Qt 6; the double does not model it")


class BoundSignal:
    """`obj.clicked`: stands for the first signature of that name."""

    def __init__(self, proxy, name):
        self._proxy, self._name = proxy, name
        self._signatures = list(signals(proxy._facts)[name])

    def connect(self, *target):
        if len(target) == 2:
            return self._proxy.connect(self._signatures[0], *target)
        return connect(self._proxy, self._signatures[0], *target)

    def disconnect(self, target=None):
        return disconnect(self._proxy, self._signatures, target)

    def emit(self, *args):
        native = self._proxy._native
        matching = [s for s in self._signatures if self._fits(s, args)]
        if not matching:
            raise ValueError(f"{self._proxy._facts}.{self._name} cannot be emitted with {args}")
        if matching[0] in getattr(native, "own_signals", ()):
            emit(native, matching[0], *args)
        else:
            _native_signal(native, matching[0])[0].emit(*convert.unwrap(args))

    __call__ = emit

    def _fits(self, signature, args):
        types = split_types(signature.partition("(")[2][:-1])
        return len(types) == len(args) and all(
            convert.accepts(t, a, self._proxy._facts) for t, a in zip(types, args, strict=True)
        )
