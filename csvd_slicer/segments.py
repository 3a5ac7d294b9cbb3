"""The segmentation node: lesions, what a reader rejected, ventricles and brain, as arrays and back.

Lesions and rejected voxels share one labelmap, as Slicer's own segments do: painting one erases the other.
Ventricles and brain have one each. Arrays are (i, j, k) on the scan's voxels, whatever the Segment Editor or a file
made of the extent of a labelmap. Labelmaps are read and written directly; no node comes into the scene for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk

from csvd.errors import InputError
from csvd_slicer.naming import BRAIN, VENTRICLES, descriptions, marker_of, terminology, zone_ids
from csvd_slicer.volumes import (
    grid_of,
    image_array,
    own_affine,
    scalars_of,
    transform_to_world,
    voxels_of,
    world_affine,
)

if TYPE_CHECKING:
    from csvd.result import Result

HIDDEN = (VENTRICLES, BRAIN)
LABELMAP, SURFACE = "Binary labelmap", "Closed surface"
# A choice: a labelmap this many voxels off the scan's is still the same voxels, read from a file with rounded numbers.
SAME_VOXEL = 0.05


@dataclass(frozen=True, eq=False)
class Segments:
    """What the segments hold, all (i, j, k) on the scan.

    Attributes:
        labels: uint8; 0 nothing, 1 periventricular, 2 deep. Each voxel counts once, and rejected ones not at all.
        ventricles: bool.
        rejected: uint8; 0 nothing, otherwise 1 + the index in `naming.REASONS`.
    """

    labels: np.ndarray
    ventricles: np.ndarray
    rejected: np.ndarray

    @classmethod
    def of(cls, result: Result, rejected: np.ndarray | None = None) -> Segments:
        """The segments that show `result`, with the voxels that a reader rejected (none unless given)."""
        none = np.zeros(result.labels.shape, np.uint8)
        return cls(result.labels, result.ventricles, none if rejected is None else rejected)

    @property
    def mask(self) -> np.ndarray:
        """bool: all lesions, of either zone."""
        return self.labels > 0


def read_segments(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode) -> Segments:
    """Return what the segments hold now. A segment that somebody removed is empty.

    Where segments overlap (Slicer can be told to allow it), a rejected voxel is no lesion, and deep wins over
    periventricular.

    Raises:
        InputError: the segmentation and the scan do not lie in the same place, or surfaces are its source.
    """
    zones, ventricles = _read(node, scan, zone_ids(marker_of(node))), _read(node, scan, (VENTRICLES,))
    return Segments(np.where(zones <= 2, zones, 0), ventricles.view(bool), np.where(zones > 2, zones - 2, 0))


def remeasure(result: Result, segments: Segments) -> Result:
    """Measure `result` anew on what the segments hold.

    A voxel that was a lesion before and lies in the other zone now was moved by the reader and stays there; a
    new one is given to the zone of its distance. Ventricles cost a distance map and count only when changed.
    """
    ventricles = None if np.array_equal(segments.ventricles, result.ventricles) else segments.ventricles
    before, now, moved = result.labels, segments.labels, result.moved
    relabelled = (now != before) & (now > 0) & (before > 0)
    if relabelled.any():
        automatic = (result.automatic or result).labels
        moved = np.zeros_like(now) if moved is None else moved.copy()
        moved[relabelled] = np.where(now == automatic, 0, now)[relabelled]
    return result.remeasure(segments.mask, ventricles=ventricles, moved=moved)


def read_mask(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, id: str) -> np.ndarray:
    """Return one segment, bool (i, j, k), empty where there is none; raises InputError as `read_segments`."""
    return _read(node, scan, (id,)).view(bool)


def read_brain(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Return the segment "Brain", bool (i, j, k); raises InputError as `read_segments`."""
    return read_mask(node, scan, BRAIN)


def write_segments(
    node: slicer.vtkMRMLSegmentationNode,
    scan: slicer.vtkMRMLScalarVolumeNode,
    segments: Segments,
    *,
    brain: np.ndarray | None = None,
    save_state: Callable[[], object] | None = None,
) -> set[str]:
    """Make the segments hold `segments` (and `brain`, where given), and touch only what differs.

    Segments that are missing are made, with name, colour and terminology; those of rejected voxels only when there
    are any. Segments of the reader's own keep their voxels. Surfaces in 3D follow.

    Args:
        save_state: called once before the first change and not at all without one: the Segment Editor's
            ``saveStateForUndo`` or a vtkSegmentationHistory's ``SaveState``. Leave it out to follow an edit that the
            Segment Editor has made and saved the state for.

    Returns:
        The ids of the segments whose voxels changed.

    Raises:
        InputError: as `read_segments`, or an array of another shape than the scan.
    """
    zones = np.where(segments.rejected > 0, segments.rejected + np.uint8(2), segments.labels).astype(np.uint8)
    marker = marker_of(node)
    periventricular, deep, *rejected = zone_ids(marker)
    always = (periventricular, deep, VENTRICLES, BRAIN)
    layers = [(zone_ids(marker), zones), ((VENTRICLES,), segments.ventricles)]
    if brain is not None:
        layers.append(((BRAIN,), brain))
    shape = grid_of(scan).shape
    for ids, voxels in layers:
        if voxels.shape != shape:
            raise InputError(
                f"The array of {ids[0]} has shape {voxels.shape} and {scan.GetName()} {shape}: use its grid."
            )
    changes = [(ids, voxels, _changed(ids, voxels, _read(node, scan, ids))) for ids, voxels in layers]
    changed = set().union(*(touched for *_, touched in changes))
    missing = [id for id in (*always, *rejected) if node.GetSegmentation().GetSegment(id) is None]
    missing = [id for id in missing if id in always or id in changed]
    if not changed and not missing:
        return set()

    if save_state is not None:
        save_state()
    modifying = node.StartModify()
    try:
        for id in missing:
            _add_segment(node, id, descriptions(marker)[id])
        for ids, voxels, touched in changes:
            if touched or not set(ids).isdisjoint(missing):
                _write(node, scan, ids, voxels)
        segmentation = node.GetSegmentation()
        if segmentation.ContainsRepresentation(SURFACE):
            slicer.vtkSlicerSegmentationsModuleLogic.ReconvertAllRepresentations(node, sorted(changed))
        for id in sorted(changed):
            segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified, id)
    finally:
        node.EndModify(modifying)
    return changed


def spare_hidden_segments(editor: slicer.vtkMRMLSegmentEditorNode) -> None:
    """Let a stroke erase what it covers of shown segments only; by default it would eat ventricles and brain too."""
    editor.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments)


def _changed(ids: tuple[str, ...], new: np.ndarray, old: np.ndarray) -> set[str]:
    """Ids of the segments that gain or lose a voxel."""
    where = new != old
    values = np.union1d(new[where], old[where]).astype(int) if where.any() else ()
    return {ids[value - 1] for value in values if value}


def _read(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, ids: tuple[str, ...]):
    """uint8 (i, j, k): 0, or 1 + the index in `ids`; the larger where segments overlap."""
    from csvd.measure.slices import bounding_box

    segmentation = node.GetSegmentation()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != LABELMAP:
        raise InputError(
            f"{node.GetName()} is stored as surfaces, not as voxels: make the binary labelmap its source in the "
            "Segmentations module."
        )
    read = np.zeros(grid_of(scan).shape, np.uint8)
    for image, values in _labelmaps(segmentation, ids):
        voxels = image_array(image)
        box = bounding_box(voxels)
        if box is None:
            continue
        codes = np.zeros(int(max(voxels.max(), *values)) + 1, np.uint8)
        for value, code in values.items():
            codes[value] = code
        start = np.add(image.GetExtent()[::2], [side.start for side in box])
        np.maximum(read, _on_scan(codes[voxels[box]], start, image, node, scan), out=read)
    return read


def _labelmaps(segmentation: slicer.vtkSegmentation, ids: tuple[str, ...]) -> Iterator[tuple]:
    """Each distinct labelmap of the segments `ids`, with {label value: 1 + index in `ids`}."""
    found: dict[str, tuple] = {}
    for code, id in enumerate(ids, start=1):
        segment = segmentation.GetSegment(id)
        image = segment.GetRepresentation(LABELMAP) if segment else None
        if image is not None and not image.IsEmpty() and image.GetPointData().GetScalars() is not None:
            found.setdefault(image.__this__, (image, {}))[1][segment.GetLabelValue()] = code
    return iter(found.values())


def _on_scan(voxels: np.ndarray, start: np.ndarray, image, node, scan) -> np.ndarray:
    """Bring values (i, j, k) from voxel `start` of a labelmap on to the voxels of the scan, 0 where there are none."""
    from csvd.grid import Grid, corners, resample

    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    affine[:3, 3] += affine[:3, :3] @ start
    if node.GetTransformNodeID() == scan.GetTransformNodeID():
        grid, target = Grid(voxels.shape, affine), Grid(voxels_of(scan).shape, own_affine(scan))
    else:
        grid, target = Grid(voxels.shape, transform_to_world(node) @ affine), grid_of(scan)
    mapping = np.linalg.inv(target.affine) @ grid.affine
    shift = np.rint(mapping[:3, 3]).astype(int)
    off = (mapping @ corners(grid.shape) - corners(grid.shape))[:3] - shift[:, None]
    if np.abs(off).max() > SAME_VOXEL:
        if node.GetTransformNodeID() != scan.GetTransformNodeID():
            raise InputError(
                f"{node.GetName()} and {scan.GetName()} are under different transforms and no longer lie in the same "
                "place: put both under the same transform."
            )
        return resample(voxels, grid, target, order=0, outside=0)
    low, high = np.maximum(shift, 0), np.minimum(shift + voxels.shape, target.shape)
    out = np.zeros(target.shape, voxels.dtype)
    if (low < high).all():
        to, of = (tuple(map(slice, low - by, high - by)) for by in (np.zeros(3, int), shift))
        out[to] = voxels[of]
    return out


def _write(node, scan, ids: tuple[str, ...], voxels: np.ndarray) -> None:
    """Give the segments `ids` one new labelmap; the old one stays as it is for whoever holds it."""
    segmentation = node.GetSegmentation()
    present = [id for id in ids if segmentation.GetSegment(id) is not None]
    for id in present:
        sharing: list[str] = []
        segmentation.GetSegmentIDsSharingBinaryLabelmapRepresentation(id, sharing, False)
        for other in set(sharing) - set(ids):
            segmentation.SeparateSegmentLabelmap(other)
    affine = own_affine(scan)
    if node.GetTransformNodeID() != scan.GetTransformNodeID():
        affine = np.linalg.inv(transform_to_world(node)) @ world_affine(scan)
    image = labelmap(voxels, affine)
    for id in present:
        segment = segmentation.GetSegment(id)
        segment.SetLabelValue(ids.index(id) + 1)
        segment.AddRepresentation(LABELMAP, image)


def labelmap(voxels: np.ndarray, affine: np.ndarray) -> slicer.vtkOrientedImageData:
    """Label values (i, j, k) as the binary labelmap of a segment; ``affine`` is 4x4, index to the node's RAS mm."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(affine.ravel())
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(voxels.shape)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    image.GetPointData().SetScalars(scalars_of(voxels))
    return image


def _add_segment(node: slicer.vtkMRMLSegmentationNode, id: str, description: dict) -> None:
    segment = slicer.vtkSegment()
    segment.SetName(description["name"])
    segment.SetColor([channel / 255 for channel in description["color"]])
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    segment.SetTerminology(terminology(description))
    segment.AddRepresentation(LABELMAP, slicer.vtkOrientedImageData())
    node.GetSegmentation().AddSegment(segment, id)
    if id in HIDDEN and node.GetDisplayNode():
        node.GetDisplayNode().SetSegmentVisibility(id, False)
