"""What Slicer has: the classes of api.json with their inherited properties, signals, methods and enums."""

import functools
import json
import re
from pathlib import Path

CLASSES = json.loads(Path(__file__).parents[1].joinpath("api.json").read_text())["classes"]

# True in Slicer but in no list of moc or of the wrapper generator: PythonQt writes these by hand, and slicer.util,
# which runs here as Slicer ships it, relies on them.
CLASSES["QTimer"]["calls"].append("static singleShot(int,PyObject*)")
CLASSES["QIODevice"].setdefault("calls", []).append("open(int)")


_FIRST = r"\1"


class NotInSlicer(AttributeError):
    """Slicer would refuse this. An AttributeError, so that `hasattr` and `getattr` with a default work as there."""


def chain(cls):
    """The class and its bases, from the most derived up."""
    while cls:
        yield cls
        cls = CLASSES[cls]["base"]


@functools.cache
def properties(cls):
    """{name: (type, writable, owner)} with inherited ones; a derived class wins."""
    found = {}
    for owner in chain(cls):
        for name, kind in CLASSES[owner].get("props", {}).items():
            found.setdefault(name, (kind.removeprefix("-"), not kind.startswith("-"), owner))
    if "objectName" in found:
        found.setdefault("name", found["objectName"])
    return found


@functools.cache
def signals(cls):
    """{name: {signature: owner}} in the order of declaration, own class first."""
    found = {}
    for owner in chain(cls):
        for signature in CLASSES[owner].get("sigs", ()):
            found.setdefault(signature.partition("(")[0], {}).setdefault(signature, owner)
    return found


@functools.cache
def methods(cls):
    """{name: [Overload]} with inherited overloads, own class first."""
    found = {}
    for owner in chain(cls):
        for text in CLASSES[owner].get("calls", ()):
            overload = Overload(text, owner)
            found.setdefault(overload.name, []).append(overload)
    return found


@functools.cache
def enums(cls):
    """{value name: (enum name, number or None, owner)}."""
    found = {}
    for owner in chain(cls):
        for enum, values in CLASSES[owner].get("enums", {}).items():
            for name, number in values.items():
                found.setdefault(name, (enum, number, owner))
    return found


def constructors(cls):
    """Argument lists that build the class from Python, or None where it cannot be built."""
    texts = CLASSES[cls].get("ctors")
    return None if texts is None else [Overload(f"{cls}({t})", cls) for t in texts]


class Overload:
    """One way to call a method: its argument types, and how many of them must be given."""

    def __init__(self, text, owner):
        self.text, self.owner = text, owner
        self.static = text.startswith("static ")
        self.name, _, rest = text.removeprefix("static ").partition("(")
        types = split_types(rest[:-1])
        self.types = [t.removesuffix("=") for t in types]
        self.required = sum(not t.endswith("=") for t in types)


def split_types(text):
    """The types in "int,QMap<A,B>": commas within <> do not part."""
    return [t for t in re.split(r",(?![^<]*>)", text) if t]


def normalized(signature):
    """A signature as Qt writes it: no blanks, no `const &`."""
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", signature)
    if not match:
        raise NotInSlicer(f"'{signature}' is no signature: name(types) is expected")
    types = (re.sub(r"^const (.*?) ?&$", r"\1", t.strip()) for t in split_types(match[2]))
    return f"{match[1]}({','.join(re.sub(' *([*&<>]) *', _FIRST, t) for t in types)})"
