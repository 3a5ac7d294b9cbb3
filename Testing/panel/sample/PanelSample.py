"""A small scripted module on which the double is tested. It is no part of the extension."""

import enum
from typing import Annotated

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class PanelSample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Panel sample")
        self.parent.categories = ["Testing"]
        self.parent.dependencies = ["Segmentations"]


class Rule(enum.Enum):
    DISTANCE = "distance"
    CONTACT = "contact"


@parameterNodeWrapper
class PanelSampleParameterNode:
    inputVolume: slicer.vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(0, 1)] = 0.5
    minimumVoxels: Annotated[int, WithinRange(1, 50), Default(3)]
    mirroring: bool = True
    device: Annotated[str, Choice(["auto", "cpu", "cuda"])] = "auto"
    rule: Rule = Rule.CONTACT


class PanelSampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters = None
        self.guiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/PanelSample.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = PanelSampleLogic()
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.ui.lesionTable.itemSelectionChanged.connect(self.onLesionSelected)
        self.nextShortcut = qt.QShortcut(qt.QKeySequence("N"), uiWidget)
        self.nextShortcut.connect("activated()", self.onNext)
        self.timer = qt.QTimer(uiWidget)
        self.timer.singleShot = True  # a property of the object, a function of the class
        self.timer.setInterval(20)
        self.timer.timeout.connect(self.measure)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.initializeParameterNode()

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.releaseParameterNode()

    def cleanup(self):
        self.releaseParameterNode()
        self.removeObservers()

    def onSceneStartClose(self, caller, event):
        self.releaseParameterNode()

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        if self.parameters is None:
            self.parameters = PanelSampleParameterNode(self.logic.getParameterNode())
            self.guiTag = self.parameters.connectGui(self.ui)
            self.addObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.updateApply)
            self.updateApply()

    def releaseParameterNode(self):
        if self.parameters is not None:
            self.parameters.disconnectGui(self.guiTag)
            self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.updateApply)
            self.parameters = None

    def updateApply(self, caller=None, event=None):
        ready = self.parameters is not None and self.parameters.inputVolume is not None
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Find lesions") if ready else _("Choose a volume first")

    def onApply(self):
        with slicer.util.tryWithErrorDisplay(_("Failed to compute results."), waitCursor=True):
            if not slicer.util.confirmYesNoDisplay(_("Overwrite the edited segments?")):
                return
            self.segmentation = self.logic.process(self.parameters.inputVolume, self.parameters.threshold)
            self.ui.segmentsView.setSegmentationNode(self.segmentation)
            self.ui.show3DButton.setSegmentationNode(self.segmentation)
            self.ui.editor.setMRMLSegmentEditorNode(self.logic.editorNode())
            self.ui.editor.setSegmentationNode(self.segmentation)
            self.ui.editor.setSourceVolumeNode(self.parameters.inputVolume)
            self.addObserver(
                self.segmentation.GetSegmentation(), slicer.vtkSegmentation.SourceRepresentationModified, self.onEdited
            )
            self.measure()

    def onEdited(self, caller, event):
        self.timer.start()

    def measure(self):
        table = self.ui.lesionTable
        table.setRowCount(0)
        for row, (name, voxels) in enumerate(self.logic.measure(self.segmentation, self.parameters.inputVolume)):
            table.insertRow(row)
            table.setItem(row, 0, qt.QTableWidgetItem(name))
            table.setItem(row, 1, qt.QTableWidgetItem(str(voxels)))
        self.ui.progressBar.value = 100

    def onLesionSelected(self):
        rows = self.ui.lesionTable.selectedItems()
        self.ui.statusLabel.text = rows[0].text() if rows else ""

    def onNext(self):
        table = self.ui.lesionTable
        table.selectRow((table.currentRow() + 1) % table.rowCount)


class PanelSampleLogic(ScriptedLoadableModuleLogic):
    def editorNode(self):
        return slicer.mrmlScene.GetSingletonNode("PanelSample", "vtkMRMLSegmentEditorNode") or self._newEditorNode()

    def _newEditorNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        node.UnRegister(None)
        node.SetSingletonTag("PanelSample")
        return slicer.mrmlScene.AddNode(node)

    def process(self, volume, threshold):
        voxels = slicer.util.arrayFromVolume(volume)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Lesions")
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        for name, mask in (("Bright", voxels > threshold), ("Dark", voxels <= threshold)):
            segment = node.GetSegmentation().AddEmptySegment(name, name)
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype("uint8"), node, segment, volume)
        return node

    def measure(self, node, volume):
        for name in node.GetSegmentation().GetSegmentIDs():
            yield name, int(slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume).sum())
