"""The family of nodes that shows the burden of one patient: a segmentation for each sequence, tables and a chart.

The table of scores is its head: it refers to the others by node references. A sequence's segmentation, its probability
maps and what they remember stay on that sequence's own voxels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import slicer

from csvd.marker import WMH
from csvd.sequences import SEQUENCE_OF, SEQUENCES
from csvd_slicer.folders import place, remove_family
from csvd_slicer.naming import BURDEN, MARKER
from csvd_slicer.rollback import remove_node

SEQUENCES_OF_HEAD = "csvd.sequences"  # attribute of the head: those that were measured
# Roles of node references, before a sequence or, of a probability, a marker.
SCAN, SEGMENTATION, PROBABILITY = "csvd.scan.", "csvd.segmentation.", "csvd.probability."
# Class and name of the members that every family has; names follow the first scan's.
MEMBERS = {
    "candidates": ("vtkMRMLTableNode", "burden candidates"),
    "burden": ("vtkMRMLTableNode", "burden by marker"),
    "series": ("vtkMRMLPlotSeriesNode", "burden bars"),
    "chart": ("vtkMRMLPlotChartNode", "burden chart"),
}


@dataclass(frozen=True, eq=False)
class BurdenNodes:
    """The nodes of one patient's burden. One that somebody removed is None; the next `show` makes it again.

    `scans` and `segmentations` are by sequence, `probabilities` by marker.
    """

    scores: slicer.vtkMRMLTableNode
    scans: Mapping[str, slicer.vtkMRMLScalarVolumeNode | None]
    segmentations: Mapping[str, slicer.vtkMRMLSegmentationNode | None]
    probabilities: Mapping[str, slicer.vtkMRMLScalarVolumeNode | None]
    candidates: slicer.vtkMRMLTableNode | None
    burden: slicer.vtkMRMLTableNode | None
    series: slicer.vtkMRMLPlotSeriesNode | None
    chart: slicer.vtkMRMLPlotChartNode | None

    @classmethod
    def of(cls, scores: slicer.vtkMRMLTableNode) -> Self:
        """The family whose head is `scores`."""
        sequences = json.loads(scores.GetAttribute(SEQUENCES_OF_HEAD))
        markers = [marker for marker, sequence in SEQUENCE_OF.items() if sequence in sequences]
        return cls(
            scores,
            {name: scores.GetNodeReference(SCAN + name) for name in sequences},
            {name: scores.GetNodeReference(SEGMENTATION + name) for name in sequences},
            {marker: scores.GetNodeReference(PROBABILITY + marker) for marker in markers},
            **{name: scores.GetNodeReference(BURDEN + "." + name) for name in MEMBERS},
        )

    @property
    def made(self) -> list[slicer.vtkMRMLNode]:
        """Every node but the scans, those that somebody removed left out."""
        nodes = (self.scores, *self.segmentations.values(), *self.probabilities.values())
        return [node for node in (*nodes, *(getattr(self, name) for name in MEMBERS)) if node is not None]


def families(scene: slicer.vtkMRMLScene) -> Iterator[BurdenNodes]:
    """Every burden in a scene."""
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLTableNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLTableNode")
        if node.GetAttribute(SEQUENCES_OF_HEAD) is not None and node.GetAttribute(BURDEN) is not None:
            yield BurdenNodes.of(node)


def find(scans: Mapping[str, slicer.vtkMRMLScalarVolumeNode]) -> BurdenNodes | None:
    """The family that was made from exactly these scans, by sequence; None without any."""
    if not scans:
        return None
    scene = next(iter(scans.values())).GetScene()
    return next((nodes for nodes in families(scene) if nodes.scans == dict(scans)), None)


def find_sharing(scans: Mapping[str, slicer.vtkMRMLScalarVolumeNode]) -> BurdenNodes | None:
    """The family of the patient: that of exactly these scans, else one that has a scan in common with them."""
    if not scans:
        return None
    scene = next(iter(scans.values())).GetScene()
    sharing = (n for n in families(scene) if any(n.scans.get(name) is scan for name, scan in scans.items()))
    return find(scans) or next(sharing, None)


def complete(scans: Mapping[str, slicer.vtkMRMLScalarVolumeNode], nodes: BurdenNodes | None) -> BurdenNodes:
    """Make the members that are missing, and put them into the family's folder beside the first scan."""
    scans = {name: scans[name] for name in SEQUENCES if name in scans}
    first = next(iter(scans.values()))
    scene, made = first.GetScene(), []

    def member(role: str, class_name: str, name: str) -> slicer.vtkMRMLNode:
        node = head.GetNodeReference(role)
        if node is None:
            node = scene.AddNewNodeByClass(class_name, name)
            head.SetNodeReferenceID(role, node.GetID())
            made.append(node)
        return node

    head = nodes.scores if nodes else None
    if head is None:
        head = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{first.GetName()} burden scores")
        made.append(head)
    head.SetAttribute(SEQUENCES_OF_HEAD, json.dumps(list(scans)))
    for name, scan in scans.items():
        head.SetNodeReferenceID(SCAN + name, scan.GetID())
        segmentation = member(SEGMENTATION + name, "vtkMRMLSegmentationNode", f"{scan.GetName()} burden")
        if segmentation in made:
            segmentation.CreateDefaultDisplayNodes()
            segmentation.SetAttribute(BURDEN, name)
            if WMH.key in SEQUENCES[name]:
                segmentation.SetAttribute(MARKER, WMH.key)
        for marker in SEQUENCES[name]:
            title = f"{scan.GetName()} {marker.replace('_', ' ')} probability of burden"
            member(PROBABILITY + marker, "vtkMRMLScalarVolumeNode", title)
    for name, (class_name, title) in MEMBERS.items():
        member(f"{BURDEN}.{name}", class_name, f"{first.GetName()} {title}")
    place(head, first, made)
    return BurdenNodes.of(head)


def drop(before: BurdenNodes, now: BurdenNodes) -> None:
    """Take those nodes out of the scene that a family no longer has, since their sequence was not given again."""
    kept = set(now.made)
    for node in before.made:
        if node not in kept:
            remove_node(now.scores.GetScene(), node)


def remove(nodes: BurdenNodes) -> None:
    """Take the family out of the scene, with its display and storage nodes and its folder; the scans stay."""
    remove_family(nodes.scores, nodes.made)
