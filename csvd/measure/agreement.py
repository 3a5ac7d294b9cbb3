"""How well a mask agrees with a reference, and a series of volumes with another.

The mask metrics follow the MICCAI WMH challenge (hjkuijf/wmhchallenge, evaluation.py). Its conventions for empty
masks are kept where it has any; ours are named as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from csvd.measure.clusters import Clusters
from csvd.measure.measurement import Measurement
from csvd.measure.reference import citation, cutoff
from csvd.measure.slices import bounding_box, slice_axis

IN_SLICE = np.ones((3, 3, 1), dtype=bool)


@dataclass(frozen=True)
class Detection:
    """Lesion-wise shares, 0 .. 1."""

    recall: float
    precision: float
    f1: float


@dataclass(frozen=True)
class BlandAltman:
    """Mean of the differences (first minus second) and its 95 % limits of agreement, in the unit of the data."""

    bias: float
    lower: float
    upper: float


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return 2 |A and B| / (|A| + |B|) of two boolean masks; 1 when both are empty (by convention: they agree)."""
    total = int(np.count_nonzero(mask) + np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(mask & truth)) / total if total else 1.0


def hausdorff_mm(
    mask: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float], percentile: float = 95.0
) -> float | None:
    """Return the Hausdorff distance in mm between the boundaries of two masks; ``None`` when either is empty.

    The boundary is what an erosion by one pixel within the slice removes (the image's edge does not count as
    outside). ``percentile`` of the distances from each boundary to the other, and of the two the larger: 95 is the
    challenge's, 100 the plain Hausdorff distance of Kim, AJNR 2024. With thick slices it moves in steps of
    the slice spacing as soon as a slice is missed.
    """
    if not (mask.any() and truth.any()):
        return None
    axis = slice_axis(spacing_mm)
    points = [_boundary(np.moveaxis(m, axis, 2)) for m in (mask, truth)]
    order = [a for a in range(3) if a != axis] + [axis]
    points_mm = [p * np.array([float(spacing_mm[a]) for a in order]) for p in points]
    there, back = KDTree(points_mm[1]).query(points_mm[0])[0], KDTree(points_mm[0]).query(points_mm[1])[0]
    return float(max(np.percentile(there, percentile), np.percentile(back, percentile)))


def volume_difference_percent(mask: np.ndarray, truth: np.ndarray) -> float | None:
    """Return |V_mask - V_truth| in % of V_truth; without any truth 0 if the mask is empty too, else ``None``."""
    found, true = int(np.count_nonzero(mask)), int(np.count_nonzero(truth))
    if true == 0:
        return 0.0 if found == 0 else None
    return 100 * abs(found - true) / true


def lesion_detection(mask: np.ndarray, truth: np.ndarray, min_share: float = 0.0) -> Detection:
    """Return recall, precision and F1 over 26-connected lesions.

    A true lesion is found when the mask covers at least ``min_share`` of it, and at least one voxel: 0 is the
    challenge's rule, .4 that of Shan 2021 (Tiantan), .5 that of MO-UNet. A detected cluster is right when it meets a
    found lesion; for ``min_share`` > 0, where the papers give recall only, that is our choice. Recall is 1 when
    there is no true lesion, precision is 1 when nothing was detected, F1 is 0 when both are 0.
    """
    true, detected = Clusters.of(truth), Clusters.of(mask)
    covered = true.mean(mask[true.index])
    found = (covered > 0) & (covered >= min_share)
    recall = float(found.mean()) if true.count else 1.0

    found_voxels = np.zeros(truth.shape, dtype=bool)
    on_found = tuple(coordinate[found[true.label - 1]] for coordinate in true.index)
    found_voxels[on_found] = True
    right = detected.mean(found_voxels[detected.index]) > 0
    precision = float(right.mean()) if detected.count else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return Detection(recall, precision, f1)


def pearson(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Pearson's r of two series; ``None`` for fewer than two pairs or a constant series."""
    x, y = _pairs(x, y)
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def concordance(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Lin's concordance correlation coefficient; ``None`` for fewer than two pairs or two equal constants.

    2 s_xy / (s_x^2 + s_y^2 + (mean_x - mean_y)^2), variances and covariance over n, as Lin 1989 (Biometrics
    45:255-268) defines it. s_xy = rho s_x s_y. Some papers print the formula wrongly.
    """
    x, y = _pairs(x, y)
    spread = x.var() + y.var() + (x.mean() - y.mean()) ** 2 if len(x) > 1 else 0.0
    if spread == 0:
        return None
    return float(2 * np.mean((x - x.mean()) * (y - y.mean())) / spread)


def bland_altman(x: Sequence[float], y: Sequence[float]) -> BlandAltman | None:
    """Return the bias of x against y and the limits bias -+ 1.96 SD (over n - 1) of the differences (Lancet
    1986;327:307-310); ``None`` for fewer than two pairs."""
    x, y = _pairs(x, y)
    if len(x) < 2:
        return None
    difference = x - y
    bias, spread = float(difference.mean()), 1.96 * float(difference.std(ddof=1))
    return BlandAltman(bias, bias - spread, bias + spread)


def evaluate(mask: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> list[Measurement]:
    """Return every mask metric of ``mask`` against ``truth``, two boolean volumes (i, j, k) on one grid.

    Raises ``ValueError`` when their shapes differ. A metric that does not exist (a distance to an empty mask) is
    ``None``.
    """
    if mask.shape != truth.shape:
        raise ValueError(f"The mask is {mask.shape} and the truth {truth.shape}: compare masks on one grid.")
    mask, truth = mask.astype(bool, copy=False), truth.astype(bool, copy=False)
    voxel_ml = float(np.prod(np.asarray(spacing_mm, dtype=float))) / 1000
    challenge, voxels = citation("miccai"), "Voxel count x voxel volume"
    measurements = [
        Measurement("dice", "Dice", dice(mask, truth), "", f"{challenge}; two empty masks give 1"),
        Measurement("hausdorff_95", "Hausdorff distance, 95 %", hausdorff_mm(mask, truth, spacing_mm), "mm", challenge),
        Measurement(
            "hausdorff",
            "Hausdorff distance, maximum",
            hausdorff_mm(mask, truth, spacing_mm, 100),
            "mm",
            citation("kim2024"),
        ),
        Measurement("volume", "Volume of the mask", int(np.count_nonzero(mask)) * voxel_ml, "mL", voxels),
        Measurement("volume_truth", "Volume of the reference", int(np.count_nonzero(truth)) * voxel_ml, "mL", voxels),
        Measurement(
            "volume_difference_percent", "Volume difference", volume_difference_percent(mask, truth), "%", challenge
        ),
    ]
    hit_rules = [("", "any overlap", 0.0, challenge)]
    for name in ("hit_tiantan", "hit_mounet"):
        limit = cutoff(name)
        hit_rules.append(
            (f"_{limit.value:.0%}".rstrip("%"), f">= {limit.value:.0%} covered", limit.value, limit.source)
        )
    for suffix, words, share, source in hit_rules:
        detection = lesion_detection(mask, truth, share)
        for part in ("recall", "precision", "f1"):
            title = f"Lesion {'F1' if part == 'f1' else part} ({words})"
            measurements.append(Measurement(f"lesion_{part}{suffix}", title, getattr(detection, part), "", source))
    return measurements


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Voxel indices (n, 3) of a mask's in-slice boundary; the slices lie across the last axis."""
    # A pixel of margin where the image has one, so that only the image's own edge is kept from being a boundary.
    box = bounding_box(mask, (1, 1, 0))
    part = mask[box]
    boundary = part & ~ndimage.binary_erosion(part, structure=IN_SLICE, border_value=1)
    return np.argwhere(boundary) + [side.start for side in box]


def _pairs(x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"Two series of equal length are needed, these are {x.shape} and {y.shape}.")
    return x, y
