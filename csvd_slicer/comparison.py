"""The hyperintensities of a FLAIR laid on the CT of the same patient, and how far leukoaraiosis on the CT agrees.

A segmentation of its own holds the FLAIR's lesions on the CT's voxels, and what is known of the FLAIR in an attribute,
so that the comparison follows every edit of the CT's segments and comes back with a saved scene.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer

from csvd.errors import InputError
from csvd.marker import WMH
from csvd_slicer.folders import place
from csvd_slicer.layers import LABELMAP, labelmap
from csvd_slicer.naming import descriptions, terminology, zone_ids
from csvd_slicer.rollback import all_or_nothing
from csvd_slicer.scene import COMPARISON, Family
from csvd_slicer.segments import read_mask
from csvd_slicer.volumes import own_affine

if TYPE_CHECKING:
    from csvd.comparison import Comparison
    from csvd.result import Result

SEGMENT, ATTRIBUTE = "WMH_of_FLAIR", "csvd.flair"
COLOR = (0.35, 0.85, 0.35)  # a choice: neither of the colours of the zones


@dataclass(frozen=True)
class Agreement:
    """Volumes in mL, each measured on its own scan; ``difference_ml`` is CT - FLAIR; ``dice`` 0 to 1, of both outlines
    on the CT's voxels; ``flair`` is the FLAIR's name, ``quality`` says how well it could be laid on the CT."""

    flair: str
    ct_ml: float
    flair_ml: float
    difference_ml: float
    dice: float
    quality: str


def show_comparison(
    nodes: Family, comparison: Comparison, flair: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLSegmentationNode:
    """Put the lesions of `flair` as an outline over the CT of `nodes`, in the place of an earlier comparison.

    Raises:
        InputError: the CT has other voxels than when the comparison was made. The scene is as it was then.
    """
    mask = comparison.flair_mask_on_ct
    shape = nodes.scan.GetImageData().GetDimensions()
    if mask.shape != shape:
        raise InputError(f"{nodes.scan.GetName()} was changed after the comparison had started: press Compare again.")
    scene = nodes.scan.GetScene()
    with all_or_nothing(scene, nodes.made):
        node = nodes.comparison
        if node is None:
            node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{nodes.scan.GetName()} WMH of the FLAIR")
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetVisibility2DFill(False)
            display.SetVisibility3D(False)
            nodes.segmentation.SetNodeReferenceID(COMPARISON, node.GetID())
            place(nodes.segmentation, nodes.scan, [node])
        node.SetAndObserveTransformNodeID(nodes.scan.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(nodes.scan)
        _write(node, mask, own_affine(nodes.scan))
        told = {"flair": flair.GetName(), "flair_ml": comparison.volume_flair_ml, "quality": comparison.quality}
        node.SetAttribute(ATTRIBUTE, json.dumps(told))
    return node


def agreement(nodes: Family, result: Result) -> Agreement | None:
    """How far `result`, as it is now, agrees with the FLAIR that `nodes` were compared with; None without any.

    Raises:
        InputError: as `csvd_slicer.segments.read_segments`.
    """
    from csvd.measure.agreement import dice

    told = json.loads(nodes.comparison.GetAttribute(ATTRIBUTE) or "null") if nodes.comparison is not None else None
    if told is None:
        return None
    ct_ml = result.measurements["total_volume"].value
    overlap = dice(result.mask, read_mask(nodes.comparison, nodes.scan, SEGMENT))
    return Agreement(told["flair"], ct_ml, told["flair_ml"], ct_ml - told["flair_ml"], overlap, told["quality"])


def _write(node: slicer.vtkMRMLSegmentationNode, mask: np.ndarray, affine: np.ndarray) -> None:
    segmentation = node.GetSegmentation()
    if segmentation.GetSegment(SEGMENT) is None:
        segment = slicer.vtkSegment()
        segment.SetName("WMH of the FLAIR")
        segment.SetColor(COLOR)
        segment.SetTerminology(terminology(descriptions(WMH)[zone_ids(WMH)[0]]))
        segmentation.AddSegment(segment, SEGMENT)
    segmentation.GetSegment(SEGMENT).SetLabelValue(1)
    segmentation.GetSegment(SEGMENT).AddRepresentation(LABELMAP, labelmap(mask.astype(np.uint8), affine))
    segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified, SEGMENT)
