"""The family of nodes that shows one FLAIR's Result: made, updated, found again after a reload, and taken away.

The segmentation node is its head: it refers to the others by node references and remembers what no node shows (see
`memory`). So a scene that was saved and opened again can be reviewed on without running a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import slicer

from csvd.errors import InputError
from csvd_slicer.maps import PROBABILITY, UNCERTAINTY, write_map
from csvd_slicer.memory import differs_from_automatic, is_ours, recall, remember, remember_parameters
from csvd_slicer.plots import write_chart, write_slices
from csvd_slicer.rollback import all_or_nothing, remove_node
from csvd_slicer.segments import Segments, read_segments, remeasure, write_segments
from csvd_slicer.tables import write_lesions, write_measurements
from csvd_slicer.volumes import grid_of

if TYPE_CHECKING:
    from csvd.result import Result

REFERENCE = "csvd."  # before the name of a member: the role of a node reference
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
        if is_ours(node):
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
    with all_or_nothing(flair.GetScene(), nodes.made if nodes else []):
        nodes = _complete(flair, nodes)
        for node in (nodes.segmentation, nodes.probability, nodes.uncertainty):
            node.SetAndObserveTransformNodeID(flair.GetTransformNodeID())
        nodes.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(flair)
        write_map(nodes.probability, result.probability, flair, PROBABILITY)
        write_map(nodes.uncertainty, result.uncertainty, flair, UNCERTAINTY)
        _write_numbers(nodes, result)
        remember(nodes.segmentation, flair, result)
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
    with all_or_nothing(nodes.flair.GetScene(), nodes.made):
        _write_numbers(nodes, result)
        remember_parameters(nodes.segmentation, nodes.flair, result)
        write_segments(nodes.segmentation, nodes.flair, Segments.of(result, rejected), save_state=save_state)
    return result


def follow_edit(nodes: WMHNodes, result: Result) -> Result:
    """Measure what a reader made of the segments, and bring segments, tables and chart after it.

    A new voxel of either zone is given to the zone of its distance, and one that was painted over from the other zone
    stays where the reader put it. Nothing is saved for undo: the editor did.

    Raises:
        InputError: as `read_segments`.
    """
    segments = read_segments(nodes.segmentation, nodes.flair)
    result = remeasure(result, segments)
    with all_or_nothing(nodes.flair.GetScene(), nodes.made):
        _write_numbers(nodes, result)
        write_segments(nodes.segmentation, nodes.flair, Segments.of(result, segments.rejected))
    return result


def edited_by_reader(nodes: WMHNodes) -> bool:
    """Whether the segments hold work of a reader that writing over them would lose; true also after a reload."""
    return differs_from_automatic(nodes.segmentation, nodes.flair)


def result_from_nodes(nodes: WMHNodes) -> Result:
    """The Result that a scene shows, edits included, as it was before the scene was saved and opened again.

    Raises:
        InputError: the FLAIR or the probability map is gone or changed, or the segmentation is none of ours.
    """
    for what, member in (("FLAIR", nodes.flair), ("probability map", nodes.probability)):
        if member is None:
            raise InputError(
                f"The {what} of {nodes.segmentation.GetName()} is no longer in the scene: load the FLAIR and run again."
            )
    return recall(nodes.segmentation, nodes.flair, nodes.probability)


def remove(nodes: WMHNodes) -> None:
    """Take the family out of the scene, with its display and storage nodes and its folder; the FLAIR stays."""
    scene, hierarchy = nodes.segmentation.GetScene(), nodes.segmentation.GetScene().GetSubjectHierarchyNode()
    folder = _folder(nodes)
    for node in nodes.made:
        remove_node(scene, node)
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
