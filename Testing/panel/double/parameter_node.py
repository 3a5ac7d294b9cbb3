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

from .annotations import (
    Choice,
    Decimals,
    Default,
    Exclude,
    FloatRange,
    Maximum,
    Minimum,
    NotNone,
    RangeBounds,
    SingleStep,
    Validator,
    WithinRange,
)  # fmt: skip
from .connectors import Connector

SlicerParameterNamePropertyName = "SlicerParameterName"


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
