"""The mid-sagittal plane of a head: the one across which the outline of its intracranial space is its own mirror image.

Chords' mid-points, the quicker way, lie on another plane where an oval head is turned; mirroring has no such error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.optimize import least_squares

from .grid import Grid, resample

WORKING_MM = 3.0  # choice: the outline of a head is smooth
MARGIN_MM = 30.0  # around the mask, for what is mirrored beyond it
LOWEST_SHARE = 0.25  # choice: the lowest quarter is left out, where scan or neck cut the head off at any angle
OUTLIER_MM = 3.0  # choice: a few mm are a head's own asymmetry, more is a part that is missing on one side
MOST_POINTS = 2000


def find_midplane(mask: np.ndarray, grid: Grid) -> list[float] | None:
    """Numbers a, b, c, d (a > 0, unit normal) of the plane a x + b y + c z = d in RAS mm, None for an empty mask.

    ``mask`` is the intracranial space, bool on ``grid``. A head turned by up to about 30 degrees is found.
    """
    places = np.argwhere(mask)
    if not len(places):
        return None
    ends = np.stack([places.min(0), places.max(0)])
    corners = np.array([ends[list(pick), range(3)] for pick in np.ndindex(2, 2, 2)])
    corners_mm = corners @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    low, high = corners_mm.min(0) - MARGIN_MM, corners_mm.max(0) + MARGIN_MM
    cubes = Grid(np.ceil((high - low) / WORKING_MM), np.diag([WORKING_MM] * 3 + [1.0]))
    cubes.affine[:3, 3] = low
    solid = resample(mask, grid, cubes) > 0.5
    edge_mm = ndimage.distance_transform_edt(solid, sampling=WORKING_MM)
    edge_mm -= ndimage.distance_transform_edt(~solid, sampling=WORKING_MM)
    edge_mm = ndimage.gaussian_filter(edge_mm, 1.5)  # the voxels' steps hide how far a round head leans

    outline = np.argwhere(solid & ~ndimage.binary_erosion(solid)) * WORKING_MM + low
    bottom, top = outline[:, 2].min(), outline[:, 2].max()
    outline = outline[outline[:, 2] > bottom + LOWEST_SHARE * (top - bottom)]
    outline = outline[:: max(1, len(outline) // MOST_POINTS)]
    middle = np.array(ndimage.center_of_mass(solid)) * WORKING_MM + low
    level = _at(edge_mm, outline, low)

    def asymmetry_mm(numbers: np.ndarray) -> np.ndarray:
        """How far every point of the outline, mirrored, lies from the outline."""
        return _at(edge_mm, mirrored(outline, _plane(numbers, middle)), low) - level

    found = least_squares(asymmetry_mm, np.zeros(3), loss="soft_l1", f_scale=OUTLIER_MM, x_scale=(0.1, 0.1, 1.0))
    return _plane(found.x, middle)


def mirrored(points_mm: np.ndarray, plane: Sequence[float]) -> np.ndarray:
    """Points (..., 3) in RAS mm on the other side of ``plane``."""
    normal = np.array(plane[:3])
    return points_mm - 2 * (points_mm @ normal - plane[3])[..., None] * normal


def other_side(voxels: np.ndarray, grid: Grid, plane: Sequence[float], outside: float) -> np.ndarray:
    """Every voxel's mirror image across ``plane``, linear between voxels: float32 on ``grid``."""
    normal = np.array(plane[:3])
    mirror = np.eye(4)
    mirror[:3, :3] -= 2 * np.outer(normal, normal)
    mirror[:3, 3] = 2 * plane[3] * normal
    return resample(voxels, Grid(grid.shape, mirror @ grid.affine), grid, outside=outside)


def _plane(numbers: np.ndarray, middle: np.ndarray) -> list[float]:
    """The plane with a normal of (1, y, z), made a unit long, that passes ``middle`` at so many mm."""
    y, z, shift_mm = numbers
    normal = np.array([1.0, y, z]) / np.sqrt(1 + y * y + z * z)
    return [*normal.tolist(), float(normal @ middle + shift_mm)]


def _at(values: np.ndarray, points_mm: np.ndarray, origin_mm: np.ndarray) -> np.ndarray:
    return ndimage.map_coordinates(values, ((points_mm - origin_mm) / WORKING_MM).T, order=1, mode="nearest")
