"""qt.QUiLoader: builds the widgets of a .ui file once every class, property, signal and slot in it is known."""

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import convert, members, objects, signals
from .facts import CLASSES, NotInSlicer, properties
from .native import models, native_class


def check(root):
    """Raise NotInSlicer on the first thing that Slicer's loader does not know."""
    for element in [*root.iter("widget"), *root.iter("action")]:
        cls, name = element.get("class", "QAction"), element.get("name")
        if cls == "Line":
            continue
        if cls not in CLASSES or (CLASSES[cls]["ns"] != "qt" and not CLASSES[cls].get("ui")):
            raise NotInSlicer(f"{name}: {cls} is no class that a .ui file may use")
        for prop in element.findall("property"):
            known = prop.get("name") in properties(cls) or prop.get("name") == "buddy"
            if prop.get("stdset") != "0" and not known:
                raise NotInSlicer(f"{name}: {cls} has no property {prop.get('name')}")
            if known and prop.get("name") != "buddy" and not properties(cls)[prop.get("name")][1]:
                raise NotInSlicer(f"{name}: {cls}.{prop.get('name')} is read-only")


def own_properties(root):
    """Take out and return what Qt's loader would not find: (widget name, class, property, element of the value)."""
    found = []
    for element in root.iter("widget"):
        cls = element.get("class")
        for prop in element.findall("property") if cls in CLASSES else ():
            name = prop.get("name")
            if name in properties(cls) and CLASSES[properties(cls)[name][2]]["ns"] != "qt":
                found.append((element.get("name"), cls, name, prop[0]))
                element.remove(prop)
    return found


def value_of(element, cls):
    text = element.text or ""
    if element.tag in ("enum", "set"):
        value = None
        for word in text.split("|"):
            scope, _, name = word.rpartition("::")
            one = convert.class_enum(scope if scope in CLASSES else cls, name)
            if one is None:
                raise NotInSlicer(f"no enum value {word}")
            value = one if value is None else value | one
        return value
    if element.tag == "stringlist":
        return [e.text or "" for e in element.findall("string")]
    if element.tag == "color":
        return objects.make("QColor")(*(int(element.findtext(c)) for c in ("red", "green", "blue")))
    reader = {"bool": lambda t: t == "true", "number": int, "double": float, "string": str, "cstring": str}
    if element.tag not in reader:
        raise NotImplementedError(f"the double does not read <{element.tag}> of {cls}")
    return reader[element.tag](text)


@models
class QUiLoader(QtUiTools.QUiLoader):
    def load(self, device, parent=None):
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        check(root)
        later = own_properties(root)
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        top = super().load(buffer, parent)
        if top is None:
            raise RuntimeError(self.errorString())
        by_name = {w.objectName(): w for w in [top, *top.findChildren(QtCore.QObject)] if w.objectName()}
        for name, cls, prop, element in later:
            members.write_property(by_name[name], cls, prop, value_of(element, cls))
        for connection in connections if connections is not None else ():
            self._connect(connection, by_name)
        return top

    def _connect(self, connection, by_name):
        sender, receiver = (convert.wrap(by_name[connection.findtext(end)]) for end in ("sender", "receiver"))
        signal = signals.known(sender._facts, connection.findtext("signal"))
        signals.connect(sender, signal, members.target_slot(signal, receiver, connection.findtext("slot")))

    def createWidget(self, class_name, parent=None, name=""):
        if class_name == "Line":
            widget = QtWidgets.QFrame(parent)
            widget.setFrameShape(QtWidgets.QFrame.Shape.HLine)
        else:
            widget = native_class(class_name)(parent)
        widget.setObjectName(name)
        return widget
