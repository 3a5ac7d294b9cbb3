"""The family of nodes that shows one FLAIR's Result: made, updated, found again after a reload, and taken away.

The segmentation node is its head. It refers to the others by node references, and keeps what a Result is made of and
no node shows (parameters, provenance, the automatic brain and ventricles) in its attributes, which are saved with the
scene. So a reloaded scene can be reviewed on without running a network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import numpy as np
import slicer
import vtk

from csvd.errors import InputError
from csvd_slicer.maps import PROBABILITY, UNCERTAINTY, write_map
from csvd_slicer.plots import write_chart, write_slices
from csvd_slicer.segments import LABELMAP, Segments, read_segments, remeasure, write_segments
from csvd_slicer.tables import write_lesions, write_measurements
from csvd_slicer.volumes import grid_of, image_from_node, own_affine, voxels_of

if TYPE_CHECKING:
    from csvd.result import Result

# Node references and attributes of the segmentation node.
REFERENCE = "csvd."
ORIGIN, AUTOMATIC, BRAIN_MASK, VENTRICLES_MASK = "csvd.origin", "csvd.automatic", "csvd.brain", "csvd.ventricles"
# Class and name of each member; names follow the FLAIR's.
MEMBERS = {
    "segmentation": ("vtkMRMLSegmentationNode", "WMH"),
    "probability": ("vtkMRMLScalarVolumeNode", PROBABILITY.name),
    "uncertainty": ("vtkMRMLScalarVolumeNode", UNCERTAINTY.name),
    "measurements": ("vtkMRMLTableNode", "WMH measurements"),
    "lesions": ("vtkMRMLTableNode", "WMH lesions"),
    "slices": ("vtkMRMLTableNode", "WMH by slice"),
    "periventricular_series": ("vtkMRMLPlotSeriesNode", "Periventricular WMH"),
    "deep_series": ("vtkMRMLPlotSeriesNode", "Deep WMH"),
    "chart": ("vtkMRMLPlotChartNode", "WMH chart"),
}


@dataclass(frozen=True, eq=False)
class WMHNodes:
    """The nodes of one FLAIR. `find` gives None for a node that somebody removed; the next `show` makes it again."""

    flair: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    probability: slicer.vtkMRMLScalarVolumeNode | None
    uncertainty: slicer.vtkMRMLScalarVolumeNode | None
    measurements: slicer.vtkMRMLTableNode | None
    lesions: slicer.vtkMRMLTableNode | None
    slices: slicer.vtkMRMLTableNode | None
    periventricular_series: slicer.vtkMRMLPlotSeriesNode | None
    deep_series: slicer.vtkMRMLPlotSeriesNode | None
    chart: slicer.vtkMRMLPlotChartNode | None

    @classmethod
    def of(cls, segmentation: slicer.vtkMRMLSegmentationNode) -> Self:
        """The family whose head is `segmentation`."""
        names = (field.name for field in fields(cls) if field.name != "segmentation")
        members = {name: segmentation.GetNodeReference(REFERENCE + name) for name in names}
        return cls(segmentation=segmentation, **members)

    @property
    def made(self) -> list[slicer.vtkMRMLNode]:
        """Every node but the FLAIR, those that somebody removed left out."""
        return [node for name in MEMBERS if (node := getattr(self, name)) is not None]


def families(scene: slicer.vtkMRMLScene) -> Iterator[WMHNodes]:
    """Every family in a scene."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
        if node.GetAttribute(ORIGIN) is not None:
            yield WMHNodes.of(node)


def find(flair: slicer.vtkMRMLScalarVolumeNode) -> WMHNodes | None:
    """The family of a FLAIR, or None before the first `show`."""
    return next((nodes for nodes in families(flair.GetScene()) if nodes.flair is flair), None)


def show(
    result: Result,
    flair: slicer.vtkMRMLScalarVolumeNode,
    nodes: WMHNodes | None = None,
    *,
    save_state: Callable[[], object] | None = None,
) -> WMHNodes:
    """Show a new result: make the family of `flair`, or write over the one that is there, edits included.

    Ask `edited_by_reader` before. An error leaves the scene as it was, without a new node.

    Args:
        nodes: the family to write over; found by itself unless given.
        save_state: as in `write_segments`.

    Raises:
        InputError: the FLAIR was changed or moved since the result was made from it.
    """
    if not result.image.grid.matches(grid_of(flair), tolerance_mm=0.01):
        raise InputError(f"{flair.GetName()} was changed or moved after the run had started: press Apply again.")
    nodes = nodes or find(flair)
    with _all_or_nothing(flair.GetScene(), nodes):
        nodes = _complete(flair, nodes)
        for node in (nodes.segmentation, nodes.probability, nodes.uncertainty):
            node.SetAndObserveTransformNodeID(flair.GetTransformNodeID())
        nodes.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(flair)
        write_map(nodes.probability, result.probability, flair, PROBABILITY)
        write_map(nodes.uncertainty, result.uncertainty, flair, UNCERTAINTY)
        _write_numbers(nodes, result)
        automatic = result.automatic or result
        nodes.segmentation.SetAttribute(BRAIN_MASK, _packed(result.brain))
        nodes.segmentation.SetAttribute(VENTRICLES_MASK, _packed(automatic.ventricles))
        _write_origin(nodes, result)
        write_segments(nodes.segmentation, flair, Segments.of(result), brain=result.brain, save_state=save_state)
    return nodes


def update(nodes: WMHNodes, result: Result, *, save_state: Callable[[], object] | None = None) -> Result:
    """Show the same scan under other parameters (threshold, distance, rule): segments, tables and chart, no maps.

    Voxels that a reader rejected stay rejected and are left out of the result, which is returned as it is shown.

    Raises:
        InputError: as `read_segments`.
    """
    rejected = read_segments(nodes.segmentation, nodes.flair).rejected
    if (result.mask & (rejected > 0)).any():
        result = result.remeasure(result.mask & (rejected == 0))
    with _all_or_nothing(nodes.flair.GetScene(), nodes):
        _write_numbers(nodes, result)
        _write_origin(nodes, result)
        write_segments(nodes.segmentation, nodes.flair, Segments.of(result, rejected), save_state=save_state)
    return result


def follow_edit(nodes: WMHNodes, result: Result) -> Result:
    """Measure what a reader made of the segments, and bring segments, tables and chart after it.

    A new voxel of either zone is given to the zone of its distance. Nothing is saved for undo: the editor did.

    Raises:
        InputError: as `read_segments`.
    """
    segments = read_segments(nodes.segmentation, nodes.flair)
    result = remeasure(result, segments)
    with _all_or_nothing(nodes.flair.GetScene(), nodes):
        _write_numbers(nodes, result)
        write_segments(nodes.segmentation, nodes.flair, Segments.of(result, segments.rejected))
    return result


def edited_by_reader(nodes: WMHNodes) -> bool:
    """Whether the segments hold work of a reader that writing over them would lose; true also after a reload."""
    segments = read_segments(nodes.segmentation, nodes.flair)
    if segments.rejected.any():
        return True
    axes = _flipped_axes(nodes)
    digest = _digest(np.flip(segments.labels, axes), np.flip(segments.ventricles, axes))
    return digest != nodes.segmentation.GetAttribute(AUTOMATIC)


def result_from_nodes(nodes: WMHNodes) -> Result:
    """The Result that a scene shows, edits included, as it was before the scene was saved and opened again.

    Raises:
        InputError: the FLAIR or the probability map is gone or changed, or the segmentation is none of ours.
    """
    from csvd.result import Result

    node = nodes.segmentation
    for what, member in (("FLAIR", nodes.flair), ("probability map", nodes.probability)):
        if member is None:
            raise InputError(f"The {what} of {node.GetName()} is no longer in the scene: load the FLAIR and run again.")
    image = image_from_node(nodes.flair)
    try:
        origin = json.loads(node.GetAttribute(ORIGIN))
        masks = [_unpacked(node.GetAttribute(key), image.voxels.shape) for key in (VENTRICLES_MASK, BRAIN_MASK)]
        axes = _flipped_axes(nodes)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InputError(f"{node.GetName()} does not say what it was made from: run again.") from error
    parameters = origin["parameters"]
    measured = {name: parameters.pop(name) for name in ("threshold", "pv_distance_mm", "pv_rule")}
    automatic = Result.from_probability(
        image,
        voxels_of(nodes.probability),
        *(np.flip(mask, axes) for mask in masks),
        warnings=origin["warnings"],
        parameters=parameters,
        provenance=origin["provenance"],
        **measured,
    )
    return remeasure(automatic, read_segments(node, nodes.flair))


def remove(nodes: WMHNodes) -> None:
    """Take the family out of the scene, with its display and storage nodes and its folder; the FLAIR stays."""
    scene, hierarchy = nodes.segmentation.GetScene(), nodes.segmentation.GetScene().GetSubjectHierarchyNode()
    folder = _folder(nodes)
    for node in nodes.made:
        _remove(scene, node)
    if folder and not hierarchy.GetNumberOfItemChildren(folder):
        hierarchy.RemoveItem(folder)


def _write_numbers(nodes: WMHNodes, result: Result) -> None:
    """Tables and chart; those that somebody removed are left out."""
    if nodes.measurements is not None:
        write_measurements(nodes.measurements, result)
    if nodes.lesions is not None:
        write_lesions(nodes.lesions, result.lesions)
    if nodes.slices is not None:
        write_slices(nodes.slices, result)
        if None not in (nodes.chart, nodes.periventricular_series, nodes.deep_series):
            write_chart(nodes.chart, nodes.periventricular_series, nodes.deep_series, nodes.slices)


def _write_origin(nodes: WMHNodes, result: Result) -> None:
    from csvd.report.tables import plain

    automatic = result.automatic or result
    origin = {
        "parameters": result.parameters,
        "warnings": result.warnings,
        "provenance": result.provenance,
        "affine": own_affine(nodes.flair),
    }
    nodes.segmentation.SetAttribute(ORIGIN, json.dumps(plain(origin)))
    nodes.segmentation.SetAttribute(AUTOMATIC, _digest(automatic.labels, automatic.ventricles))


def _complete(flair: slicer.vtkMRMLScalarVolumeNode, nodes: WMHNodes | None) -> WMHNodes:
    """Make the members that are missing, and put them into the family's folder beside the FLAIR."""
    scene = flair.GetScene()
    head = nodes.segmentation if nodes else None
    made = []
    for name, (class_name, title) in MEMBERS.items():
        if nodes is None or getattr(nodes, name) is None:
            node = scene.AddNewNodeByClass(class_name, f"{flair.GetName()} {title}")
            made.append(node)
            if head is None:
                head = node
                head.CreateDefaultDisplayNodes()
                head.SetNodeReferenceID(REFERENCE + "flair", flair.GetID())
            else:
                head.SetNodeReferenceID(REFERENCE + name, node.GetID())
    complete = WMHNodes.of(head)
    _place(complete, made)
    return complete


def _place(nodes: WMHNodes, made: list[slicer.vtkMRMLNode]) -> None:
    """Put new nodes into the family's folder, which a new family gets beside the FLAIR; a reader may move them on."""
    hierarchy = nodes.flair.GetScene().GetSubjectHierarchyNode()
    folder = _folder(nodes)
    if nodes.segmentation in made:
        flair = hierarchy.GetItemByDataNode(nodes.flair)
        beside = hierarchy.GetItemParent(flair) if flair else hierarchy.GetSceneItemID()
        folder = hierarchy.CreateFolderItem(beside, nodes.segmentation.GetName())
    for node in made:
        item = hierarchy.GetItemByDataNode(node)
        if not item:
            hierarchy.CreateItem(folder, node)
        else:
            hierarchy.SetItemParent(item, folder)


def _folder(nodes: WMHNodes) -> int:
    """Subject hierarchy item in which the segmentation lies; the scene's own without any."""
    hierarchy = nodes.segmentation.GetScene().GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(nodes.segmentation)
    return hierarchy.GetItemParent(item) if item else hierarchy.GetSceneItemID()


@contextmanager
def _all_or_nothing(scene: slicer.vtkMRMLScene, nodes: WMHNodes | None) -> Iterator[None]:
    """Put `nodes` back as they were and remove every new node and folder when the block raises.

    Nothing here is copied: all writers of this package put new data objects in the place of old ones.
    """
    hierarchy = scene.GetSubjectHierarchyNode()
    there, items = set(_nodes(scene)), set(_items(hierarchy))
    restore = [_state(node) for node in nodes.made] if nodes else []
    try:
        yield
    except BaseException:
        for put_back in restore:
            put_back()
        for node in [node for node in _nodes(scene) if node not in there]:
            _remove(scene, node)
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
        data = [(node.SetAndObserveTable, node.GetTable()), (node.SetAndObserveSchema, node.GetSchema())]
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


def _remove(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Remove a node together with its display and storage nodes, which a scene would keep."""
    belongings = []
    if node.IsA("vtkMRMLStorableNode"):
        belongings += [node.GetNthStorageNode(number) for number in range(node.GetNumberOfStorageNodes())]
    if node.IsA("vtkMRMLDisplayableNode"):
        belongings += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
    for other in (*belongings, node):
        if other is not None and scene.IsNodePresent(other):
            scene.RemoveNode(other)


def _packed(mask: np.ndarray) -> str:
    """A mask as text, a few kB for a head."""
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii")


def _unpacked(text: str, shape: tuple[int, int, int]) -> np.ndarray:
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    if bits.size != -(-int(np.prod(shape)) // 8):
        raise ValueError(f"{bits.size} bytes do not hold a mask of shape {shape}.")
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).view(bool)


def _flipped_axes(nodes: WMHNodes) -> tuple[int, ...]:
    """The voxel axes that run the other way than when the masks were packed.

    Slicer turns the slices of a left-handed volume round when it reads its file. Any other change of the affine is a
    transform that was hardened, and leaves the order of the voxels alone.
    """
    affine = np.array(json.loads(nodes.segmentation.GetAttribute(ORIGIN))["affine"])
    mapping = np.linalg.inv(affine) @ own_affine(nodes.flair)
    directions = np.diag(mapping)[:3]
    last = np.array(voxels_of(nodes.flair).shape) - 1
    flip = np.eye(4)
    flip[:3, :3], flip[:3, 3] = np.diag(np.sign(directions)), np.where(directions < 0, last, 0)
    return tuple(np.flatnonzero(directions < 0).tolist()) if np.allclose(mapping, flip, atol=0.05) else ()


def _digest(labels: np.ndarray, ventricles: np.ndarray) -> str:
    content = hashlib.blake2b(np.ascontiguousarray(labels), digest_size=16)
    content.update(np.packbits(ventricles))
    return content.hexdigest()
