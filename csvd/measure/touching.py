"""Candidates that touch, told apart by their necks: two cavities side by side are two, not one that is too long."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from csvd.measure.clusters import TOUCHING
from csvd.measure.strive import DEFINITIONS, find_candidates

NECK_MM = 0.5  # choice: either part is at least so much wider (in radius) than what joins them
GROUP = 10  # choice: what is larger than so many of the largest is no group of them, and would take minutes to peel


def necks(marker: str, mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Voxels (bool) without which the clusters of ``mask`` that are too long for ``marker`` fall into parts.

    A cluster is peeled layer by layer until it falls apart, into parts none of which is smaller than the marker can be;
    what lies between them belongs to the nearest. Where it does not, or where it is not too long or larger than
    ``GROUP`` of them, nothing is cut. Parts that are still too long are cut again.
    """
    least_mm, most_mm = DEFINITIONS[marker].size.value
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    cut = np.zeros(mask.shape, bool)
    labels, _ = ndimage.label(mask, TOUCHING)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        waiting = [labels[box] == number]
        while waiting:
            whole = waiting.pop()
            (candidate,) = find_candidates(marker, whole, whole, affine)
            if candidate.longest_mm <= most_mm or candidate.volume_mm3 > GROUP * np.pi / 6 * most_mm**3:
                continue
            parts = peeled(whole, spacing_mm, least_mm / 2)
            for n in range(1, parts.max() + 1):
                others = (parts > 0) & (parts < n)
                between = (parts == n) & ndimage.binary_dilation(others, TOUCHING)
                cut[box] |= between
                waiting.append((parts == n) & ~between)
    return cut


def peeled(whole: np.ndarray, spacing_mm: Sequence[float], least_mm: float) -> np.ndarray:
    """The parts, 1 to n, into which a cluster falls when it is peeled; all 0 where it does not.

    Every part has a voxel at least ``least_mm`` and ``NECK_MM`` more than the neck from the outside.
    """
    depth_mm = ndimage.distance_transform_edt(np.pad(whole, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    for neck_mm in np.unique(depth_mm[whole])[:-1]:
        cores, count = ndimage.label(depth_mm > neck_mm, TOUCHING)
        deepest = ndimage.maximum(depth_mm, cores, np.arange(1, count + 1))
        kept = np.flatnonzero(deepest >= max(least_mm, neck_mm + NECK_MM)) + 1
        if len(kept) > 1:
            cores = np.where(np.isin(cores, kept), cores, 0)
            nearest = ndimage.distance_transform_edt(
                cores == 0, sampling=spacing_mm, return_distances=False, return_indices=True
            )
            return np.searchsorted(kept, cores[tuple(nearest)]) * whole + whole
    return np.zeros(whole.shape, int)
