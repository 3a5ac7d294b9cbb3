"""The folder of the subject hierarchy in which the nodes of one result lie, beside the scan they were made from."""

from __future__ import annotations

from collections.abc import Iterable

import slicer

from csvd_slicer.rollback import remove_node


def place(head: slicer.vtkMRMLNode, scan: slicer.vtkMRMLScalarVolumeNode, made: Iterable[slicer.vtkMRMLNode]) -> None:
    """Put new nodes into the folder of `head`, which a new head gets beside `scan`; a reader may move them on."""
    made = list(made)
    hierarchy = scan.GetScene().GetSubjectHierarchyNode()
    folder = folder_of(head)
    if head in made:
        item = hierarchy.GetItemByDataNode(scan)
        beside = hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID()
        folder = hierarchy.CreateFolderItem(beside, head.GetName())
    for node in made:
        item = hierarchy.GetItemByDataNode(node)
        if not item:
            hierarchy.CreateItem(folder, node)
        else:
            hierarchy.SetItemParent(item, folder)


def folder_of(node: slicer.vtkMRMLNode) -> int:
    """Subject hierarchy item in which a node lies; the scene's own without any."""
    hierarchy = node.GetScene().GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(node)
    return hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID()


def remove_family(head: slicer.vtkMRMLNode, made: Iterable[slicer.vtkMRMLNode]) -> None:
    """Take nodes out of the scene, with their display and storage nodes, and the folder of `head` once it is empty."""
    scene, folder = head.GetScene(), folder_of(head)
    hierarchy = scene.GetSubjectHierarchyNode()
    for node in made:
        remove_node(scene, node)
    if folder and folder != hierarchy.GetSceneItemID() and not hierarchy.GetNumberOfItemChildren(folder):
        hierarchy.RemoveItem(folder)
