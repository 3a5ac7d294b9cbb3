"""Values on their way between Python and Qt: enums, the types an argument may have, and wrapping.

`wrap` and `unwrap` turn PySide objects into the objects the panel sees and back; `objects` fills in how.
"""

import enum
import re

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .facts import CLASSES, chain, enums

MODULES = (QtWidgets, QtGui, QtCore, QtUiTools)

INTEGERS = {"int", "uint", "qint64", "quint64", "qlonglong", "short", "ushort", "long", "uchar", "char", "unsigned int"}
REALS = {"double", "qreal", "float"}


def pyside(name):
    """The PySide class of this name, or None (Qt 6 has moved or dropped some)."""
    return next((getattr(m, name) for m in MODULES if hasattr(m, name)), None)


class EnumValue(int):
    """An enum value as PythonQt shows it: an int with a name, closed under `|`."""

    def __new__(cls, number, native=None):
        self = super().__new__(cls, number)
        self.native = native
        return self

    def __or__(self, other):
        if isinstance(other, EnumValue) and self.native is not None and other.native is not None:
            return enum_value(self.native | other.native)
        return int(self) | int(other)

    def __repr__(self):
        return f"{self.native if self.native is not None else int(self)}"


def enum_value(native):
    return EnumValue(native.value, native)


def class_enum(cls, name):
    """The value `cls.name`, or None where the facts or Qt 6 do not have it."""
    if name not in enums(cls):
        return None
    _, number, owner = enums(cls)[name]
    native = getattr(pyside(owner), name, None)
    if isinstance(native, enum.Enum):
        return enum_value(native)
    return EnumValue(number) if isinstance(number, int) else None


def unlisted_enum(cls, name):
    """`cls.name` of an enum that moc does not see (QIODevice.ReadOnly): PythonQt wraps those too. None if none."""
    for owner in chain(cls):
        native = getattr(pyside(owner), name, None) if CLASSES[owner]["ns"] == "qt" else None
        if isinstance(native, enum.Enum):
            kind = type(native).__name__.removesuffix("Flag")
            listed = {type(native).__name__, kind, kind + "s"} & set(CLASSES[owner].get("enums", {}))
            return None if listed else enum_value(native)  # a listed enum has in Qt 5 what the facts say, no more
    return None


def native_enum(kind, value, owner):
    """An int as a member of PySide's enum `kind` ("Qt::Alignment"); the value itself where there is none."""
    scope, _, name = kind.rpartition("::")
    holder = pyside(scope or owner)
    found = getattr(holder, name, None) or getattr(holder, name + "Flag", None) or getattr(holder, name[:-1], None)
    return found(int(value)) if isinstance(found, type) and issubclass(found, enum.Enum) else value


def is_enum(kind, owner):
    scope, _, name = kind.rpartition("::")
    if scope:
        return scope in CLASSES and name[:1].isupper()
    return any(name in CLASSES[c].get("enums", {}) for c in chain(owner))


def accepts(kind, value, owner):
    """Whether PythonQt takes this Python value for a C++ argument of type `kind`.

    Stricter than PythonQt in doubtful cases (it stringifies anything for a QString), and never laxer on purpose.
    """
    pointer = kind.endswith("*")
    bare = re.sub(r"^const | ?[*&]+$", "", kind).strip()
    if bare == "bool":
        return isinstance(value, int)
    if bare in INTEGERS:
        return isinstance(value, int)
    if bare in REALS:
        return isinstance(value, int | float)
    if bare in ("QString", "char") or kind == "const char*":
        return isinstance(value, str)
    if bare == "QByteArray":
        return isinstance(value, bytes | str)
    if bare == "QStringList":
        return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    if bare == "QVariantMap":
        return isinstance(value, dict)
    if bare.startswith(("QList<", "QVector<")):
        return isinstance(value, list | tuple)
    if bare == "QVariant":
        return True
    if bare == "PyObject":
        return callable(value)
    if bare.startswith("vtk"):
        return value is None or (hasattr(value, "IsA") and bool(value.IsA(bare)))
    if bare in CLASSES:
        if bare == "QCursor" and isinstance(value, EnumValue):  # slicer.util relies on this conversion
            return isinstance(value.native, QtCore.Qt.CursorShape)
        if value is None:
            return pointer
        named = bare in {c.__name__ for c in type(value).__mro__}
        # A widget is a QPaintDevice too, which the single base of the facts does not tell.
        return named or (pyside(bare) is not None and isinstance(unwrap(value), pyside(bare)))
    if is_enum(bare, owner):
        return isinstance(value, int)
    return value is None or isinstance(value, int) or hasattr(value, "_native")  # a class that api.json leaves out


def to_native(kind, value, owner):
    """A checked Python value as PySide wants it for an argument of type `kind`."""
    if isinstance(value, EnumValue) and value.native is not None:
        return value.native if not kind.startswith(tuple(INTEGERS)) else int(value)
    if isinstance(value, int) and not isinstance(value, bool) and is_enum(kind, owner):
        return native_enum(kind, value, owner)
    if kind in INTEGERS and isinstance(value, bool):
        return int(value)
    return unwrap(value)


def unwrap(value):
    if isinstance(value, EnumValue):
        return value.native if value.native is not None else int(value)
    if isinstance(value, list | tuple):
        return [unwrap(v) for v in value]
    return getattr(value, "_native", value)


def wrap(value):
    from . import objects

    if isinstance(value, enum.Enum):
        return enum_value(value)
    if isinstance(value, list | tuple):
        return tuple(wrap(v) for v in value)
    if isinstance(value, QtCore.QByteArray):
        return bytes(value.data())
    return objects.wrapper_of(value)
