"""Slicer's widgets over MRML nodes, on the real scene."""

import weakref

import shiboken6
import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .native import Native, OfScene, models, values


class Observing(Native):
    """VTK observers that end with the widget and do not keep it alive."""

    def observe(self, subject, events, method):
        if not hasattr(self, "_observed"):
            self._observed = observed = []
            self.destroyed.connect(lambda *_: [subject.RemoveObserver(tag) for subject, tag in observed])
        weak = weakref.WeakMethod(method)

        def forward(caller, event):
            alive = weak()
            if alive is not None and shiboken6.isValid(alive.__self__):
                alive()

        self._observed.extend((subject, subject.AddObserver(event, forward)) for event in events)

    def forget(self, subject):
        for entry in [e for e in getattr(self, "_observed", ()) if e[0] is subject]:
            subject.RemoveObserver(entry[1])
            self._observed.remove(entry)


class _SceneWidget(OfScene, Observing, QtWidgets.QWidget):
    pass


@models
class qMRMLWidget(_SceneWidget):
    pass


@models
class qSlicerWidget(_SceneWidget):
    pass


@models
class qMRMLNodeComboBox(_SceneWidget):
    defaults = values(
        noneEnabled=False, addEnabled=True, removeEnabled=True, editEnabled=False, renameEnabled=False,
        showHidden=False, showChildNodeTypes=True, selectNodeUponCreation=True, noneDisplay="None", baseName="",
        nodeTypes=(), hideChildNodeTypes=(),
    )  # fmt: skip

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node_id, self._attributes = "", []
        self._box = QtWidgets.QComboBox()
        self._box.activated.connect(lambda index: self._choose(self._box.itemData(index)))
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self.setEnabled(False)  # Slicer enables it with the scene, so a forgotten scene is seen

    def write(self, name, value):
        super().write(name, tuple(value) if isinstance(value, list) else value)
        self._update()

    def scene_changed(self, scene):
        self.setEnabled(scene is not None)
        if scene is not None:
            events = ("NodeAddedEvent", "NodeRemovedEvent", "EndBatchProcessEvent", "EndCloseEvent", "EndImportEvent")
            self.observe(scene, [getattr(slicer.vtkMRMLScene, e) for e in events], self._update)
        self._update()

    def addAttribute(self, node_type, name, value=None):
        self._attributes.append((node_type, name, value))
        self._update()

    def removeAttribute(self, node_type, name):
        self._attributes = [a for a in self._attributes if a[:2] != (node_type, name)]
        self._update()

    def nodes(self):
        scene = self.mrmlScene()
        every = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())] if scene else []
        return [n for n in every if self._shows(n)]

    def _shows(self, node):
        types = self.read("nodeTypes", "QStringList")
        if self.read("showChildNodeTypes", "bool"):
            fits = any(node.IsA(t) for t in types)
        else:
            fits = node.GetClassName() in types
        if not fits or any(node.IsA(t) for t in self.read("hideChildNodeTypes", "QStringList")):
            return False
        if node.GetHideFromEditors() and not self.read("showHidden", "bool"):
            return False
        return all(
            not node.IsA(kind) or (node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name)))
            for kind, name, value in self._attributes
        )

    def _update(self):
        scene = self.mrmlScene()
        if scene is not None and scene.IsBatchProcessing():
            return
        nodes = self.nodes()
        self._box.clear()
        if self.read("noneEnabled", "bool"):
            self._box.addItem(self.read("noneDisplay", "QString"), "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        known = [n.GetID() for n in nodes]
        if self._node_id in known:
            self._box.setCurrentIndex(self._box.findData(self._node_id))
        else:
            self._choose("" if self.read("noneEnabled", "bool") or not known else known[0])

    def _choose(self, node_id):
        self._box.setCurrentIndex(self._box.findData(node_id))
        if node_id != self._node_id:
            self._node_id = node_id
            self.emit("currentNodeChanged(vtkMRMLNode*)", self.currentNode())
            self.emit("currentNodeChanged(bool)", self.currentNode() is not None)
            self.emit("currentNodeIDChanged(QString)", node_id)

    def currentNode(self):
        return self.mrmlScene().GetNodeByID(self._node_id) if self.mrmlScene() and self._node_id else None

    def get_currentNodeID(self):
        return self._node_id

    def setCurrentNode(self, node):
        node_id = node if isinstance(node, str) else node.GetID() if node is not None else ""
        self._choose(node_id if node_id in [n.GetID() for n in self.nodes()] else "")

    get_currentNodeId = currentNodeId = get_currentNodeID
    set_currentNodeID = set_currentNodeId = setCurrentNodeID = setCurrentNode

    def setCurrentNodeIndex(self, index):
        self.setCurrentNode(self.nodes()[index])

    def nodeCount(self):
        return len(self.nodes())

    def nodeFromIndex(self, index):
        nodes = self.nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addNode(self, node_type=None):
        node_type = node_type or self.read("nodeTypes", "QStringList")[0]
        node = self.mrmlScene().CreateNodeByClass(node_type)
        node.UnRegister(None)
        node.SetName(self.mrmlScene().GenerateUniqueName(self.read("baseName", "QString") or node.GetNodeTagName()))
        for kind, name, value in self._attributes:
            if node.IsA(kind):
                node.SetAttribute(name, value or "")
        self.mrmlScene().AddNode(node)
        if self.read("selectNodeUponCreation", "bool"):
            self.setCurrentNode(node)
        self.emit("nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self):
        if self.currentNode() is not None:
            self.mrmlScene().RemoveNode(self.currentNode())


def segment_ids(node):
    ids = vtk.vtkStringArray()
    if node is not None:
        node.GetSegmentation().GetSegmentIDs(ids)
    return [ids.GetValue(i) for i in range(ids.GetNumberOfValues())]


class _OfSegmentation(Observing):
    """Follows the segments of one segmentation node."""

    segmentation_node = None

    def follow(self, node):
        if self.segmentation_node is not None:
            self.forget(self.segmentation_node.GetSegmentation())
        self.segmentation_node = node
        if node is not None:
            kind = slicer.vtkSegmentation
            self.observe(
                node.GetSegmentation(),
                (
                    kind.SegmentAdded,
                    kind.SegmentRemoved,
                    kind.SegmentModified,
                    kind.ContainedRepresentationNamesModified,
                ),
                self.segments_changed,
            )
        self.segments_changed()

    def segmentationNode(self):
        return self.segmentation_node

    def segments_changed(self):
        """For subclasses."""


@models
class qMRMLSegmentsTableView(_OfSegmentation, qMRMLWidget):
    defaults = values(headerVisible=True, visibilityColumnVisible=True, colorColumnVisible=True)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._hidden, self._ids = (), []
        self._table = QtWidgets.QTableWidget(0, 1)
        self._table.setHorizontalHeaderLabels(["Name"])
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._table)
        self._table.selectionModel().selectionChanged.connect(
            lambda new, old: self.emit("selectionChanged(QItemSelection,QItemSelection)", new, old)
        )

    def setSegmentationNode(self, node):
        self.follow(node)

    def segments_changed(self):
        wanted = self.read("textFilter", "QString").lower()
        node = self.segmentation_node
        shown = [i for i in segment_ids(node) if i not in self._hidden]
        names = {i: node.GetSegmentation().GetSegment(i).GetName() or "" for i in shown}
        ids = [i for i in shown if wanted in names[i].lower()]
        if ids != self._ids:
            self._table.setRowCount(len(ids))
        self._ids = ids
        for row, segment in enumerate(ids):
            self._table.setItem(row, 0, QtWidgets.QTableWidgetItem(names[segment]))

    def set_textFilter(self, text):
        self._values["textFilter"] = text
        self.segments_changed()

    setTextFilter = set_textFilter

    def setHideSegments(self, ids):
        self._hidden = tuple(ids)
        self.segments_changed()

    def hideSegments(self):
        return list(self._hidden)

    def get_segmentCount(self):
        return len(segment_ids(self.segmentation_node))

    def displayedSegmentIDs(self):
        return list(self._ids)

    def rowForSegmentID(self, segment):
        return self._ids.index(segment) if segment in self._ids else -1

    def segmentIDForRow(self, row):
        return self._ids[row] if 0 <= row < len(self._ids) else ""

    def selectedSegmentIDs(self):
        return [self._ids[i.row()] for i in self._table.selectionModel().selectedRows()]

    def setSelectedSegmentIDs(self, ids):
        choice, model = QtCore.QItemSelection(), self._table.model()
        for row, segment in enumerate(self._ids):
            if segment in ids:
                choice.select(model.index(row, 0), model.index(row, 0))
        self._table.selectionModel().select(choice, QtCore.QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def clearSelection(self):
        self._table.clearSelection()

    clearSelectedSegments = clearSelection


@models
class qMRMLSegmentationShow3DButton(_OfSegmentation, QtWidgets.QPushButton):
    """Pressed while the segmentation has a closed surface that is shown."""

    def __init__(self, parent=None):
        super().__init__("Show 3D", parent)
        self.setCheckable(True)
        self.setEnabled(False)
        self.clicked.connect(self._on_clicked)

    def setSegmentationNode(self, node):
        self.setEnabled(node is not None)
        self.follow(node)

    def segments_changed(self):
        node = self.segmentation_node
        surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        with QtCore.QSignalBlocker(self):
            self.setChecked(node is not None and node.GetSegmentation().ContainsRepresentation(surface))

    def _on_clicked(self, show):
        if show:
            self.segmentation_node.CreateClosedSurfaceRepresentation()
        else:
            self.segmentation_node.RemoveClosedSurfaceRepresentation()
