"""qMRMLSegmentEditorWidget: which segmentation, volume, segment and effect are chosen, and undo of segment edits.

Effects hold their parameters where Slicer keeps them, in the segment editor node; they do not paint. A test edits
the segmentation itself, as the effects would.
"""

import slicer
from PySide6 import QtCore, QtWidgets

from .mrml_widgets import _OfSegmentation, qMRMLWidget, segment_ids
from .native import Native, models, values

EFFECTS = ("Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices", "Margin",
           "Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume")  # fmt: skip


@models
class qSlicerSegmentEditorAbstractEffect(Native, QtCore.QObject):
    def parameterSetNode(self):
        return self.parent().mrmlSegmentEditorNode()

    def _key(self, name):
        return f"{self.read('name', 'QString')}.{name}"

    def setParameter(self, name, value):
        self.parameterSetNode().SetAttribute(self._key(name), str(value))

    def parameter(self, name):
        return self.parameterSetNode().GetAttribute(self._key(name)) or ""

    def parameterDefined(self, name):
        return self.parameterSetNode().GetAttribute(self._key(name)) is not None

    def integerParameter(self, name):
        return int(self.parameter(name) or 0)

    def doubleParameter(self, name):
        return float(self.parameter(name) or 0)

    def setCommonParameter(self, name, value):
        self.parameterSetNode().SetAttribute(name, str(value))


@models
class qMRMLSegmentEditorWidget(_OfSegmentation, qMRMLWidget):
    defaults = values(
        segmentationNodeSelectorVisible=True, sourceVolumeNodeSelectorVisible=True,
        masterVolumeNodeSelectorVisible=True, switchToSegmentationsButtonVisible=True,
        maskingSectionVisible=True, addRemoveSegmentButtonsVisible=True,
        show3DButtonVisible=True, specifyGeometryButtonVisible=True, undoEnabled=True, unorderedEffectsVisible=True,
        autoShowSourceVolumeNode=True, autoShowMasterVolumeNode=True, jumpToSelectedSegmentEnabled=False,
        maximumNumberOfUndoStates=10, readOnly=False, effectColumnCount=2,
    )  # fmt: skip

    def __init__(self, parent=None):
        super().__init__(parent)
        self._editor_node, self._history, self._order = None, None, EFFECTS
        self.shortcuts, self.view_observations = False, False  # for tests
        self._effects = {name: qSlicerSegmentEditorAbstractEffect(self) for name in EFFECTS}
        column = QtWidgets.QVBoxLayout(self)
        self._caption = QtWidgets.QLabel("Segment editor")
        column.addWidget(self._caption)
        for name, effect in self._effects.items():
            effect.write("name", name)

    def mrmlSegmentEditorNode(self):
        return self._editor_node

    def setMRMLSegmentEditorNode(self, node):
        self._editor_node = node
        self._follow_node()

    def _needs_editor_node(self):
        if self._editor_node is None:
            raise RuntimeError("Slicer ignores this before setMRMLSegmentEditorNode")
        return self._editor_node

    def setSegmentationNode(self, node):
        self._needs_editor_node().SetAndObserveSegmentationNode(node)
        self._follow_node()

    def _follow_node(self):
        node = self._editor_node.GetSegmentationNode() if self._editor_node else None
        if node is not self.segmentation_node:
            self._history = None
            if node is not None:
                self._history = slicer.vtkSegmentationHistory()
                self._history.SetSegmentation(node.GetSegmentation())
            self.follow(node)
            self.emit("segmentationNodeChanged(vtkMRMLSegmentationNode*)", node)

    def setSegmentationNodeID(self, node_id):
        self.setSegmentationNode(self.mrmlScene().GetNodeByID(node_id))

    def segmentationNodeID(self):
        return self.segmentation_node.GetID() if self.segmentation_node else ""

    def setSourceVolumeNode(self, node):
        if node is not self._needs_editor_node().GetSourceVolumeNode():
            self._editor_node.SetAndObserveSourceVolumeNode(node)
            self.emit("sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", node)
            self.emit("masterVolumeNodeChanged(vtkMRMLVolumeNode*)", node)

    setMasterVolumeNode = setSourceVolumeNode

    def sourceVolumeNode(self):
        return self._editor_node.GetSourceVolumeNode() if self._editor_node else None

    masterVolumeNode = sourceVolumeNode

    def segments_changed(self):
        ids = segment_ids(self.segmentation_node)
        if self._editor_node and self.currentSegmentID() not in ids:
            self.setCurrentSegmentID(ids[0] if ids else "")
        self._caption.setText(f"Segment editor, {len(ids)} segments")

    def currentSegmentID(self):
        return (self._editor_node.GetSelectedSegmentID() or "") if self._editor_node else ""

    def setCurrentSegmentID(self, segment):
        if segment != self.currentSegmentID():
            self._needs_editor_node().SetSelectedSegmentID(segment)
            self.emit("currentSegmentIDChanged(QString)", segment)

    def availableEffectNames(self):
        return list(EFFECTS)

    def effectNameOrder(self):
        return list(self._order)

    def setEffectNameOrder(self, names):
        unknown = set(names) - set(EFFECTS)
        if unknown:
            raise ValueError(f"Slicer has no effects {sorted(unknown)}")
        self._order = tuple(names)

    def effectByName(self, name):
        return self._effects.get(name)

    def effectCount(self):
        return len(EFFECTS)

    def activeEffect(self):
        return self._effects.get(self._editor_node.GetActiveEffectName()) if self._editor_node else None

    def setActiveEffectByName(self, name):
        if name and name not in self._effects:
            raise ValueError(f"Slicer has no effect {name}")
        self._needs_editor_node().SetActiveEffectName(name or None)

    def setActiveEffect(self, effect):
        self.setActiveEffectByName(effect.read("name", "QString") if effect else "")

    def saveStateForUndo(self):
        self._history.SaveState()

    def undo(self):
        self._history.RestorePreviousState()

    def redo(self):
        self._history.RestoreNextState()

    def installKeyboardShortcuts(self, parent=None):
        self.shortcuts = True

    def uninstallKeyboardShortcuts(self):
        self.shortcuts = False

    def setupViewObservations(self):
        self.view_observations = True

    def removeViewObservations(self):
        self.view_observations = False

    def updateWidgetFromMRML(self):
        self._follow_node()

    def updateEffectList(self):
        pass
