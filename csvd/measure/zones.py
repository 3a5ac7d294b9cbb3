"""Distance from the ventricles, and the split of white matter hyperintensities into periventricular and deep."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from csvd.measure import slices
from csvd.measure.clusters import Clusters

PERIVENTRICULAR, DEEP = 1, 2
FARTHEST_MM = 30.0
"""Distances are exact below this and equal to it beyond. A choice: three times the widest rule in use (10 mm), and
enough for every Fazekas cut-off, while it keeps the work near the ventricles."""


def ventricle_distance(
    ventricles: np.ndarray,
    spacing_mm: Sequence[float],
    slice_axis: int | None = None,
    *,
    farthest_mm: float = FARTHEST_MM,
    slant_mm: Sequence[float] = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Return the distance in mm from every voxel centre to the ventricles; float32, shape of ``ventricles``.

    ``ventricles`` is boolean (i, j, k), ``spacing_mm`` its three spacings; ``slice_axis`` is the thickest axis unless
    given; ``slant_mm`` is how far, on a CT with a tilted gantry, each slice is moved within its plane against the one
    before it. Slices are thick, so a ventricle voxel is taken to fill its slab: from slice k the ventricle of slice
    k' != k begins ``|k - k'| * s - s / 2`` away, s being the slice spacing, and within its own slice it is 0 away.
    Within a slice, distances run from pixel centre to pixel centre. So with 8 mm slices a voxel right above a
    ventricle is 4 mm from it, not 8, and a lesion 3 mm beside it stays 3 mm away.

    The result is exact below ``farthest_mm`` and equal to ``farthest_mm`` from there on. Without any ventricle voxel
    it is +inf everywhere. Memory beyond the result is a few in-plane maps per slice within ``farthest_mm``.
    """
    axis = slices.slice_axis(spacing_mm) if slice_axis is None else slice_axis
    if not ventricles.any():
        return np.full(ventricles.shape, np.inf, dtype=np.float32)

    distance = np.full(ventricles.shape, farthest_mm, dtype=np.float32)
    slabs, distance_slabs = np.moveaxis(ventricles, axis, 0), np.moveaxis(distance, axis, 0)
    slice_mm = float(spacing_mm[axis])
    in_plane_mm = [float(spacing_mm[a]) for a in range(3) if a != axis]
    moved = np.array([slant_mm[a] / spacing_mm[a] for a in range(3) if a != axis])  # pixels from slice to slice
    reach = int(farthest_mm / slice_mm + 0.5)
    margin = (reach, *(int(np.ceil(farthest_mm / mm)) for mm in in_plane_mm))
    across, rows, columns = slices.bounding_box(slabs, margin)
    occupied = np.flatnonzero(slabs.any(axis=(1, 2)))

    in_plane: dict[int, np.ndarray] = {}
    for k in range(across.start, across.stop):
        near = [int(n) for n in occupied if abs(n - k) <= reach]
        for n in set(near) - set(in_plane):
            to_pixel = ndimage.distance_transform_edt(slabs[n, rows, columns] == 0, sampling=in_plane_mm)
            in_plane[n] = np.square(to_pixel, dtype=np.float64).astype(np.float32)
        in_plane = {n: in_plane[n] for n in near}

        squared = np.full((rows.stop - rows.start, columns.stop - columns.start), farthest_mm**2, dtype=np.float32)
        for n, plane in in_plane.items():
            gap_mm = max(0.0, abs(n - k) * slice_mm - slice_mm / 2)
            if moved.any():
                plane = ndimage.shift(plane, (n - k) * moved, order=1, mode="nearest")
            np.minimum(squared, plane + np.float32(gap_mm**2), out=squared)
        distance_slabs[k, rows, columns] = np.sqrt(squared)
    return distance


def periventricular(
    mask: np.ndarray, distance_mm: np.ndarray, limit_mm: float = 10.0, rule: str = "voxel"
) -> np.ndarray:
    """Return where WMH are periventricular (1) or deep (2); uint8, 0 outside ``mask``.

    ``distance_mm`` comes from :func:`ventricle_distance`. ``rule``:

    - ``"voxel"``: a voxel nearer to a ventricle than ``limit_mm`` is periventricular (10 mm: Kim, AJNR 2024, with
      7.5 mm as their alternative; 10 mm also in Lee, Front Aging Neurosci 2024). One lesion may be both.
    - ``"cluster"``: a 26-connected cluster is periventricular as a whole when its nearest voxel is within
      ``limit_mm`` (2 mm: SHiVAi). No lesion is cut.

    Raises ``ValueError`` for any other rule.
    """
    mask = mask.astype(bool, copy=False)
    labels = np.zeros(mask.shape, dtype=np.uint8)
    if rule == "voxel":
        labels[mask] = np.where(distance_mm[mask] < limit_mm, PERIVENTRICULAR, DEEP)
    elif rule == "cluster":
        clusters = Clusters.of(mask)
        near = clusters.smallest(distance_mm[clusters.index]) <= limit_mm
        labels[clusters.index] = np.where(near, PERIVENTRICULAR, DEEP)[clusters.label - 1]
    else:
        raise ValueError(f'The periventricular rule is "voxel" or "cluster", not "{rule}".')
    return labels
