"""One widget and one parameter: which widgets can show which types, and how a value goes there and back."""

import enum
import pathlib

import slicer

from .annotations import Choice, Decimals, FloatRange, Maximum, Minimum, SingleStep, WithinRange

# Exact class of the widget: (types it may show, property, signal). Kept as in Slicer: a subclass is not bound.
_BOUND = {
    "QCheckBox": ((bool,), "checked", "stateChanged(int)"),
    "ctkCheckBox": ((bool,), "checked", "stateChanged(int)"),
    "QPushButton": ((bool,), "checked", "toggled(bool)"),
    "QSlider": ((int,), "value", "valueChanged(int)"),
    "QSpinBox": ((int,), "value", "valueChanged(int)"),
    "QDoubleSpinBox": ((float, int), "value", "valueChanged(double)"),
    "ctkDoubleSpinBox": ((float, int), "value", "valueChanged(double)"),
    "ctkDoubleSlider": ((float, int), "value", "valueChanged(double)"),
    "ctkSliderWidget": ((float, int), "value", "valueChanged(double)"),
    "qMRMLSliderWidget": ((float, int), "value", "valueChanged(double)"),
    "qMRMLSpinBox": ((float, int), "value", "valueChanged(double)"),
    "QComboBox": ((bool, int, float, str, enum.Enum), None, "currentIndexChanged(int)"),
    "ctkComboBox": ((bool, int, float, str, enum.Enum), None, "currentIndexChanged(int)"),
    "QLineEdit": ((str,), "text", "textChanged(QString)"),
    "QLabel": ((str,), "text", None),
    "QTextEdit": ((str,), "plainText", "textChanged()"),
    "ctkPathLineEdit": ((pathlib.PurePath,), "currentPath", "currentPathChanged(QString)"),
    "ctkDirectoryButton": ((pathlib.PurePath,), "directory", "directoryChanged(QString)"),
    "ctkRangeWidget": ((FloatRange,), None, "valuesChanged(double,double)"),
    "qMRMLRangeWidget": ((FloatRange,), None, "valuesChanged(double,double)"),
    "qMRMLNodeComboBox": ((slicer.vtkMRMLNode,), None, "currentNodeChanged(vtkMRMLNode*)"),
}
_MUST_BE_BOUNDED = ("QSlider", "ctkSliderWidget", "ctkDoubleSlider", "qMRMLSliderWidget")


class Connector:
    """One widget and one parameter."""

    def __init__(self, widget, parameter):
        self.widget, self.parameter = widget, parameter
        cls = type(widget).__name__
        kinds, self.property, self.signal = _BOUND.get(cls, ((), None, None))
        if not issubclass(parameter.kind, kinds) or (parameter.kind is bool and bool not in kinds):
            raise RuntimeError(
                f"no connector from {parameter.kind.__name__} '{parameter.name}' to {type(widget).__name__}"
            )
        if cls == "QPushButton":
            widget.checkable = True
        if self.property == "value":
            self._limit(cls)
        if "ComboBox" in cls and "Node" not in cls:
            self._fill()

    def _limit(self, cls):
        notes, widget = self.parameter.notes, self.widget
        low = notes.get(WithinRange) or notes.get(Minimum)
        high = notes.get(WithinRange) or notes.get(Maximum)
        if cls in _MUST_BE_BOUNDED and not (low and high):
            raise RuntimeError(f"'{self.parameter.name}' needs WithinRange to be bound to a {cls}")
        for note, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
            if note in notes:
                setattr(widget, name, notes[note].value)
        whole = "int" if cls in ("QSlider", "QSpinBox") else "float"
        widest = {"int": (-(2**31), 2**31 - 1), "float": (float("-inf"), float("inf"))}[whole]
        widget.minimum = low.minimum if low else widest[0]
        widget.maximum = high.maximum if high else widest[1]

    def _fill(self):
        if issubclass(self.parameter.kind, enum.Enum):
            self.choices = list(self.parameter.kind)
            labels = [e.label() if hasattr(e, "label") else e.name for e in self.choices]
        elif Choice in self.parameter.notes:
            self.choices = list(self.parameter.notes[Choice].choices)
            labels = [str(c) for c in self.choices]
        else:
            raise RuntimeError(f"'{self.parameter.name}' needs Choice to be bound to a combo box")
        self.widget.clear()
        for label in labels:
            self.widget.addItem(label)

    def read(self):
        widget, kind = self.widget, self.parameter.kind
        if hasattr(self, "choices"):
            return self.choices[widget.currentIndex]
        if kind is FloatRange:
            return FloatRange(widget.minimumValue, widget.maximumValue)
        return widget.currentNode() if self.parameter.is_node else kind(getattr(widget, self.property))

    def write(self, value):
        widget, kind = self.widget, self.parameter.kind
        if hasattr(self, "choices"):
            widget.currentIndex = self.choices.index(value)
        elif kind is FloatRange:
            widget.setValues(value.minimum, value.maximum)
        elif self.parameter.is_node:
            widget.setCurrentNode(value)
        elif self.property != "plainText" or widget.plainText != value:  # keep the cursor of who types
            setattr(widget, self.property, str(value) if issubclass(kind, pathlib.PurePath) else value)
