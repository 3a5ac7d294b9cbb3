"""The C++ side of CTK and Slicer widgets: PySide objects that keep the facts' properties and signals.

A class with behaviour is written by hand and registered with `@models`; every other one is made from the facts and
only remembers its properties. Hand-written classes name their functions as Slicer does; `get_x` and `set_x` serve
the property x, and `defaults` says what a property is at first.
"""

import functools
import types

from . import convert
from .facts import CLASSES, methods, properties
from .facts import signals as signals_of

_HAND_WRITTEN = {}


def models(python_class):
    """Class decorator: this is how the double models the class of that name."""
    assert python_class.__name__ in CLASSES, python_class
    _HAND_WRITTEN[python_class.__name__] = python_class
    return python_class


def values(**properties):
    """What properties are at first."""
    return types.MappingProxyType(properties)


class Native:
    """Mixin: properties in a dictionary, signals through `emit`."""

    defaults = values()

    @functools.cached_property
    def _values(self):
        return {}

    @functools.cached_property
    def own_signals(self):
        """Signatures that Qt does not know of."""
        cls = facts_name(type(self))
        return {s for found in signals_of(cls).values() for s, owner in found.items() if CLASSES[owner]["ns"] != "qt"}

    def emit(self, signature, *args):
        from . import signals

        assert signature in self.own_signals, f"the double emits {signature}, which {type(self).__name__} has not"
        signals.emit(self, signature, *args)

    def read(self, name, kind):
        getter = getattr(self, f"get_{name}", None)
        return getter() if getter else self._values.get(name, self.default(name, kind))

    def write(self, name, value):
        setter = getattr(self, f"set_{name}", None)
        if setter:
            setter(value)
            return
        kind = properties(facts_name(type(self)))[name][0]
        changed = self.read(name, kind) != value
        self._values[name] = value
        if changed and f"{name}Changed({kind})" in self.own_signals:
            self.emit(f"{name}Changed({kind})", value)

    def default(self, name, kind):
        for python_class in type(self).__mro__:
            if name in vars(python_class).get("defaults", {}):
                return vars(python_class)["defaults"][name]
        empty = {"bool": False, "QString": "", "QStringList": ()}
        return empty.get(kind, 0.0 if kind in convert.REALS else 0 if kind in convert.INTEGERS else None)

    def models(self, name):
        """Whether a hand-written class has this method (what PySide has by the same name does not count)."""
        return any(name in vars(c) for c in type(self).__mro__ if issubclass(c, Native) and c is not Native)


class OfScene(Native):
    """Mixin: a widget that is given the scene."""

    def setMRMLScene(self, scene):
        if scene is not self.mrmlScene():
            self._scene = scene
            self.scene_changed(scene)
            if "mrmlSceneChanged(vtkMRMLScene*)" in self.own_signals:
                self.emit("mrmlSceneChanged(vtkMRMLScene*)", scene)

    def mrmlScene(self):
        return getattr(self, "_scene", None)

    def scene_changed(self, scene):
        """For subclasses."""


def facts_name(native_type):
    return next(t.__name__ for t in native_type.__mro__ if t.__name__ in CLASSES)


@functools.cache
def native_class(cls):
    """The PySide class to build for a class of the facts; None where Qt 6 has none."""
    if cls in _HAND_WRITTEN:
        return _HAND_WRITTEN[cls]
    if CLASSES[cls]["ns"] == "qt":
        return convert.pyside(cls)
    base = native_class(CLASSES[cls]["base"])
    mixin = OfScene if "setMRMLScene" in methods(cls) else Native
    return type(cls, (base,) if issubclass(base, mixin) else (mixin, base), {})
