"""The 26-connected clusters of a mask, their sizes, extreme values and in-plane diameters.

A cluster is what the MICCAI WMH challenge counts as one lesion: voxels that share a face, an edge or a corner.
Only the voxels of the mask are ever visited, so the cost follows the lesion load and not the field of view.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from csvd.measure.slices import bounding_box

TOUCHING = np.ones((3, 3, 3), dtype=bool)
HULL_PAYS_FROM = 8
"""Rows in a plane from which a convex hull is quicker than all pairs of corners (timed, not critical)."""


def with_margin(
    mask: np.ndarray, spacing_mm: Sequence[float], margin_mm: float
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """The box of each cluster of ``mask`` with ``margin_mm`` around it, and the cluster in that box (bool)."""
    margin = np.ceil(margin_mm / np.array(spacing_mm)).astype(int).tolist()
    labels, _ = ndimage.label(mask, TOUCHING)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        around = tuple(slice(max(side.start - m, 0), side.stop + m) for side, m in zip(box, margin, strict=True))
        yield around, labels[around] == number


@dataclass(frozen=True)
class Clusters:
    """The voxels of a mask, listed cluster by cluster and within a cluster slice by slice.

    ``index`` are the three array coordinates of every voxel, ``label`` its cluster (1 .. ``count``), ``first`` the
    position in the list where each cluster begins. ``axis`` is the slice axis.
    """

    index: tuple[np.ndarray, np.ndarray, np.ndarray]
    label: np.ndarray
    first: np.ndarray
    axis: int

    @classmethod
    def of(cls, mask: np.ndarray, axis: int = 2) -> "Clusters":
        """Find the clusters of a boolean mask (i, j, k) whose slices lie across ``axis``."""
        box = bounding_box(mask)
        if box is None:
            nowhere = np.zeros(0, dtype=np.intp)
            return cls((nowhere, nowhere, nowhere), nowhere, nowhere, axis)
        labelled, count = ndimage.label(np.moveaxis(mask[box], axis, 0), structure=TOUCHING)
        found = np.nonzero(labelled)
        label = labelled[found]
        order = np.argsort(label, kind="stable")
        across, *within = (coordinate[order] for coordinate in found)
        index = [coordinate + side.start for coordinate, side in zip(_insert(within, axis, across), box, strict=True)]
        label = label[order]
        return cls(tuple(index), label, np.searchsorted(label, np.arange(1, count + 1)), axis)

    @property
    def count(self) -> int:
        return len(self.first)

    @property
    def voxels(self) -> np.ndarray:
        """Number of voxels of each cluster."""
        return np.bincount(self.label, minlength=self.count + 1)[1:]

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over each cluster of values listed as the voxels are, ``volume[clusters.index]``; float64."""
        return np.bincount(self.label, weights=values, minlength=self.count + 1)[1:] / self.voxels

    def smallest(self, values: np.ndarray) -> np.ndarray:
        """Minimum over each cluster of values listed as the voxels are."""
        return np.minimum.reduceat(values, self.first)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """Maximum over each cluster of values listed as the voxels are."""
        return np.maximum.reduceat(values, self.first)

    def voxels_of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Array coordinates of the voxels of those clusters for which ``chosen``, (count,) bool, is true."""
        keep = chosen[self.label - 1]
        return tuple(coordinate[keep] for coordinate in self.index)

    def centroids(self) -> np.ndarray:
        """Mean voxel index of each cluster, (count, 3)."""
        return np.stack([self.mean(coordinate) for coordinate in self.index], axis=1)

    def in_plane_diameters_mm(self, spacing_mm: Sequence[float]) -> np.ndarray:
        """Longest straight line within any one slice of each cluster, in mm, exact.

        It runs between the outer corners of the pixels, as a ruler is laid from edge to edge and as the volume
        counts pixels whole: one pixel of 3 x 4 mm measures 5 mm, not 0. Between slices nothing is measured,
        because slice gaps and thickness make that length unreliable on clinical scans.
        """
        across = self.index[self.axis]
        row, column = (self.index[a] for a in range(3) if a != self.axis)
        row_mm, column_mm = (spacing_mm[a] for a in range(3) if a != self.axis)

        row_start, row_end = _runs(self.label, across, row)
        label, across, row = self.label[row_start], across[row_start], row[row_start]
        left, right = column[row_start], column[row_end]

        plane_start, plane_end = _runs(label, across)
        left_most = np.minimum.reduceat(left, plane_start)
        right_most = np.maximum.reduceat(right, plane_start)
        height_mm = (row[plane_end] - row[plane_start] + 1) * row_mm
        width_mm = (right_most - left_most + 1) * column_mm
        at_most_mm = np.hypot(height_mm, width_mm)

        diameter_mm = np.zeros(self.count)
        for plane in np.argsort(-at_most_mm, kind="stable"):
            cluster = label[plane_start[plane]] - 1
            if at_most_mm[plane] <= diameter_mm[cluster]:
                continue
            rows = slice(plane_start[plane], plane_end[plane] + 1)
            corners = _corners(row[rows] * row_mm, left[rows] * column_mm, right[rows] * column_mm, row_mm, column_mm)
            diameter_mm[cluster] = max(diameter_mm[cluster], _farthest(corners))
        return diameter_mm


def _insert(within: list[np.ndarray], axis: int, across: np.ndarray) -> list[np.ndarray]:
    coordinates = list(within)
    coordinates.insert(axis, across)
    return coordinates


def _runs(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last position of every run of equal keys."""
    changes = np.zeros(max(len(keys[0]) - 1, 0), dtype=bool)
    for key in keys:
        changes |= key[1:] != key[:-1]
    breaks = np.flatnonzero(changes)
    if len(keys[0]) == 0:
        return breaks, breaks
    return np.r_[0, breaks + 1], np.r_[breaks, len(keys[0]) - 1]


def _corners(row: np.ndarray, left: np.ndarray, right: np.ndarray, row_mm: float, column_mm: float) -> np.ndarray:
    """Outer corners (mm) of the first and last pixel of each row: no other corner can be at an end of the diameter."""
    above, below = row - row_mm / 2, row + row_mm / 2
    left, right = left - column_mm / 2, right + column_mm / 2
    return np.concatenate(
        [np.stack(pair, axis=1) for pair in ((above, left), (above, right), (below, left), (below, right))]
    )


def _farthest(corners: np.ndarray) -> float:
    # Corners span an area even for a single pixel, so the hull always exists.
    if len(corners) > 4 * HULL_PAYS_FROM:
        corners = corners[ConvexHull(corners).vertices]
    return float(pdist(corners).max())
