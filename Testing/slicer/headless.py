"""Slicer without its application: the scene, the logics and the files of slicer-core, wired as the desktop wires them.

``import slicer`` of slicer-core brings nodes and logics and nothing that runs. `boot` makes the one scene of this
process and what hangs on it; `new_scene` empties it, `save_bundle` and `open_bundle` write and read ``.mrb``. There is
no Qt and no module of ours here.
"""

import tempfile
import types
from functools import cache
from pathlib import Path

import slicer
import vtk

# Module logics by the name that slicer.modules and GetModuleLogic know them by.
LOGICS = {
    "colors": "vtkSlicerColorLogic",
    "units": "vtkSlicerUnitsLogic",
    "transforms": "vtkSlicerTransformLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "terminologies": "vtkSlicerTerminologiesModuleLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "tables": "vtkSlicerTablesLogic",
    "plots": "vtkSlicerPlotsLogic",
    "models": "vtkSlicerModelsLogic",
    "texts": "vtkSlicerTextsLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "viewcontrollers": "vtkSlicerViewControllersLogic",
}
# What the desktop's plugins list in the subject hierarchy by themselves.
LISTED = (
    *("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTransformNode", "vtkMRMLTextNode"),
    *("vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLMarkupsNode"),
)


@cache
def boot() -> slicer.vtkMRMLScene:
    """Put the scene into ``slicer.mrmlScene``, the logics into ``slicer.modules`` and the rest into ``slicer.app``."""
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    temporary = tempfile.TemporaryDirectory(prefix="csvd-slicer-")
    folder = Path(temporary.name)
    application = slicer.vtkSlicerApplicationLogic()
    application.SetTemporaryPath(str(folder))
    application.SetHomeDirectory(str(folder))
    application.SetShareDirectory(str(folder))
    files = slicer.vtkMRMLRemoteIOLogic()
    files.SetMRMLScene(scene)
    files.GetCacheManager().SetRemoteCacheDirectory(str(folder))
    files.AddDataIOToScene()
    transfers = slicer.vtkDataIOManagerLogic()
    transfers.SetAndObserveDataIOManager(files.GetDataIOManager())
    application.SetMRMLSceneDataIO(scene, files, transfers)
    application.SetMRMLScene(scene)
    slicer.app = types.SimpleNamespace(
        applicationLogic=lambda: application,
        mrmlScene=lambda: scene,
        temporaryPath=str(folder),
        kept_alive=(files, transfers, temporary),
        pauseRender=lambda: None,
        resumeRender=lambda: None,
        processEvents=lambda: None,
        layoutManager=lambda: None,
        testingEnabled=lambda: True,
    )
    slicer.modules = types.SimpleNamespace()
    vtk.vtkObject.GlobalWarningDisplayOff()  # of the terminologies and colour files that the wheel does not have
    for name, class_name in LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
        setattr(slicer.modules, name, types.SimpleNamespace(logic=lambda logic=logic: logic))
    vtk.vtkObject.GlobalWarningDisplayOn()
    application.SetColorLogic(slicer.modules.colors.logic())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    scene.AddObserver(scene.NodeAddedEvent, _list_node)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, _unlist_node)
    return scene


def new_scene() -> slicer.vtkMRMLScene:
    """Close the scene, as File > Close Scene does, and return it empty but for singletons and colour tables."""
    scene = boot()
    scene.Clear(False)
    scene.GetSubjectHierarchyNode()  # made on demand
    return scene


def save_bundle(path: Path) -> None:
    assert slicer.mrmlScene.WriteToMRB(str(path)), path


def open_bundle(path: Path) -> slicer.vtkMRMLScene:
    """Close the scene and open the ``.mrb`` at `path`."""
    scene = new_scene()
    assert scene.ReadFromMRB(str(path)), path
    return scene


@vtk.calldata_type(vtk.VTK_OBJECT)
def _list_node(scene, event, node) -> None:
    if scene.IsImporting() or node.GetHideFromEditors() or not any(node.IsA(name) for name in LISTED):
        return
    hierarchy = scene.GetSubjectHierarchyNode()
    if not hierarchy.GetItemByDataNode(node):
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


@vtk.calldata_type(vtk.VTK_OBJECT)
def _unlist_node(scene, event, node) -> None:
    hierarchy = None if scene.IsClosing() else scene.GetSubjectHierarchyNode()
    if hierarchy is not None and hierarchy.GetItemByDataNode(node):
        hierarchy.RemoveItem(hierarchy.GetItemByDataNode(node), False, False)
