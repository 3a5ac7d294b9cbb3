"""slicer.parameterNodeWrapper: typed parameters in a vtkMRMLScriptedModuleNode, bound to widgets both ways.

Modelled are bool, int, float, str, enum.Enum, pathlib paths, FloatRange and node classes, with the validators. Other
types, unions and parameter packs raise NotImplementedError.
"""

import enum
import pathlib
import types
import typing

import slicer
import vtk

SlicerParameterNamePropertyName = "SlicerParameterName"


class Default:
    def __init__(self, value):
        self.value = value


class Decimals(Default):
    """Annotation for spin boxes and sliders."""


class SingleStep(Default):
    """Annotation for spin boxes and sliders."""


class Validator:
    def validate(self, value):
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value):
        if value is None:
            raise ValueError("Value must not be None")


class WithinRange(Validator):
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


class Minimum(Validator):
    def __init__(self, minimum):
        self.minimum = minimum

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"{value} is less than {self.minimum}")


class Maximum(Validator):
    def __init__(self, maximum):
        self.maximum = maximum

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"{value} is more than {self.maximum}")


class Choice(Validator):
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"{value} is none of {self.choices}")


class Exclude(Validator):
    def __init__(self, excludedValues):
        self.excludedValues = excludedValues

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"{value} is excluded")


class FloatRange:
    def __init__(self, minimum, maximum):
        if minimum > maximum:
            raise ValueError(f"minimum {minimum} is more than maximum {maximum}")
        self.minimum, self.maximum = minimum, maximum

    def __eq__(self, other):
        return isinstance(other, FloatRange) and (self.minimum, self.maximum) == (other.minimum, other.maximum)

    __hash__ = None


class RangeBounds(WithinRange):
    def validate(self, value):
        super().validate(value.minimum)
        super().validate(value.maximum)


class Parameter:
    """One annotated name of the class: how its value is kept in the node and what values it may have."""

    def __init__(self, name, annotation, owner):
        self.name = name
        self.kind, *notes = (
            (annotation.__origin__, *annotation.__metadata__) if hasattr(annotation, "__metadata__") else (annotation,)
        )
        self.notes = {type(n): n for n in notes}
        self.validators = [n for n in notes if isinstance(n, Validator)]
        unused = [n for n in notes if not isinstance(n, Validator | Default)]
        if unused:
            raise TypeError(f"{name}: annotations {unused} mean nothing to a parameter node")
        if not self.is_node and not (isinstance(self.kind, type) and issubclass(self.kind, self._KINDS)):
            raise NotImplementedError(f"{name}: the double does not model parameters of type {self.kind}")
        if hasattr(owner, name):
            self.default = getattr(owner, name)
        else:
            self.default = self.notes[Default].value if Default in self.notes else self._implicit_default()
        self.check(self.default)

    _KINDS = (bool, int, float, str, enum.Enum, pathlib.PurePath, FloatRange)

    @property
    def is_node(self):
        return isinstance(self.kind, type) and issubclass(self.kind, slicer.vtkMRMLNode)

    def _implicit_default(self):
        if self.is_node:
            return None
        if issubclass(self.kind, enum.Enum):
            return next(iter(self.kind))
        return FloatRange(0.0, 0.0) if self.kind is FloatRange else self.kind()

    def check(self, value):
        accepted = (int, float) if self.kind is float else self.kind
        is_bool = isinstance(value, bool) and self.kind in (int, float)
        if not (self.is_node and value is None) and (is_bool or not isinstance(value, accepted)):
            raise TypeError(f"{self.name} must be a {self.kind.__name__}, and {value!r} is a {type(value).__name__}")
        for validator in self.validators:
            validator.validate(value)

    def write(self, node, value):
        self.check(value)
        if self.is_node:
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        elif isinstance(value, enum.Enum):
            node.SetParameter(self.name, value.name)
        elif isinstance(value, FloatRange):
            node.SetParameter(self.name, f"{value.minimum},{value.maximum}")
        else:
            node.SetParameter(self.name, str(float(value)) if self.kind is float else str(value))

    def is_in(self, node):
        if self.is_node:
            return node.GetNodeReferenceID(self.name) is not None
        return self.name in node.GetParameterNames()

    def read(self, node):
        if self.is_node:
            return node.GetNodeReference(self.name)
        if not self.is_in(node):
            self.write(node, self.default)  # another scene was loaded, or the node was reset
        text = node.GetParameter(self.name)
        if self.kind is bool:
            return text == "True"
        if self.kind is FloatRange:
            return FloatRange(*map(float, text.split(",")))
        return self.kind[text] if issubclass(self.kind, enum.Enum) else self.kind(text)


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


class _Wrapper:
    """Members that the decorator adds to the panel's class."""

    def __init__(self, parameterNode, prefix=None):
        self.parameterNode = parameterNode
        self._bound, self._next_tag, self._writing_gui = {}, 0, False
        for parameter in self.allParameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)

    def _parameter(self, name):
        if name not in self.allParameters:
            raise ValueError(f"no parameter '{name}'; there are {', '.join(self.allParameters)}")
        return self.allParameters[name]

    def getValue(self, name):
        return self._parameter(name).read(self.parameterNode)

    def setValue(self, name, value):
        self._parameter(name).write(self.parameterNode, value)

    def default(self, name):
        return Default(self._parameter(name).default)

    def dataType(self, name):
        return self._parameter(name).kind

    def connectGui(self, gui):
        name = SlicerParameterNamePropertyName
        widgets = gui.findChildren("QWidget") if hasattr(gui, "findChildren") else gui.__dict__.values()
        return self.connectParametersToGui({w.property(name): w for w in widgets if w.property(name)})

    def connectParametersToGui(self, mapping):
        connectors = {name: Connector(widget, self._parameter(name)) for name, widget in mapping.items()}
        undo = []
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            if connector.signal:
                callback = self._gui_changed(name, connector)
                connector.widget.connect(connector.signal, callback)
                undo.append((connector.widget, connector.signal, callback))
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._update_gui(connectors))
        self._bound[self._next_tag] = (undo, observer)
        self._next_tag += 1
        return self._next_tag - 1

    def disconnectGui(self, tag):
        undo, observer = self._bound.pop(tag, ((), None))
        for widget, signal, callback in undo:
            widget.disconnect(signal, callback)
        if observer is not None:
            self.RemoveObserver(observer)

    def _gui_changed(self, name, connector):
        def callback():
            if not self._writing_gui:
                self.setValue(name, connector.read())

        return callback

    def _update_gui(self, connectors):
        if self._writing_gui:
            return
        self._writing_gui = True
        try:
            for name, connector in connectors.items():
                connector.write(self.getValue(name))
        finally:
            self._writing_gui = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def Modified(self):
        self.parameterNode.Modified()

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)


def parameterNodeWrapper(python_class=None):
    """Class decorator; with or without parentheses."""
    if python_class is None:
        return parameterNodeWrapper
    hints = typing.get_type_hints(python_class, include_extras=True)
    parameters = {name: Parameter(name, hint, python_class) for name, hint in hints.items()}
    members = {n: v for n, v in vars(_Wrapper).items() if n not in ("__dict__", "__weakref__", "__module__", "__doc__")}
    for name in (*members, "allParameters"):
        if name in parameters or (name in vars(python_class) and name != "__init__"):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(python_class, name, members.get(name, parameters))
    for name in parameters:
        reader = property(lambda self, n=name: self.getValue(n), lambda self, value, n=name: self.setValue(n, value))
        setattr(python_class, name, reader)
    python_class._is_parameter_node_wrapper = True
    return python_class


def isParameterNodeWrapper(classOrObj):
    return getattr(classOrObj, "_is_parameter_node_wrapper", False)


def module():
    """slicer.parameterNodeWrapper, with the names that Slicer exports and the double models."""
    made = types.ModuleType("slicer.parameterNodeWrapper")
    for value in (Default, Decimals, SingleStep, Validator, NotNone, WithinRange, Minimum, Maximum, Choice, Exclude,
                  FloatRange, RangeBounds, parameterNodeWrapper, isParameterNodeWrapper):  # fmt: skip
        setattr(made, value.__name__, value)
    made.SlicerParameterNamePropertyName = SlicerParameterNamePropertyName
    made.__all__ = [n for n in vars(made) if not n.startswith("_")]
    return made
