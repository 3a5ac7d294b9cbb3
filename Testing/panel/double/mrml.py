"""The part of Slicer below the widgets: scene, application logic and module logics, from slicer-core.

The smallest boot that the panel tests need. It gives `slicer.mrmlScene` and the logics, and no files are read.
"""

import slicer
import vtk

LOGICS = {  # module: the class of its logic
    "Colors": "vtkSlicerColorLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}


def boot():
    """The application logic and {module: logic}; sets slicer.mrmlScene."""
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    vtk.vtkObject.GlobalWarningDisplayOff()  # the wheel has no colour and terminology files, and says so eight times
    application_logic = slicer.vtkSlicerApplicationLogic()
    application_logic.SetMRMLScene(scene)
    logics = {}
    for module, class_name in LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        application_logic.SetModuleLogic(module, logic)
        logics[module] = logic
    vtk.vtkObject.GlobalWarningDisplayOn()

    # On the desktop Qt plugins give every new node its subject hierarchy item, and take it away with the node.
    @vtk.calldata_type(vtk.VTK_OBJECT)
    def add_item(caller, event, node):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(caller)
        if hierarchy and node.IsA("vtkMRMLDisplayableNode") and not node.GetHideFromEditors():
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def remove_item(caller, event, node):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(caller)
        if hierarchy and hierarchy.GetItemByDataNode(node):
            hierarchy.RemoveItem(hierarchy.GetItemByDataNode(node), False, False)

    scene.AddObserver(scene.NodeAddedEvent, add_item)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, remove_item)
    return application_logic, logics


def add_slice_views(application_logic):
    """Slice logics of the views Red, Yellow and Green, as the main window's layout makes them."""
    logics = vtk.vtkCollection()
    for name, orientation, colour in (
        ("Red", "Axial", (0.95, 0.29, 0.20)),
        ("Yellow", "Sagittal", (0.93, 0.84, 0.30)),
        ("Green", "Coronal", (0.43, 0.69, 0.29)),
    ):
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(slicer.mrmlScene)
        node = logic.AddSliceNode(name)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(slicer.mrmlScene)
        node.SetOrientation(orientation)
        node.SetLayoutColor(*colour)
        logics.AddItem(logic)
    application_logic.SetSliceLogics(logics)
    return {logics.GetItemAsObject(i).GetSliceNode().GetLayoutName(): logics.GetItemAsObject(i) for i in range(3)}
