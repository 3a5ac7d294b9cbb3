"""The family of nodes that shows one scan's Result: made, updated, found again after a reload, and taken away.

The segmentation node is its head: it refers to the others by node references and remembers what no node shows (see
`memory`). So a scene that was saved and opened again can be reviewed on without running a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import slicer

from csvd.errors import InputError
from csvd.marker import Marker
from csvd_slicer.folders import place, remove_family
from csvd_slicer.maps import PROBABILITY, UNCERTAINTY, set_first_window, write_map
from csvd_slicer.memory import differs_from_automatic, is_ours, recall, remember, remember_parameters
from csvd_slicer.naming import MARKER, marker_of
from csvd_slicer.plots import write_chart, write_slices
from csvd_slicer.rollback import all_or_nothing
from csvd_slicer.segments import Segments, read_segments, remeasure, write_segments
from csvd_slicer.tables import write_lesions, write_measurements
from csvd_slicer.volumes import grid_of

if TYPE_CHECKING:
    from csvd.result import Result

REFERENCE = "csvd."  # before the name of a member: the role of a node reference
SCAN = REFERENCE + "flair"  # the role of the scan, also of a CT: so it is called in scenes that were saved
COMPARISON = REFERENCE + "comparison"  # the role of what another scan showed; see `comparison`
# Class and name of each member; names follow the scan's.
MEMBERS = {
    "segmentation": ("vtkMRMLSegmentationNode", "{marker}"),
    "probability": ("vtkMRMLScalarVolumeNode", "{marker} probability"),
    "uncertainty": ("vtkMRMLScalarVolumeNode", "{marker} uncertainty"),
    "measurements": ("vtkMRMLTableNode", "{marker} measurements"),
    "lesions": ("vtkMRMLTableNode", "{marker} lesions"),
    "slices": ("vtkMRMLTableNode", "{marker} by slice"),
    "periventricular_series": ("vtkMRMLPlotSeriesNode", "Periventricular {marker}"),
    "deep_series": ("vtkMRMLPlotSeriesNode", "Deep {marker}"),
    "chart": ("vtkMRMLPlotChartNode", "{marker} chart"),
}


@dataclass(frozen=True, eq=False)
class Family:
    """The nodes of one marker on one scan. A node that somebody removed is None; the next `show` makes it again."""

    scan: slicer.vtkMRMLScalarVolumeNode
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
        members = {name: segmentation.GetNodeReference(REFERENCE + name) for name in MEMBERS if name != "segmentation"}
        return cls(segmentation=segmentation, scan=segmentation.GetNodeReference(SCAN), **members)

    @property
    def marker(self) -> Marker:
        """What the lesions are."""
        return marker_of(self.segmentation)

    @property
    def comparison(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The lesions of another scan of the same patient on the voxels of this one, after a comparison."""
        return self.segmentation.GetNodeReference(COMPARISON)

    @property
    def made(self) -> list[slicer.vtkMRMLNode]:
        """Every node but the scan, those that somebody removed left out."""
        nodes = [getattr(self, name) for name in MEMBERS]
        return [node for node in (*nodes, self.comparison) if node is not None]


def families(scene: slicer.vtkMRMLScene, marker: Marker | None = None) -> Iterator[Family]:
    """Every family in a scene, or those of one marker."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
        if is_ours(node) and (marker is None or marker_of(node) is marker):
            yield Family.of(node)


def find(scan: slicer.vtkMRMLScalarVolumeNode, marker: Marker | None = None) -> Family | None:
    """The family of a scan (of one marker where it is given), or None before the first `show`."""
    return next((nodes for nodes in families(scan.GetScene(), marker) if nodes.scan is scan), None)


def show(
    result: Result,
    scan: slicer.vtkMRMLScalarVolumeNode,
    nodes: Family | None = None,
    *,
    save_state: Callable[[], object] | None = None,
) -> Family:
    """Show a new result: make the family of `scan`, or write over the one that is there, edits included.

    Ask `edited_by_reader` before. An error leaves the scene as it was, without a new node.

    Args:
        nodes: the family to write over; found by itself unless given.
        save_state: as in `write_segments`.

    Raises:
        InputError: the scan was changed or moved since the result was made from it.
    """
    if not result.image.grid.matches(grid_of(scan), tolerance_mm=0.01):
        raise InputError(f"{scan.GetName()} was changed or moved after the run had started: press Apply again.")
    nodes = nodes or find(scan, result.marker)
    with all_or_nothing(scan.GetScene(), nodes.made if nodes else []):
        nodes = _complete(scan, nodes, result.marker)
        for node in (nodes.segmentation, nodes.probability, nodes.uncertainty):
            node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
        nodes.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(scan)
        write_map(nodes.probability, result.probability, scan, PROBABILITY)
        write_map(nodes.uncertainty, result.uncertainty, scan, UNCERTAINTY)
        _write_numbers(nodes, result)
        remember(nodes.segmentation, scan, result)
        write_segments(nodes.segmentation, scan, Segments.of(result), brain=result.brain, save_state=save_state)
    set_first_window(scan, result.marker)
    return nodes


def update(nodes: Family, result: Result, *, save_state: Callable[[], object] | None = None) -> Result:
    """Show the same scan under other parameters (threshold, distance, rule): segments, tables and chart, no maps.

    Voxels that a reader rejected stay rejected and are left out of the result, which is returned as it is shown.

    Raises:
        InputError: as `read_segments`.
    """
    rejected = read_segments(nodes.segmentation, nodes.scan).rejected
    if (result.mask & (rejected > 0)).any():
        result = result.remeasure(result.mask & (rejected == 0))
    with all_or_nothing(nodes.scan.GetScene(), nodes.made):
        _write_numbers(nodes, result)
        remember_parameters(nodes.segmentation, nodes.scan, result)
        write_segments(nodes.segmentation, nodes.scan, Segments.of(result, rejected), save_state=save_state)
    return result


def follow_edit(nodes: Family, result: Result) -> Result:
    """Measure what a reader made of the segments, and bring segments, tables and chart after it.

    A new voxel of either zone is given to the zone of its distance, and one that was painted over from the other zone
    stays where the reader put it. Nothing is saved for undo: the editor did.

    Raises:
        InputError: as `read_segments`.
    """
    segments = read_segments(nodes.segmentation, nodes.scan)
    result = remeasure(result, segments)
    with all_or_nothing(nodes.scan.GetScene(), nodes.made):
        _write_numbers(nodes, result)
        write_segments(nodes.segmentation, nodes.scan, Segments.of(result, segments.rejected))
    return result


def edited_by_reader(nodes: Family) -> bool:
    """Whether the segments hold work of a reader that writing over them would lose; true also after a reload."""
    return differs_from_automatic(nodes.segmentation, nodes.scan)


def result_from_nodes(nodes: Family) -> Result:
    """The Result that a scene shows, edits included, as it was before the scene was saved and opened again.

    Raises:
        InputError: the scan or the probability map is gone or changed, or the segmentation is none of ours.
    """
    image = nodes.marker.image
    for what, member in ((image, nodes.scan), ("probability map", nodes.probability)):
        if member is None:
            raise InputError(
                f"The {what} of {nodes.segmentation.GetName()} is no longer in the scene: load the {image} and run "
                "again."
            )
    return recall(nodes.segmentation, nodes.scan, nodes.probability)


def remove(nodes: Family) -> None:
    """Take the family out of the scene, with its display and storage nodes and its folder; the scan stays."""
    remove_family(nodes.segmentation, nodes.made)


def _write_numbers(nodes: Family, result: Result) -> None:
    """Tables and chart; those that somebody removed are left out."""
    if nodes.measurements is not None:
        write_measurements(nodes.measurements, result)
    if nodes.lesions is not None:
        write_lesions(nodes.lesions, result.lesions)
    if nodes.slices is not None:
        write_slices(nodes.slices, result)
        if None not in (nodes.chart, nodes.periventricular_series, nodes.deep_series):
            write_chart(nodes.chart, nodes.periventricular_series, nodes.deep_series, nodes.slices, result.marker)


def _complete(scan: slicer.vtkMRMLScalarVolumeNode, nodes: Family | None, marker: Marker) -> Family:
    """Make the members that are missing, and put them into the family's folder beside the scan."""
    scene = scan.GetScene()
    head = nodes.segmentation if nodes else None
    made = []
    for name, (class_name, title) in MEMBERS.items():
        if nodes is None or getattr(nodes, name) is None:
            node = scene.AddNewNodeByClass(class_name, f"{scan.GetName()} {title.format(marker=marker.short)}")
            made.append(node)
            if head is None:
                head = node
                head.CreateDefaultDisplayNodes()
                head.SetAttribute(MARKER, marker.key)
                head.SetNodeReferenceID(SCAN, scan.GetID())
            else:
                head.SetNodeReferenceID(REFERENCE + name, node.GetID())
    complete = Family.of(head)
    place(head, scan, made)
    return complete
