"""Which way the slices of a volume lie, and the box that holds a mask."""

from collections.abc import Sequence

import numpy as np

SAME_THICKNESS = 0.01
"""Spacings closer than this share count as equal, so that rounding in a header does not turn the slices. A choice."""


def slice_axis(spacing_mm: Sequence[float]) -> int:
    """Return the array axis that runs across the slices: the one with the widest spacing.

    Where several are equally wide (isotropic volumes) it is the last of them, as in axial NIfTI files.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    return int(np.flatnonzero(spacing >= spacing.max() * (1 - SAME_THICKNESS))[-1])


def bounding_box(mask: np.ndarray, margin: Sequence[int] = (0, 0, 0)) -> tuple[slice, ...] | None:
    """Return the smallest box with every true voxel of a 3D mask, widened by ``margin`` voxels but kept inside.

    ``None`` when no voxel is true.
    """
    box = []
    for axis, extra in enumerate(margin):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        if occupied.size == 0:
            return None
        box.append(slice(max(0, int(occupied[0]) - extra), min(mask.shape[axis], int(occupied[-1]) + extra + 1)))
    return tuple(box)
