"""A head CT made plain for the networks: alone in air, upright, in slices of about 5 mm, and what the skull encloses.

Scanners and converters write -1024, -2000, -3024 or 0 around the reconstructed circle, and some files have all negative
values cut to 0; table, pillow and head holder are in view. None of that reaches a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .grid import blocks, upright_grid, world_axes
from .image import Image, resample

AIR_HU = -1000.0
BODY_HU = -300.0  # choice: foam, pillows and hair lie below, fat (-100 HU) and all that is body above
PADDING_SHARE = 0.3  # choice: of a slice's outer edge; a head that is cut off leaves that much of what is around it
COARSE_MM = 3.0
THIN_MM = 6.0  # choice: head holder and table are thinner than twice this; noses and ears come back by growing
# Choices: a skull is followed down to 150 HU, so that thin bone in a thick slice closes it; from 300 HU on a voxel at
# its edge is more bone than brain, nearly; from 100 HU on there is neither blood (90 HU) nor brain.
THIN_BONE_HU, BONE_HU, TISSUE_HU = 150.0, 300.0, 100.0
SKULL_ML = 10.0  # choice: calcified plexus, pineal and falx are smaller, pieces of a skull larger
GAP_MM = 4.0  # choice: half of the widest gap of the skull in a slice that is closed: sutures, foramina, thin bone
NECK_MM = 3.0  # choice: half of the widest passage that parts the cavity from orbits and nose
# Choices: a third of what the smallest adult skulls hold (1,000 mL), as in a scan of a part of the head. In a slice
# that encloses less than half of what others enclose above and below it, the skull was opened: all but skin counts.
LEAST_CAVITY_ML = 300.0
OPEN, SKIN_MM = 0.5, 6.0
OUTLINE_MM = 5.0  # choice: as far as a network's outline may miss the skull
# Fluid is .1 to .5 of brain in the CTs that the anatomy network learned from: so far below the brain's median lies 0.
DARK_HU = 43.0
BRIGHT_HU = 47.0  # choice, as above: blood and calcium are cut off; 0 to 80 HU for a median of about 33 HU


@dataclass(frozen=True, eq=False)
class HeadCT:
    """``image``: float32 HU, upright slices of the head alone, -1000 around it.

    ``cavity``: bool, what the skull encloses, without bone; all of the body where no skull is closed, as in a stripped
    scan, which has ``skull_ml`` of 0 or little.
    """

    image: Image
    cavity: np.ndarray
    skull_ml: float
    closed: bool

    @property
    def brain_hu(self) -> float:
        """Median attenuation within the skull."""
        return float(np.median(self.image.voxels[self.cavity]))

    @property
    def windowed(self) -> Image:
        """Within the skull 0 for fluid of -10 HU or so up to 90 for blood, bone and all around it 0: float32.

        Without bone and scalp the anatomy network outlines brains far better (docs/architecture.md), and a scanner's
        calibration does not matter, as the window goes with the brain's median.
        """
        middle = self.brain_hu
        relative = self.image.voxels.clip(middle - DARK_HU, middle + BRIGHT_HU) - (middle - DARK_HU)
        seen = self.cavity & (self.image.voxels < TISSUE_HU)
        return self.image.like(np.where(seen, relative, np.float32(0)))

    def intracranial(self, outlined: np.ndarray) -> np.ndarray:
        """The intracranial space, bool: what the skull encloses next to what a network ``outlined`` as that space.

        A network draws the outline of the fluid, the skull is where it is; only the neck is the network's to leave out.
        Without a skull it is all that stripping left, down to where the network ends.
        """
        pixel_mm = in_plane_mm(self.image)
        axis = world_axes(self.image.grid)[2]
        if not self.closed:
            in_plane = tuple(n for n in range(3) if n != axis)
            return self.cavity & outlined.any(axis=in_plane, keepdims=True)
        near = [distance_mm(~plane, pixel_mm) <= OUTLINE_MM for plane in np.moveaxis(outlined, axis, 0)]
        return self.cavity & np.moveaxis(np.stack(near), 0, axis)


def find_head(ct: Image, slice_mm: float) -> HeadCT:
    """The head of ``ct`` (HU), in slices of about ``slice_mm`` where they were thinner."""
    image = Image(in_air(ct.voxels), ct.affine, ct.source)
    native = image.grid
    grid = upright_grid(native)
    if grid is not native:
        image = Image(resample(image.voxels, native, grid, outside=AIR_HU), grid.affine, ct.source)
    return head_in(thick_slices(image, slice_mm))


def head_in(image: Image) -> HeadCT:
    """The head in an image (HU) that is padded with air and nothing else."""
    head = body(image)
    image = image.like(np.where(head, image.voxels, np.float32(AIR_HU)))
    skull = large_pieces(image.voxels > THIN_BONE_HU, SKULL_ML / image.voxel_volume_ml)
    cavity = enclosed(skull, head, image)
    closed = bool(np.count_nonzero(cavity) * image.voxel_volume_ml >= LEAST_CAVITY_ML)
    cavity = cavity if closed else head & (image.voxels > BODY_HU) & (image.voxels <= BONE_HU)
    return HeadCT(image, cavity, float(np.count_nonzero(skull) * image.voxel_volume_ml), closed)


def enclosed(skull: np.ndarray, head: np.ndarray, image: Image) -> np.ndarray:
    """What ``skull`` encloses slice by slice, the largest connected part of it: bool.

    Where the image cuts the head off, its edge closes the skull.
    """
    axis = world_axes(image.grid)[2]
    pixel_mm = in_plane_mm(image)
    dense = np.moveaxis(image.voxels, axis, 0) > BONE_HU
    planes = list(zip(np.moveaxis(skull, axis, 0), np.moveaxis(head, axis, 0), strict=True))
    inside = np.stack([within_ring(*plane, pixel_mm) for plane in planes]) & ~dense
    area = np.count_nonzero(inside, axis=(1, 2))
    around = np.minimum(np.maximum.accumulate(area), np.maximum.accumulate(area[::-1])[::-1])
    for k in np.flatnonzero(area < OPEN * around):
        inside[k] = (distance_mm(planes[k][1], pixel_mm) > SKIN_MM) & ~dense[k]
    wide = np.stack([distance_mm(plane, pixel_mm) > NECK_MM for plane in inside])
    pieces, count = ndimage.label(wide)
    if count:
        wide = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
        inside &= np.stack([distance_mm(~plane, pixel_mm) <= NECK_MM + min(pixel_mm) for plane in wide])
    return np.moveaxis(inside & wide.any(axis=(1, 2), keepdims=True), 0, axis)


def within_ring(bone: np.ndarray, head: np.ndarray, pixel_mm: list[float]) -> np.ndarray:
    """The ring of ``bone`` of one slice, small gaps closed, with all that is in it: bool."""
    if not bone.any():
        return np.zeros(bone.shape, bool)
    margin = [int(GAP_MM / mm) + 2 for mm in pixel_mm]
    ring = np.pad(head, 1, mode="edge")
    ring[1:-1, 1:-1] = bone
    ring = np.pad(ring, [(m, m) for m in margin])
    filled = ndimage.binary_fill_holes(closing(ring, GAP_MM, pixel_mm))
    return filled[tuple(slice(m + 1, -m - 1) for m in margin)]


def in_plane_mm(image: Image) -> list[float]:
    axis = world_axes(image.grid)[2]
    return [mm for n, mm in enumerate(image.spacing_mm) if n != axis]


def closing(plane: np.ndarray, radius_mm: float, pixel_mm: list[float]) -> np.ndarray:
    """Binary closing of a slice with a disc in mm."""
    return distance_mm(distance_mm(~plane, pixel_mm) <= radius_mm, pixel_mm) > radius_mm


def distance_mm(plane: np.ndarray, pixel_mm: list[float]) -> np.ndarray:
    """Of every pixel to the nearest False one; infinite where there is none."""
    if plane.all():
        return np.full(plane.shape, np.inf)
    return ndimage.distance_transform_edt(plane, sampling=pixel_mm)


def large_pieces(mask: np.ndarray, least_voxels: float) -> np.ndarray:
    """The 6-connected pieces of a mask that have at least so many voxels."""
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (sizes >= least_voxels)[pieces]


def in_air(voxels: np.ndarray) -> np.ndarray:
    """The same values, (i, j, k), with -1000 HU where the file has padding, or air whose negative value was cut off.

    Padding is the one value most frequent on the outer edge of the slices, as far as it reaches inwards from there;
    what holds the same value inside the head stays.
    """
    plain = np.maximum(voxels, voxels.dtype.type(AIR_HU)) if voxels.dtype.kind != "u" else voxels.astype(np.int32)
    faces = [np.take(voxels, end, axis).ravel() for axis in (0, 1) for end in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    value = values[counts.argmax()]
    if value <= BODY_HU or counts.max() < PADDING_SHARE * counts.sum():
        return plain
    for k in range(voxels.shape[2]):
        padding = np.pad(voxels[:, :, k] == value, 1, constant_values=True)
        pieces, _ = ndimage.label(padding)
        plain[:, :, k][pieces[1:-1, 1:-1] == pieces[0, 0]] = AIR_HU
    return plain


def thick_slices(image: Image, slice_mm: float) -> Image:
    """Means of so many neighbouring slices as make about ``slice_mm``: float32. Thicker slices stay as they are."""
    axis = world_axes(image.grid)[2]
    count = max(1, round(slice_mm / image.spacing_mm[axis]))
    slices = np.moveaxis(image.voxels, axis, 0)
    missing = -len(slices) % count  # the last slice stands for those that would complete a mean
    groups = [
        np.mean([slices[min(k, len(slices) - 1)] for k in range(first, first + count)], axis=0, dtype=np.float32)
        for first in range(0, len(slices) + missing, count)
    ]
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, axis] * ((count - 1) / 2)
    affine[:3, axis] *= count
    return Image(np.moveaxis(np.stack(groups), 0, axis), affine, image.source)


def body(image: Image) -> np.ndarray:
    """Where the head and neck are: the largest thing denser than foam once thin parts are gone, without holes; bool.

    What holds the head and carries it is not part of it. A stripped brain is found like a head.
    """
    coarse, block = blocks(image.voxels, image.spacing_mm, COARSE_MM)
    mm = np.array(image.spacing_mm) * block
    dense = coarse > BODY_HU
    ball = _ball(THIN_MM, mm)
    margin = [(n, n) for n in np.array(ball.shape) // 2]
    # Padded with its own edge: a head that the image cuts off is not thin there.
    solid = ndimage.binary_opening(np.pad(dense, margin, mode="edge"), ball)
    solid = solid[tuple(slice(low, n - high or None) for (low, high), n in zip(margin, solid.shape, strict=True))]
    pieces, count = ndimage.label(solid)
    if not count:
        return np.ones(image.voxels.shape, bool)
    largest = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    whole = ndimage.binary_dilation(largest, _ball(THIN_MM + COARSE_MM / 2, mm)) & (dense | largest)
    axis = world_axes(image.grid)[2]
    whole = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(whole, axis, 0)], axis)
    index = [
        np.minimum(np.arange(n) // b, m - 1) for n, b, m in zip(image.voxels.shape, block, whole.shape, strict=True)
    ]
    edge = ndimage.binary_dilation(whole, np.ones((3, 3, 3)))[np.ix_(*index)] & (image.voxels > BODY_HU)
    return whole[np.ix_(*index)] | edge


def _ball(radius_mm: float, spacing_mm: np.ndarray) -> np.ndarray:
    reach = np.floor(radius_mm / spacing_mm + 1e-6).astype(int)
    steps = np.indices(2 * reach + 1) - reach[:, None, None, None]
    return ((steps * spacing_mm[:, None, None, None]) ** 2).sum(axis=0) <= radius_mm**2 + 1e-6
