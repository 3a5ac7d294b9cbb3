"""What Slicer refuses the double refuses too; a double that takes more proves nothing."""

from typing import Annotated

import ctk
import numpy as np
import pytest
import qt
import slicer
from double.facts import CLASSES, NotInSlicer
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper


def combo():
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    return box


WRONG = {
    "unknown class of Qt": (NotInSlicer, lambda: qt.QPushButon()),
    "class in the wrong module": (NotInSlicer, lambda: ctk.QWidget()),
    "unknown class of Slicer": (AttributeError, lambda: slicer.qMRMLNodeCombo()),
    "class that Python cannot build": (NotInSlicer, lambda: slicer.qSlicerApplication()),
    "constructor with a wrong argument": (ValueError, lambda: qt.QTimer("name")),
    "constructor with keywords": (TypeError, lambda: qt.QPushButton(text="Apply")),
    "property called": (TypeError, lambda: qt.QPushButton("Apply").text()),
    "property called on a CTK widget": (TypeError, lambda: ctk.ctkSliderWidget().value()),
    "property called on a Slicer widget": (TypeError, lambda: combo().noneEnabled()),
    "unknown property read": (NotInSlicer, lambda: qt.QLabel().caption),
    "unknown property written": (NotInSlicer, lambda: setattr(qt.QLabel(), "caption", "x")),
    "new attribute on a plain widget": (NotInSlicer, lambda: setattr(qt.QWidget(), "logic", object())),
    "read-only property written": (NotInSlicer, lambda: setattr(qt.QComboBox(), "count", 3)),
    "read-only property of Slicer": (NotInSlicer, lambda: setattr(slicer.qMRMLSegmentsTableView(), "segmentCount", 3)),
    "number for a text": (NotInSlicer, lambda: setattr(qt.QLabel(), "text", 5)),
    "numpy integer for an int": (NotInSlicer, lambda: setattr(qt.QSpinBox(), "value", np.int64(3))),
    "None for a text": (NotInSlicer, lambda: setattr(qt.QLabel(), "toolTip", None)),
    "unknown method": (NotInSlicer, lambda: combo().setNode(None)),
    "C++ method that is not wrapped": (NotInSlicer, lambda: combo().setNodeTypes(["vtkMRMLModelNode"])),
    "too few arguments": (ValueError, lambda: qt.QWidget().setEnabled()),
    "too many arguments": (ValueError, lambda: qt.QLabel().setText("a", "b")),
    "argument of a wrong type": (ValueError, lambda: qt.QLabel().setText(5)),
    "node of a wrong class": (
        ValueError,
        lambda: slicer.qMRMLSegmentationShow3DButton().setSegmentationNode(slicer.vtkMRMLModelNode()),
    ),
    "scene given to a widget without one": (
        NotInSlicer,
        lambda: slicer.qMRMLSegmentationShow3DButton().setMRMLScene(slicer.mrmlScene),
    ),
    "keyword argument": (TypeError, lambda: qt.QLabel().setText(text="a")),
    "unknown signal": (NotInSlicer, lambda: qt.QPushButton().connect("clickd()", print)),
    "unknown signal by attribute": (NotInSlicer, lambda: combo().nodeChanged.connect(print)),
    "signal with wrong arguments": (NotInSlicer, lambda: ctk.ctkSliderWidget().connect("valueChanged(int)", print)),
    "overload that is not there": (NotInSlicer, lambda: combo().connect("currentNodeChanged(QString)", print)),
    "signal without its arguments": (NotInSlicer, lambda: qt.QSpinBox().connect("valueChanged", print)),
    "disconnecting an unknown signal": (NotInSlicer, lambda: qt.QTimer().disconnect("timeOut()", print)),
    "connecting to what cannot be called": (TypeError, lambda: qt.QTimer().connect("timeout()", 5)),
    "emitting with a wrong argument": (ValueError, lambda: qt.QCheckBox().toggled("yes")),
    "slot of the receiver that is not there": (
        NotInSlicer,
        lambda: qt.QPushButton().connect("clicked()", qt.QLabel(), "explode()"),
    ),
    "slot that does not fit the signal": (
        NotInSlicer,
        lambda: qt.QPushButton().connect("clicked()", qt.QLabel(), "setText(QString)"),
    ),
    "unknown enum value": (NotInSlicer, lambda: qt.QSizePolicy.Expand),
    "enum value of Qt 6 only": (NotInSlicer, lambda: qt.QPalette.Accent),
    "property of a class": (NotInSlicer, lambda: qt.QWidget.enabled),
    "unknown module": (AttributeError, lambda: slicer.modules.wmh),
    "pop-up with too many arguments": (TypeError, lambda: slicer.util.delayDisplay("a", 1, None, "b")),
    "unknown segment editor effect": (
        ValueError,
        lambda: slicer.qMRMLSegmentEditorWidget().setActiveEffectByName("Pant"),
    ),
    "segmentation before the editor's node": (
        RuntimeError,
        lambda: slicer.qMRMLSegmentEditorWidget().setSegmentationNode(slicer.vtkMRMLSegmentationNode()),
    ),
    "known in Slicer and not modelled": (
        NotImplementedError,
        lambda: slicer.qMRMLSegmentEditorWidget().turnOffLightboxes(),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_refused(name):
    error, wrong = WRONG[name]
    with pytest.raises(error):
        wrong()


UI = """<ui version="4.0"><class>T</class><widget class="qMRMLWidget" name="T"><layout class="QVBoxLayout" name="c">
<item><widget class="qMRMLNodeComboBox" name="selector"/></item><item><widget class="QLabel" name="label"/></item>
<item><widget class="ctkSliderWidget" name="slider"/></item>
<item><widget class="qMRMLSegmentationShow3DButton" name="show"/></item></layout></widget><connections><connection>
<sender>T</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal><receiver>selector</receiver>
<slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""

WRONG_UI = {
    "nothing": ("", ""),
    "unknown class": ('class="QLabel"', 'class="QLabl"'),
    "class without a designer plugin": ('class="QLabel"', 'class="qSlicerModuleManager"'),
    "unknown property": (
        'name="label"/>',
        'name="label"><property name="colour"><string>x</string></property></widget>',
    ),
    "read-only property": (
        'name="label"/>',
        'name="label"><property name="width"><number>3</number></property></widget>',
    ),
    "unknown property of CTK": (
        'name="slider"/>',
        'name="slider"><property name="top"><double>3</double></property></widget>',
    ),
    "wrong type for CTK": (
        'name="slider"/>',
        'name="slider"><property name="value"><string>3</string></property></widget>',
    ),
    "unknown enum value": (
        'name="slider"/>',
        'name="slider"><property name="tickPosition"><enum>QSlider::TicksNear</enum></property></widget>',
    ),
    "unknown signal": ("mrmlSceneChanged(", "sceneChanged("),
    "unknown slot": ("<slot>setMRMLScene(", "<slot>setScene("),
    "receiver without that slot": ("<receiver>selector", "<receiver>show"),
}


@pytest.mark.parametrize("name", WRONG_UI)
def test_ui_file(name, tmp_path):
    path = tmp_path / "T.ui"
    path.write_text(UI.replace(*WRONG_UI[name]))
    if name == "nothing":
        widget = slicer.util.loadUI(str(path))
        widget.setMRMLScene(slicer.mrmlScene)
        assert slicer.util.childWidgetVariables(widget).selector.mrmlScene() is slicer.mrmlScene
        return
    with pytest.raises(NotInSlicer):
        slicer.util.loadUI(str(path))


def test_missing_ui_file():
    with pytest.raises(RuntimeError, match="not found"):
        slicer.util.loadUI("/nowhere/T.ui")


@parameterNodeWrapper
class Parameters:
    amount: float = 0.5
    limited: Annotated[float, WithinRange(0, 1)] = 0.5
    word: str = "a"
    chosen: Annotated[str, Choice(["a", "b"])] = "a"
    on: bool = False
    volume: slicer.vtkMRMLScalarVolumeNode


class OwnCheckBox(qt.QCheckBox):
    pass


WRONG_BINDINGS = {
    "subclass of a widget": ("on", OwnCheckBox, "no connector"),
    "tool button": ("on", qt.QToolButton, "no connector"),
    "radio button": ("on", qt.QRadioButton, "no connector"),
    "checkable group box": ("on", qt.QGroupBox, "no connector"),
    "text in a spin box": ("word", qt.QSpinBox, "no connector"),
    "bool in a spin box": ("on", qt.QSpinBox, "no connector"),
    "slider without a range": ("amount", ctk.ctkSliderWidget, "WithinRange"),
    "combo box without choices": ("word", qt.QComboBox, "Choice"),
    "node in a subject hierarchy box": ("volume", slicer.qMRMLSubjectHierarchyComboBox, "no connector"),
}


@pytest.mark.parametrize("name", WRONG_BINDINGS)
def test_binding_refused(name):
    parameter, widget_class, message = WRONG_BINDINGS[name]
    parameters = Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    widget = widget_class()
    widget.setProperty("SlicerParameterName", parameter)
    parent = qt.QWidget()
    widget.setParent(parent)
    with pytest.raises(RuntimeError, match=message):
        parameters.connectGui(parent)


def test_binding_to_an_unknown_parameter():
    parameters = Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    box = qt.QCheckBox()
    with pytest.raises(ValueError, match="no parameter 'off'"):
        parameters.connectParametersToGui({"off": box})


def test_every_class_that_a_ui_file_may_use_can_be_built():
    for name, entry in CLASSES.items():
        if entry.get("ui"):
            widget = getattr({"ctk": ctk, "slicer": slicer}[entry["ns"]], name)()
            assert widget.className() == name
            for prop in entry.get("props", ()):
                getattr(widget, prop)
