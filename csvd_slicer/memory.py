"""What the segmentation node remembers of a Result beyond what nodes show, in attributes that are saved with the scene.

Parameters, warnings and provenance; the automatic ventricles and the brain, packed; and a digest of the automatic
segments, by which the work of a reader is told from that of the networks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import TYPE_CHECKING

import numpy as np
import slicer

from csvd.errors import InputError
from csvd.marker import MARKERS
from csvd_slicer.naming import BURDEN, MARKER, marker_of
from csvd_slicer.segments import Segments, read_segments, remeasure
from csvd_slicer.volumes import image_from_node, own_affine, voxels_of

if TYPE_CHECKING:
    from csvd.result import Result

ORIGIN, DIGEST = "csvd.origin", "csvd.automatic"
AFFINE, BRAIN_MASK, VENTRICLES_MASK = "csvd.affine", "csvd.brain", "csvd.ventricles"
MEASURED_WITH = ("threshold", "pv_distance_mm", "pv_rule")


def is_ours(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a segmentation remembers a Result of its own, and one of a marker that is known here."""
    marker, alone = node.GetAttribute(MARKER), node.GetAttribute(BURDEN) is None
    return node.GetAttribute(ORIGIN) is not None and alone and (marker is None or marker in MARKERS)


def remember(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, result: Result) -> None:
    """Note all that `recall` needs."""
    automatic = result.automatic or result
    node.SetAttribute(AFFINE, json.dumps(own_affine(scan).tolist()))
    node.SetAttribute(BRAIN_MASK, packed(result.brain))
    node.SetAttribute(VENTRICLES_MASK, packed(automatic.ventricles))
    remember_parameters(node, scan, result)


def remember_parameters(
    node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, result: Result
) -> None:
    """Note what changes when the same scan is shown under other parameters."""
    from csvd.report.tables import plain

    origin = {"parameters": result.parameters, "warnings": result.warnings, "provenance": result.provenance}
    node.SetAttribute(ORIGIN, json.dumps(plain(origin)))
    node.SetAttribute(DIGEST, _digest(Segments.of(result.automatic or result), flipped_axes(node, scan)))


def recall(
    node: slicer.vtkMRMLSegmentationNode,
    scan: slicer.vtkMRMLScalarVolumeNode,
    probability: slicer.vtkMRMLScalarVolumeNode,
) -> Result:
    """The Result that the nodes show, edits included.

    Raises:
        InputError: the segmentation is none of ours, or the nodes no longer fit each other.
    """
    from csvd.result import Result

    marker = marker_of(node)
    image = image_from_node(scan, slanted=marker.slanted)
    try:
        origin = json.loads(node.GetAttribute(ORIGIN))
        axes = flipped_axes(node, scan)
        masks = [unpacked(node.GetAttribute(key), image.voxels.shape) for key in (VENTRICLES_MASK, BRAIN_MASK)]
        parameters = {name: value for name, value in origin["parameters"].items() if name not in MEASURED_WITH}
        measured_with = {name: origin["parameters"][name] for name in MEASURED_WITH}
        told = {key: origin[key] for key in ("warnings", "provenance")}
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InputError(f"{node.GetName()} does not say what it was made from: run again.") from error
    automatic = Result.from_probability(
        image,
        voxels_of(probability),
        *(np.flip(mask, axes) for mask in masks),
        parameters=parameters,
        **measured_with,
        **told,
        marker=marker,
    )
    segments = read_segments(node, scan)
    result = remeasure(automatic, segments)
    # Voxels that a reader painted and then moved are known as moved only once they are part of the result.
    return result if np.array_equal(result.labels, segments.labels) else remeasure(result, segments)


def differs_from_automatic(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the segments hold anything but what the networks found; raises InputError as `read_segments`."""
    segments = read_segments(node, scan)
    return bool(segments.rejected.any()) or _digest(segments, flipped_axes(node, scan)) != node.GetAttribute(DIGEST)


def packed(array: np.ndarray) -> str:
    """A mask, or uint8 labels, as text: a few kB for the brain of a head, some hundred for its regions."""
    content = np.packbits(array) if array.dtype == bool else np.ascontiguousarray(array, np.uint8)
    return base64.b64encode(zlib.compress(content.tobytes())).decode("ascii")


def unpacked(text: str, shape: tuple[int, int, int], kind: type = bool) -> np.ndarray:
    """What `packed` took, bool or uint8 as `kind` says. Raises ValueError, TypeError or zlib.error where it is not."""
    values, count = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8), int(np.prod(shape))
    if values.size != (-(-count // 8) if kind is bool else count):
        raise ValueError(f"{values.size} bytes do not hold an array of shape {shape}.")
    return (np.unpackbits(values, count=count).view(bool) if kind is bool else values).reshape(shape)


def _digest(segments: Segments, axes: tuple[int, ...]) -> str:
    """A number for labels and ventricles, in the order of voxels in which the masks were packed."""
    content = hashlib.blake2b(np.ascontiguousarray(np.flip(segments.labels, axes)), digest_size=16)
    content.update(np.packbits(np.flip(segments.ventricles, axes)))
    return content.hexdigest()


def flipped_axes(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode) -> tuple[int, ...]:
    """The voxel axes that run the other way than when the masks were packed.

    Slicer turns the slices of a left-handed volume round when it reads its file. Any other change of the affine is a
    transform that was hardened, and leaves the order of the voxels alone.
    """
    mapping = np.linalg.inv(json.loads(node.GetAttribute(AFFINE))) @ own_affine(scan)
    directions = np.diag(mapping)[:3]
    last = np.array(voxels_of(scan).shape) - 1
    flip = np.eye(4)
    flip[:3, :3], flip[:3, 3] = np.diag(np.sign(directions)), np.where(directions < 0, last, 0)
    return tuple(np.flatnonzero(directions < 0).tolist()) if np.allclose(mapping, flip, atol=0.05) else ()
