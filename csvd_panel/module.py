"""The life of a module's widget: it mounts the panel and tells it when the module or the scene comes and goes."""

from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

SECTIONS = Path(__file__).parent / "Resources" / "UI"


def load_ui(path, scene):
    """The widget of a module's .ui file. A frame named ``<Section>Place`` gets the shared section from `SECTIONS`."""
    widget = slicer.util.loadUI(str(path))
    widget.setMRMLScene(scene)
    for place in slicer.util.findChildren(widget, name="*Place"):
        section = slicer.util.loadUI(str(SECTIONS / f"{place.name.removesuffix('Place')}.ui"))
        section.setMRMLScene(scene)
        for layout in (place.layout(), section.layout()):
            layout.setContentsMargins(0, 0, 0, 0)
        place.layout().addWidget(section)
    return widget


class SegmentationWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """A module gives `makeLogic` and `makePanel`."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel = None

    def makeLogic(self):
        raise NotImplementedError

    def makePanel(self, ui, logic, parent):
        """The panel, a `csvd_panel.base.BasePanel`; imported only now, since it loads numpy."""
        raise NotImplementedError

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        scene = slicer.mrmlScene
        widget = load_ui(self.resourcePath(f"UI/{self.moduleName}.ui"), scene)
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        self.logic = self.makeLogic()
        self.panel = self.makePanel(self.ui, self.logic, widget)
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStart)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStart)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeRemoved)
        self.panel.open()

    def enter(self):
        self.panel.open()

    def exit(self):
        self.panel.close(_("The run was cancelled when the module was left. The scene is as it was."))

    def cleanup(self):
        if self.panel is not None:
            self.panel.close("")
        self.removeObservers()

    def onSceneStart(self, caller, event):
        self.panel.close(_("The run was cancelled, since the scene was closed or another one loaded."))

    def onSceneEnd(self, caller, event):
        if self.parent.isEntered:
            self.panel.open()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller, event, node):
        self.panel.on_node_removed(node)
