"""What the nodes of a burden remember of its BurdenResult, in attributes that are saved with the scene.

Hyperintensities are remembered as those of any FLAIR (see `memory`). The segmentation of another sequence remembers
brain, regions and thresholds, and which candidates a reader accepted; what counts and what was rejected are its
segments. The head remembers the patient: inputs that a reader set, the reference, warnings and provenance.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import slicer

from csvd.errors import InputError
from csvd.marker import WMH
from csvd_slicer.layers import Layer, read_layer
from csvd_slicer.memory import AFFINE, BRAIN_MASK, flipped_axes, packed, unpacked
from csvd_slicer.naming import BRAIN, BURDEN, descriptions, focal_descriptions
from csvd_slicer.volumes import image_from_node, own_affine, voxels_of

if TYPE_CHECKING:
    from csvd.burden_result import BurdenResult
    from csvd.focal_result import FocalResult
    from csvd.measure.zscore import Reference

FOCI, REGIONS, ACCEPTED = "csvd.foci", "csvd.regions.", "csvd.accepted"


def remember_patient(head: slicer.vtkMRMLTableNode, result: BurdenResult) -> None:
    """Note what is neither of one sequence nor shown by a node."""
    from csvd.report.tables import plain

    told = {
        "set_inputs": result.set_inputs,
        "pvs_threshold": result.pvs_threshold,
        "reference": None if result.reference is None else asdict(result.reference),
        "warnings": result.warnings,
        "parameters": result.parameters,
        "provenance": result.provenance,
    }
    head.SetAttribute(BURDEN, json.dumps(plain(told)))


def recall_patient(head: slicer.vtkMRMLTableNode) -> dict:
    """What `remember_patient` noted, as arguments of a BurdenResult. Raises InputError where it cannot be read."""
    try:
        told = json.loads(head.GetAttribute(BURDEN))
        return {
            "set_inputs": told["set_inputs"],
            "pvs_threshold": told["pvs_threshold"],
            "reference": _reference(told["reference"]),
            **{name: told[name] for name in ("warnings", "parameters", "provenance")},
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(head) from error


def remember_foci(
    node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, found: Sequence[FocalResult]
) -> None:
    """Note all that `recall_foci` needs of a sequence beyond its segments."""
    node.SetAttribute(AFFINE, json.dumps(own_affine(scan).tolist()))
    node.SetAttribute(BRAIN_MASK, packed(found[0].brain))
    for each in found:
        node.SetAttribute(REGIONS + each.marker, packed(each.regions.labels))
    remember_decisions(node, scan, found)


def remember_decisions(
    node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, found: Sequence[FocalResult]
) -> None:
    """Note thresholds, and a voxel of each candidate that a reader accepted, in mm of the scan's own RAS."""
    midplane = {each.marker: None if each.midplane is None else list(map(float, each.midplane)) for each in found}
    told = {each.marker: [each.threshold, midplane[each.marker], list(each.regions.names)] for each in found}
    node.SetAttribute(FOCI, json.dumps(told))
    accepted = []
    for each in found:
        for candidate, voxels in zip(each.candidates, each.voxels, strict=True):
            if candidate.accepted:
                voxel = np.unravel_index(voxels[0], each.probability.shape)
                accepted.append([each.marker, *np.round((own_affine(scan) @ (*voxel, 1))[:3], 3).tolist()])
    node.SetAttribute(ACCEPTED, json.dumps(accepted))


def recall_foci(
    node: slicer.vtkMRMLSegmentationNode,
    scan: slicer.vtkMRMLScalarVolumeNode,
    probabilities: dict[str, slicer.vtkMRMLScalarVolumeNode],
) -> dict[str, FocalResult]:
    """The small markers of a sequence as the nodes show them, edits and decisions included.

    Raises:
        InputError: the segmentation does not say what it was made from, or the nodes no longer fit each other.
    """
    from csvd.focal_result import FocalResult
    from csvd.measure.regions import Regions

    image = image_from_node(scan)
    shape = image.voxels.shape
    try:
        axes = flipped_axes(node, scan)
        told, accepted = (json.loads(node.GetAttribute(name)) for name in (FOCI, ACCEPTED))
        brain = np.flip(unpacked(node.GetAttribute(BRAIN_MASK), shape), axes)
        found = {}
        for marker, probability in probabilities.items():
            threshold, midplane, names = told[marker]
            labels = np.flip(unpacked(node.GetAttribute(REGIONS + marker), shape, np.uint8), axes)
            found[marker] = FocalResult.from_probability(
                marker, image, voxels_of(probability), brain=brain, threshold=threshold, midplane=midplane,
                regions=Regions(labels, tuple(names)),
            )  # fmt: skip
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise _unreadable(node) from error
    to_voxel = np.linalg.inv(own_affine(scan))
    for marker, automatic in found.items():
        points = [point for name, *point in accepted if name == marker]
        voxels = [np.rint(to_voxel @ (*point, 1))[:3].astype(int).clip(0, np.array(shape) - 1) for point in points]
        flat = {int(np.ravel_multi_index(voxel, shape)) for voxel in voxels}
        result = follow(automatic, node, scan)
        for candidate, where in zip(result.candidates, result.voxels, strict=True):
            if candidate.accepted is None and not flat.isdisjoint(where.tolist()):
                result = result.decide(candidate.id, True)
        found[marker] = result
    return found


def follow(
    found: FocalResult, node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode
) -> FocalResult:
    """`found` measured anew on what its segments hold, itself where that is nothing new; raises as `read_layer`.

    A candidate whose rejection was undone in the editor waits for a decision again; one that was accepted stays so.
    """
    labels = read_layer(node, scan, tuple(segment["id"] for segment in focal_descriptions(found.marker)))
    mask, rejected = labels == 1, labels == 2
    if np.array_equal(mask, found.mask) and np.array_equal(rejected, found.rejected):
        return found
    confirmed = {where.tobytes() for c, where in zip(found.candidates, found.voxels, strict=True) if c.accepted}
    result = (found.automatic or found).remeasure(mask, rejected=rejected)
    for candidate, where in zip(result.candidates, result.voxels, strict=True):
        if candidate.accepted is None and where.tobytes() in confirmed:
            result = result.decide(candidate.id, True)
    return result


def foci_layers(found: Sequence[FocalResult], *, brain: bool) -> list[Layer]:
    """The segments of the small markers of one sequence, and its brain where it is to be written too."""
    layers = []
    for each in found:
        counts, rejected = focal_descriptions(each.marker)
        labels = each.mask.astype(np.uint8) + 2 * each.rejected.astype(np.uint8)
        layers.append(Layer([counts, rejected], labels, optional=(rejected["id"],), hidden=(rejected["id"],)))
    shown = descriptions(WMH)[BRAIN]
    return [*layers, Layer([shown], found[0].brain if brain else None, hidden=(BRAIN,))]


def _reference(told: dict | None) -> Reference | None:
    from csvd.measure.zscore import MarkerReference, Reference

    if told is None:
        return None
    return Reference({name: MarkerReference(**row) for name, row in told["markers"].items()}, told["unusable"])


def _unreadable(node: slicer.vtkMRMLNode) -> InputError:
    return InputError(f"{node.GetName()} does not say what it was made from: run again.")
