"""The table of lesions: every 26-connected cluster of the mask with its size, place and certainty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from csvd.measure import uncertainty
from csvd.measure.clusters import Clusters
from csvd.measure.reference import cutoff
from csvd.measure.slices import slice_axis
from csvd.measure.zones import PERIVENTRICULAR

SIZES = cutoff("lesion_size")
MM3_PER_ML = 1000.0


@dataclass(frozen=True)
class Lesion:
    """One lesion.

    ``id`` counts from 1 by falling volume. ``diameter_mm`` is the longest line within one slice, from outer pixel
    corner to outer pixel corner. ``centroid_mm`` is in world RAS mm. ``zone`` is "periventricular" or "deep", where
    most of its voxels lie (a tie is periventricular), or "unknown" without ventricles. ``uncertain_share`` is the
    share (0 .. 1) of its voxels that are uncertain in Kim's sense. ``size`` is "small", "medium" or "large".
    """

    id: int
    volume_ml: float
    diameter_mm: float
    centroid_mm: tuple[float, float, float]
    zone: str
    mean_probability: float
    uncertain_share: float
    size: str


def size_class(volume_mm3: float) -> str:
    """Return "small" (< 20 mm3), "medium" (20 .. 150 mm3, ends included) or "large" (> 150 mm3).

    The limits are those of Shan 2021 (Tiantan), given as pixels x spacing without a unit in what we could read.
    We take voxel count x voxel volume: a lesion here is a solid 26-connected body, of which mm3 is the measure.
    In mm2 of one slice the classes would mean lesions of about 5 and 14 mm across.
    """
    small_below, large_above = SIZES.value
    # Voxel volumes are products of rounded spacings: 20 voxels of 1 mm3 must not fall to either side by 1e-12.
    volume_mm3 = round(volume_mm3, 6)
    if volume_mm3 < small_below:
        return "small"
    return "large" if volume_mm3 > large_above else "medium"


def lesion_table(
    mask: np.ndarray,
    spacing_mm: Sequence[float],
    affine: np.ndarray,
    *,
    probability: np.ndarray,
    labels: np.ndarray | None = None,
) -> list[Lesion]:
    """Return the lesions of a boolean mask (i, j, k), largest first; an empty list when there is none.

    ``affine`` maps voxel indices to world RAS mm, ``probability`` is the ensemble's mean on the same grid, and
    ``labels`` are those of :func:`csvd.measure.zones.periventricular`, ``None`` without ventricles.
    """
    clusters = Clusters.of(mask, slice_axis(spacing_mm))
    if clusters.count == 0:
        return []

    affine = np.asarray(affine, dtype=float)
    volume_mm3 = clusters.voxels * abs(np.linalg.det(affine[:3, :3]))
    centroid_mm = clusters.centroids() @ affine[:3, :3].T + affine[:3, 3]
    diameter_mm = clusters.in_plane_diameters_mm(spacing_mm)
    mean_probability = clusters.mean(probability[clusters.index])
    uncertain_share = clusters.mean(uncertainty.is_uncertain(probability[clusters.index]))
    zones = _zones(clusters, labels)

    largest_first = np.argsort(-volume_mm3, kind="stable")
    return [
        Lesion(
            id=rank,
            volume_ml=float(volume_mm3[n] / MM3_PER_ML),
            diameter_mm=float(diameter_mm[n]),
            centroid_mm=tuple(centroid_mm[n].tolist()),
            zone=zones[n],
            mean_probability=float(mean_probability[n]),
            uncertain_share=float(uncertain_share[n]),
            size=size_class(volume_mm3[n]),
        )
        for rank, n in enumerate(largest_first, start=1)
    ]


def _zones(clusters: Clusters, labels: np.ndarray | None) -> list[str]:
    if labels is None:
        return ["unknown"] * clusters.count
    near = clusters.mean(labels[clusters.index] == PERIVENTRICULAR)
    return ["periventricular" if share >= 0.5 else "deep" for share in near]
