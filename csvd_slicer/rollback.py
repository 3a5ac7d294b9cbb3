"""All of a change to the scene, or nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import slicer
import vtk

from csvd_slicer.layers import LABELMAP


@contextmanager
def all_or_nothing(scene: slicer.vtkMRMLScene, nodes: Iterable[slicer.vtkMRMLNode]) -> Iterator[None]:
    """Put `nodes` back as they were and remove every new node and folder when the block raises.

    Nothing here is copied: all writers of this package put new data objects in the place of old ones.
    """
    hierarchy = scene.GetSubjectHierarchyNode()
    there, items = set(_nodes(scene)), set(_items(hierarchy))
    restore = [_state(node) for node in nodes]
    try:
        yield
    except BaseException:
        for put_back in restore:
            put_back()
        for node in [node for node in _nodes(scene) if node not in there]:
            remove_node(scene, node)
        for item in set(_items(hierarchy)) - items:
            if item in _items(hierarchy):  # not gone with its parent
                hierarchy.RemoveItem(item)
        raise


def _state(node: slicer.vtkMRMLNode) -> Callable[[], None]:
    """A call that gives a node the data, attributes and place that it has now."""
    attributes = {key: node.GetAttribute(key) for key in node.GetAttributeNames()}
    transform = node.GetTransformNodeID() if node.IsA("vtkMRMLTransformableNode") else None
    if node.IsA("vtkMRMLVolumeNode"):
        data = [(node.SetAndObserveImageData, node.GetImageData()), (node.SetIJKToRASMatrix, vtk.vtkMatrix4x4())]
        node.GetIJKToRASMatrix(data[1][1])
    elif node.IsA("vtkMRMLTableNode"):
        data = [(node.SetAndObserveTable, node.GetTable())]
    elif node.IsA("vtkMRMLSegmentationNode"):
        segmentation = node.GetSegmentation()
        segments = {id: segmentation.GetSegment(id) for id in segmentation.GetSegmentIDs()}
        kept = [(id, segment.GetLabelValue(), segment.GetRepresentation(LABELMAP)) for id, segment in segments.items()]
        data = [(lambda kept: _put_segments_back(segmentation, kept), kept)]
    else:
        data = []

    def put_back() -> None:
        for put, what in data:
            put(what)
        for key in node.GetAttributeNames():
            if key not in attributes:
                node.RemoveAttribute(key)
        for key, value in attributes.items():
            node.SetAttribute(key, value)
        if node.IsA("vtkMRMLTransformableNode"):
            node.SetAndObserveTransformNodeID(transform)

    return put_back


def _put_segments_back(segmentation: slicer.vtkSegmentation, kept: list[tuple]) -> None:
    for id in set(segmentation.GetSegmentIDs()) - {id for id, *_ in kept}:
        segmentation.RemoveSegment(id)
    for id, label_value, labelmap in kept:
        segment = segmentation.GetSegment(id)
        segment.SetLabelValue(label_value)
        segment.AddRepresentation(LABELMAP, labelmap)


def _nodes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLNode]:
    return [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]


def _items(hierarchy: slicer.vtkMRMLSubjectHierarchyNode) -> list[int]:
    ids = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), ids, True)
    return [ids.GetId(number) for number in range(ids.GetNumberOfIds())]


def remove_node(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Remove a node together with its display and storage nodes, which a scene would keep."""
    belongings = []
    if node.IsA("vtkMRMLStorableNode"):
        belongings += [node.GetNthStorageNode(number) for number in range(node.GetNumberOfStorageNodes())]
    if node.IsA("vtkMRMLDisplayableNode"):
        belongings += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
    for other in (*belongings, node):
        if other is not None and scene.IsNodePresent(other):
            scene.RemoveNode(other)
