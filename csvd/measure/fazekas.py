"""The Fazekas grade in three readings side by side, and whether they agree.

1. **Volume**: the overall grade that goes with the total volume (Joo 2022). Volume alone is the weakest predictor of
   the visual grade (Philps 2025, arXiv 2411.17571), so it never decides.
2. **Geometry**: periventricular by thickness, deep by diameter. These are the grades that are reported.
3. **Likelihood**: how well the volume of each zone fits patients with each visual grade (Lee 2024).

What Fazekas wrote: periventricular 0 absent, 1 caps or pencil-thin lining, 2 smooth halo, 3 irregular and reaching
into the deep white matter; deep 0 absent, 1 punctate, 2 beginning confluence, 3 large confluent areas.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from csvd.measure.clusters import Clusters
from csvd.measure.reference import cutoff, volume_by_grade
from csvd.measure.slices import slice_axis
from csvd.measure.zones import DEEP, FARTHEST_MM, PERIVENTRICULAR

TOTAL_VOLUME = cutoff("total_volume")
THICKNESS = cutoff("periventricular_thickness")
DIAMETER = cutoff("deep_diameter")
REACH_MM = cutoff("reach").value
GRADE_TOLERANCE = cutoff("grade_tolerance").value
SEVERE_TOTAL = cutoff("severe_total").value


@dataclass(frozen=True)
class Fazekas:
    """The three readings. Whatever needs the ventricles is ``None`` when there are none.

    ``volume_grade`` 0-3 is reading 1. ``periventricular`` 0-3, ``deep`` 0-3, ``total`` 0-6 and ``severe`` (total >= 3)
    are reading 2, from ``thickness_mm`` and ``diameter_mm``; ``confluent`` says that deep WMH run into periventricular
    ones. ``likelihood_*`` are reading 3, shares that sum to 1 by grade "0-1", "2", "3". ``agreement`` is true when
    no two readings lie more than one grade apart; ``conflicts`` says in words which do.
    """

    volume_grade: int
    periventricular: int | None = None
    deep: int | None = None
    total: int | None = None
    severe: bool | None = None
    thickness_mm: float | None = None
    diameter_mm: float | None = None
    confluent: bool | None = None
    likelihood_periventricular: dict[str, float] | None = None
    likelihood_deep: dict[str, float] | None = None
    agreement: bool | None = None
    conflicts: tuple[str, ...] = ()


def fazekas(
    labels: np.ndarray,
    distance_mm: np.ndarray | None,
    spacing_mm: Sequence[float],
    *,
    voxel_volume_ml: float,
    limit_mm: float = 10.0,
) -> Fazekas:
    """Grade a label map (i, j, k) with 1 periventricular, 2 deep, 0 elsewhere.

    ``distance_mm`` is the ventricle distance on the same grid, ``None`` when no ventricle is known: then only the
    volume grade can be given. ``limit_mm`` is the distance at which the voxel rule cut lesions; where whole clusters
    were labelled none is cut and it plays no part.
    """
    near, far = (int(np.count_nonzero(labels == zone)) * voxel_volume_ml for zone in (PERIVENTRICULAR, DEEP))
    volume_grade = TOTAL_VOLUME.grade(near + far)
    if distance_mm is None and near + far > 0:
        return Fazekas(volume_grade)

    axis = slice_axis(spacing_mm)
    lesions = Clusters.of(labels > 0, axis)
    thickness = thickness_mm(lesions, distance_mm, spacing_mm)
    diameter, confluent = deep_diameter_mm(lesions, labels, distance_mm, spacing_mm, limit_mm)
    periventricular = 1 + THICKNESS.grade(thickness) if near else 0
    deep = 1 + DIAMETER.grade(diameter) if diameter else 0
    likelihoods = {zone: likelihood(zone, ml) for zone, ml in (("periventricular", near), ("deep", far))}
    conflicts = _conflicts(volume_grade, {"periventricular": periventricular, "deep": deep}, likelihoods)
    return Fazekas(
        volume_grade=volume_grade,
        periventricular=periventricular,
        deep=deep,
        total=periventricular + deep,
        severe=periventricular + deep >= SEVERE_TOTAL,
        thickness_mm=thickness,
        diameter_mm=diameter,
        confluent=confluent,
        likelihood_periventricular=likelihoods["periventricular"],
        likelihood_deep=likelihoods["deep"],
        agreement=not conflicts,
        conflicts=conflicts,
    )


def thickness_mm(lesions: Clusters, distance_mm: np.ndarray | None, spacing_mm: Sequence[float]) -> float:
    """Return how far from the ventricle the WMH that reach it extend, in mm; 0 when none reaches it.

    The periventricular label ends at 10 mm, so its own thickness could never tell a halo of 10 mm from WMH running
    into the deep white matter. Measured instead is the whole cluster, periventricular and deep: the largest ventricle
    distance in any 26-connected cluster whose nearest voxel lies within 2 mm of a ventricle (or within 1.5
    pixels where pixels are so coarse that a neighbour is farther). Clusters that stay clear of the ventricles are
    neither caps nor halo and do not count; where only such lie in the periventricular zone the grade is 1.
    """
    if lesions.count == 0:
        return 0.0
    pixel_mm = max(spacing_mm[a] for a in range(3) if a != lesions.axis)
    distance = distance_mm[lesions.index]
    reaching = lesions.smallest(distance) <= max(REACH_MM, 1.5 * pixel_mm)
    return float(lesions.largest(distance)[reaching].max(initial=0.0))


def deep_diameter_mm(
    lesions: Clusters,
    labels: np.ndarray,
    distance_mm: np.ndarray | None,
    spacing_mm: Sequence[float],
    limit_mm: float,
) -> tuple[float, bool]:
    """Return the longest in-plane diameter of the largest deep WMH in mm (0 without any), and whether deep WMH of
    that kind run into periventricular ones.

    Foci that have grown together are one 26-connected cluster and are measured as one: that is their confluence.
    A deep cluster that is only the part of a periventricular lesion beyond ``limit_mm`` needs care, for
    the outermost millimetre of a smooth halo is a long thin shell. A part cut off a round lesion is at most twice as
    wide as it is deep, so its size is taken as the smaller of its diameter and twice its reach beyond ``limit_mm``.
    And because grade 1 means separate foci, such a part counts from the size of grade 2 on. Both rules are choices.
    """
    deep = Clusters.of(labels == DEEP, lesions.axis)
    if deep.count == 0:
        return 0.0, False
    diameter = deep.in_plane_diameters_mm(spacing_mm)
    joined = _touches_periventricular(deep, lesions, labels)
    if joined.any():
        farthest_mm = deep.largest(distance_mm[deep.index])
        # Distances end at FARTHEST_MM: a part that goes on beyond is not narrowed by a reach we cannot know.
        reach_mm = np.where(farthest_mm < FARTHEST_MM, farthest_mm - limit_mm, np.inf)
        part = np.minimum(diameter, 2 * reach_mm)
        diameter = np.where(joined, np.where(part >= DIAMETER.value[0], part, 0.0), diameter)
    return float(diameter.max()), bool((joined & (diameter > 0)).any())


def likelihood(zone: str, volume_ml: float) -> dict[str, float]:
    """Return the share of the likelihood that falls to each grade, "0-1", "2" and "3", given a zone's volume.

    Lee 2024 gives mean and SD of the volume by visual grade. Volumes are positive and in the deep zone the SD exceeds
    the mean, so a normal curve would put patients below zero; a log-normal with the same mean is used. Its log-SD is
    the same for all grades of a zone (the mean of the moment-matched variances, as in linear discriminant analysis):
    with one each, the grade with the widest spread would win at both ends, and more lesion could speak for a lower
    grade. No grade is favoured beforehand, so these are likelihoods and not the probability of a grade. The
    grades overlap heavily: a share of .5 says little.
    """
    table = volume_by_grade(zone)
    if volume_ml <= 0:
        return dict(zip(table.grades, (1.0, 0.0, 0.0), strict=True))
    mean, sd = np.array(table.mean_ml), np.array(table.sd_ml)
    log_variance = np.mean(np.log1p((sd / mean) ** 2))
    log_mean = np.log(mean) - log_variance / 2
    log_density = -((np.log(volume_ml) - log_mean) ** 2) / (2 * log_variance)
    density = np.exp(log_density - log_density.max())
    return dict(zip(table.grades, (density / density.sum()).tolist(), strict=True))


def _touches_periventricular(deep: Clusters, lesions: Clusters, labels: np.ndarray) -> np.ndarray:
    """For each deep cluster, whether the lesion it belongs to has a periventricular part as well."""
    lesion_of = np.zeros(labels.shape, dtype=np.int32)
    lesion_of[lesions.index] = lesions.label
    mixed = lesions.mean(labels[lesions.index] == PERIVENTRICULAR) > 0
    first_voxels = tuple(coordinate[deep.first] for coordinate in deep.index)
    return mixed[lesion_of[first_voxels] - 1]


def _conflicts(volume_grade: int, grades: dict[str, int], likelihoods: dict[str, dict[str, float]]) -> tuple[str, ...]:
    conflicts = []
    overall = max(grades.values())
    if abs(volume_grade - overall) > GRADE_TOLERANCE:
        conflicts.append(f"The total volume speaks for grade {volume_grade}, the geometry for grade {overall}.")
    for zone, shares in likelihoods.items():
        steps = list(shares)
        likeliest = max(steps, key=shares.get)
        step = max(0, grades[zone] - 1)
        if abs(steps.index(likeliest) - step) > GRADE_TOLERANCE:
            conflicts.append(
                f"The {zone} volume is likeliest for grade {likeliest}, the geometry speaks for grade {grades[zone]}."
            )
    return tuple(conflicts)
