"""Which hemisphere a point lies in, and how much of a mask lies in each."""

from collections.abc import Sequence

import numpy as np

from csvd.errors import InputError


def hemisphere_shares(mask: np.ndarray, affine: np.ndarray, midplane: Sequence[float]) -> tuple[float, float]:
    """Return the voxels of a boolean mask (i, j, k) in the left and in the right hemisphere of the patient.

    ``midplane`` is the mid-sagittal plane as four numbers a, b, c, d in world RAS mm. Since x grows towards the
    patient's right, a point with ``a x + b y + c z > d`` lies in the right hemisphere, so a must be above 0. A voxel
    belongs to the side of its centre; one whose centre is on the plane counts half on each.

    Raises ``InputError`` where the numbers are no such plane.
    """
    plane = _checked(midplane)
    normal = plane[:3] @ affine[:3, :3]
    # On the plane is what lies nearer to it than a millionth of a voxel, so that rounding gives no side.
    to_right = np.argwhere(mask) @ normal + (plane[:3] @ affine[:3, 3] - plane[3])
    side = np.where(np.abs(to_right) < 1e-6 * np.abs(normal).max(), 0, np.sign(to_right))
    right = float(np.count_nonzero(side > 0) + np.count_nonzero(side == 0) / 2)
    return len(side) - right, right


def hemispheres_of(points_mm: np.ndarray, midplane: Sequence[float]) -> list[str]:
    """Return "left" or "right" for points (n, 3) in world RAS mm; a point on the plane counts as right.

    ``midplane`` and what is raised are those of :func:`hemisphere_shares`.
    """
    plane = _checked(midplane)
    return ["right" if side else "left" for side in np.reshape(points_mm, (-1, 3)) @ plane[:3] >= plane[3]]


def _checked(midplane: Sequence[float]) -> np.ndarray:
    plane = np.asarray(midplane, dtype=float)
    if plane.shape != (4,) or not np.isfinite(plane).all() or plane[0] <= 0:
        raise InputError(
            "The mid-sagittal plane must be four numbers a, b, c, d with a > 0, so that a x + b y + c z > d (RAS, mm) "
            f"is the right hemisphere, not {list(midplane)}."
        )
    return plane
