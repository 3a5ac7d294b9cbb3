"""Labelmaps of a segmentation node as arrays and back: which segments share one, what changed, and where it lies.

Arrays are (i, j, k) on the scan's voxels, whatever the Segment Editor or a file made of the extent of a labelmap.
Labelmaps are read and written directly; no node comes into the scene for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk

from csvd.errors import InputError
from csvd_slicer.naming import terminology
from csvd_slicer.volumes import (
    grid_of,
    image_array,
    own_affine,
    scalars_of,
    transform_to_world,
    voxels_of,
    world_affine,
)

LABELMAP, SURFACE = "Binary labelmap", "Closed surface"
# A choice: a labelmap this many voxels off the scan's is still the same voxels, read from a file with rounded numbers.
SAME_VOXEL = 0.05


@dataclass(frozen=True, eq=False)
class Layer:
    """Segments that share one labelmap: painting one erases the others.

    Attributes:
        segments: as in `naming.descriptions`, in the order of their label values from 1.
        voxels: bool or uint8 (i, j, k), 0 or a label value; None leaves the voxels as they are.
        optional: ids of segments that are made only once they hold a voxel.
        hidden: ids of segments that are hidden when they are made.
    """

    segments: Sequence[dict]
    voxels: np.ndarray | None
    optional: Sequence[str] = ()
    hidden: Sequence[str] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(segment["id"] for segment in self.segments)


def write_layers(
    node: slicer.vtkMRMLSegmentationNode,
    scan: slicer.vtkMRMLScalarVolumeNode,
    layers: Sequence[Layer],
    *,
    save_state: Callable[[], object] | None = None,
) -> set[str]:
    """Make the segments hold what `layers` say, and touch only what differs.

    Segments that are missing are made, with name, colour and terminology. Segments of the reader's own keep their
    voxels. Surfaces in 3D follow.

    Args:
        save_state: called once before the first change and not at all without one.

    Returns:
        The ids of the segments whose voxels changed.

    Raises:
        InputError: as `read_layer`, or an array of another shape than the scan.
    """
    shape = grid_of(scan).shape
    written = [layer for layer in layers if layer.voxels is not None]
    for layer in written:
        if layer.voxels.shape != shape:
            raise InputError(
                f"The array of {layer.ids[0]} has shape {layer.voxels.shape} and {scan.GetName()} {shape}: use its "
                "grid."
            )
    changes = [
        (layer.ids, layer.voxels, _changed(layer.ids, layer.voxels, read_layer(node, scan, layer.ids)))
        for layer in written
    ]
    changed = set().union(*(touched for *_, touched in changes))
    absent = [
        (segment, layer)
        for layer in layers
        for segment in layer.segments
        if node.GetSegmentation().GetSegment(segment["id"]) is None
    ]
    missing = [(s, layer) for s, layer in absent if s["id"] not in layer.optional]
    missing += [(s, layer) for s, layer in absent if s["id"] in layer.optional and s["id"] in changed]
    if not changed and not missing:
        return set()

    if save_state is not None:
        save_state()
    modifying = node.StartModify()
    try:
        for segment, layer in missing:
            _add_segment(node, segment, hidden=segment["id"] in layer.hidden)
        made = {segment["id"] for segment, _ in missing}
        for ids, voxels, touched in changes:
            if touched or not made.isdisjoint(ids):
                _write(node, scan, ids, voxels)
        segmentation = node.GetSegmentation()
        if segmentation.ContainsRepresentation(SURFACE):
            slicer.vtkSlicerSegmentationsModuleLogic.ReconvertAllRepresentations(node, sorted(changed))
        for id in sorted(changed):
            segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified, id)
    finally:
        node.EndModify(modifying)
    return changed


def read_layer(
    node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, ids: tuple[str, ...]
) -> np.ndarray:
    """uint8 (i, j, k): 0, or 1 + the index in `ids`; the larger where segments overlap.

    Raises:
        InputError: the segmentation and the scan do not lie in the same place, or surfaces are its source.
    """
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


def _changed(ids: tuple[str, ...], new: np.ndarray, old: np.ndarray) -> set[str]:
    """Ids of the segments that gain or lose a voxel."""
    where = new != old
    values = np.union1d(new[where], old[where]).astype(int) if where.any() else ()
    return {ids[value - 1] for value in values if value}


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


def _add_segment(node: slicer.vtkMRMLSegmentationNode, description: dict, *, hidden: bool) -> None:
    segment = slicer.vtkSegment()
    segment.SetName(description["name"])
    segment.SetColor([channel / 255 for channel in description["color"]])
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    segment.SetTerminology(terminology(description))
    empty = slicer.vtkOrientedImageData()
    empty.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)  # no voxel, but of a kind that can become a surface
    segment.AddRepresentation(LABELMAP, empty)
    node.GetSegmentation().AddSegment(segment, description["id"])
    if hidden and node.GetDisplayNode():
        node.GetDisplayNode().SetSegmentVisibility(description["id"], False)
