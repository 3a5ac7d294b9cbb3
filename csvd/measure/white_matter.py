"""Everything measured on the white matter lesions of one scan, whichever marker they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from csvd.errors import InputError
from csvd.marker import LEUKOARAIOSIS, WMH, Marker
from csvd.measure import uncertainty
from csvd.measure.fazekas import DIAMETER, SEVERE_TOTAL, THICKNESS, TOTAL_VOLUME, Fazekas, fazekas
from csvd.measure.hemispheres import hemisphere_shares
from csvd.measure.lesions import MM3_PER_ML, SIZES, Lesion, lesion_table
from csvd.measure.leukoaraiosis import burden
from csvd.measure.measurement import Measurement
from csvd.measure.reference import Cutoff, citation, cutoff, on_other_image, volume_by_grade
from csvd.measure.slices import bounding_box
from csvd.measure.zones import DEEP, FARTHEST_MM, PERIVENTRICULAR, periventricular

VOXELS = "Voxel count x voxel volume"

# What a marker measures beyond what all have, by its key: from the measurements so far, by name, to further ones.
# `Result.remeasure` comes by here too, so they follow every edit.
OWN_MEASUREMENTS: dict[str, Callable[[Mapping[str, Measurement]], list[Measurement]]] = {LEUKOARAIOSIS.key: burden}


@dataclass(frozen=True)
class WhiteMatterMeasures:
    """``labels`` uint8 (i, j, k): 1 periventricular, 2 deep (or of unknown zone), 0 elsewhere; ``measurements`` by
    name in the order of the report; ``lesions`` largest first; ``fazekas`` the three readings."""

    labels: np.ndarray
    measurements: dict[str, Measurement]
    lesions: list[Lesion]
    fazekas: Fazekas


def measure_white_matter(
    mask: np.ndarray,
    probability: np.ndarray,
    distance_mm: np.ndarray | None,
    brain: np.ndarray,
    spacing_mm: Sequence[float],
    affine: np.ndarray,
    *,
    pv_distance_mm: float = 10.0,
    pv_rule: str = "voxel",
    threshold: float = 0.5,
    moved: np.ndarray | None = None,
    midplane: Sequence[float] | None = None,
    marker: Marker = WMH,
) -> WhiteMatterMeasures:
    """Measure a mask of white matter lesions.

    ``mask`` and ``brain`` (the intracranial space) are boolean, ``probability`` is the ensemble's mean and
    ``distance_mm`` the ventricle distance, all (i, j, k) on one grid; ``affine`` maps indices to world RAS mm.
    ``threshold`` is the one that made the mask and is only reported. ``moved`` holds the zones that a reader chose, 1
    or 2, and 0 where the rule decides. ``midplane`` is that of :func:`csvd.measure.hemispheres.hemisphere_shares`; the
    hemispheres are measured only with one. ``marker`` gives the titles, and `OWN_MEASUREMENTS` what else it measures.
    Only the box around the mask is worked on.

    Without lesions every volume, count and grade is 0. Without ventricles (``distance_mm`` is ``None`` or nowhere
    finite) what depends on the zone is ``None``, for a missing ventricle does not make a lesion deep; the
    label is then 2 throughout. Without any brain voxel the percentages are ``None``.

    Raises ``InputError`` for a distance that is not between 0 and 30 mm or numbers that are no midplane, ``ValueError``
    for volumes of other shapes or another rule.
    """
    if not 0 < pv_distance_mm < FARTHEST_MM:
        raise InputError(
            f"The periventricular distance is {pv_distance_mm:g} mm: give one above 0 and below {FARTHEST_MM:g} mm."
        )
    for name, volume in (("probability", probability), ("brain", brain), ("distance", distance_mm)):
        if volume is not None and volume.shape != mask.shape:
            raise ValueError(f"The {name} volume is {volume.shape} and the mask {mask.shape}: put them on one grid.")
    if pv_rule not in ("voxel", "cluster"):
        raise ValueError(f'The periventricular rule is "voxel" or "cluster", not "{pv_rule}".')

    mask = mask.astype(bool, copy=False)
    affine = np.asarray(affine, dtype=float)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / MM3_PER_ML
    labels = np.zeros(mask.shape, dtype=np.uint8)
    # An empty mask has no box; any one voxel serves, so that nothing below needs a case of its own.
    box = bounding_box(mask) or (slice(0, 1),) * 3
    here, p = mask[box], probability[box]
    distance = distance_mm[box] if distance_mm is not None else None
    zones_known = not here.any() or (distance is not None and bool(np.isfinite(distance[here]).all()))
    if not zones_known:
        distance = None
        labels[box][here] = DEEP
    elif distance is not None:
        labels[box] = periventricular(here, distance, pv_distance_mm, pv_rule)
        if moved is not None:
            np.copyto(labels[box], moved[box], where=here & (moved[box] > 0))

    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    zone_labels = labels[box] if zones_known else None
    lesions = lesion_table(here, spacing_mm, shifted, probability=p, labels=zone_labels)
    grades = fazekas(labels[box], distance, spacing_mm, voxel_volume_ml=voxel_ml, limit_mm=pv_distance_mm)

    zone_rule = _zone_rule(pv_distance_mm, pv_rule)
    shares = None if midplane is None else hemisphere_shares(here, shifted, midplane)
    measurements = [
        *_volumes(labels[box], voxel_ml, int(np.count_nonzero(brain)) * voxel_ml, zones_known, zone_rule, marker),
        *_hemispheres(shares, voxel_ml, marker),
        *_lesion_counts(lesions, zones_known, zone_rule),
        *_fazekas(grades, marker),
        *_uncertainty(uncertainty.uncertainty_index(p, here), marker),
        Measurement(
            "threshold", "Probability threshold", float(threshold), "", "Setting; .5 in " + citation("kim2024")
        ),
        Measurement("periventricular_distance", "Periventricular distance", float(pv_distance_mm), "mm", zone_rule),
        Measurement("periventricular_rule", "Periventricular rule", pv_rule, "", zone_rule),
    ]
    named = {m.name: m for m in measurements}
    if marker.key in OWN_MEASUREMENTS:
        named |= {m.name: m for m in OWN_MEASUREMENTS[marker.key](named)}
    return WhiteMatterMeasures(labels, named, lesions, grades)


def _zone_rule(distance_mm: float, rule: str) -> str:
    if rule == "cluster":
        return (
            f"Whole lesions within {distance_mm:g} mm of a ventricle; the rule is that of {citation('shivai')} at 2 mm"
        )
    return f"Voxels nearer than {distance_mm:g} mm to a ventricle; 10 or 7.5 mm in {citation('kim2024')}"


def _volumes(
    labels: np.ndarray, voxel_ml: float, icv_ml: float, zones_known: bool, zone_rule: str, marker: Marker
) -> list[Measurement]:
    near, far = (int(np.count_nonzero(labels == zone)) * voxel_ml for zone in (PERIVENTRICULAR, DEEP))
    volumes = {
        "total": (f"Total {marker.short}", near + far, VOXELS),
        "periventricular": (f"Periventricular {marker.short}", near if zones_known else None, zone_rule),
        "deep": (f"Deep {marker.short}", far if zones_known else None, f"What is not periventricular. {zone_rule}"),
    }
    measured = [
        Measurement(f"{name}_volume", f"{title}, volume", ml, "mL", how) for name, (title, ml, how) in volumes.items()
    ]
    measured.append(Measurement("icv_volume", "Intracranial volume", icv_ml, "mL", VOXELS))
    for name, (title, ml, _) in volumes.items():
        percent = 100 * ml / icv_ml if icv_ml > 0 and ml is not None else None
        measured.append(
            Measurement(
                f"{name}_percent_icv",
                f"{title}, share of intracranial volume",
                percent,
                "%",
                "Volume / intracranial volume",
            )
        )
    return measured


def _hemispheres(shares: tuple[float, float] | None, voxel_ml: float, marker: Marker) -> list[Measurement]:
    if shares is None:
        return []
    left, right = (voxels * voxel_ml for voxels in shares)
    how = f"{VOXELS}, on this side of the mid-sagittal plane"
    asymmetry = (left - right) / (left + right) if left + right else 0.0
    formula = "(left - right) / (left + right), from -1 to 1; 0 without lesions"
    return [
        Measurement("left_volume", f"Left-sided {marker.short}, volume", left, "mL", how),
        Measurement("right_volume", f"Right-sided {marker.short}, volume", right, "mL", how),
        Measurement("asymmetry_index", "Asymmetry index", asymmetry, "", formula),
    ]


def _lesion_counts(lesions: list[Lesion], zones_known: bool, zone_rule: str) -> list[Measurement]:
    small, large = SIZES.value
    words = {"small": f"< {small} mm3", "medium": f"{small}-{large} mm3", "large": f"> {large} mm3"}
    clusters = "26-connected clusters"
    counts = [Measurement("lesion_count", "Lesions", len(lesions), "", clusters)]
    for size, limits in words.items():
        count = sum(lesion.size == size for lesion in lesions)
        counts.append(
            Measurement(
                f"lesion_count_{size}", f"Lesions, {size} ({limits})", count, "", f"{SIZES.source}. {SIZES.note}"
            )
        )
    for zone in ("periventricular", "deep"):
        count = sum(lesion.zone == zone for lesion in lesions) if zones_known else None
        counts.append(
            Measurement(
                f"lesion_count_{zone}", f"Lesions, {zone}", count, "", f"By the zone of most voxels. {zone_rule}"
            )
        )
    largest_ml = lesions[0].volume_ml if lesions else 0.0
    counts.append(
        Measurement("largest_lesion_volume", "Largest lesion, volume", largest_ml, "mL", f"{clusters}; {VOXELS}")
    )
    return counts


def _fazekas(grades: Fazekas, marker: Marker) -> list[Measurement]:
    caution = on_other_image("fazekas_geometry", marker.image)
    thickness = f"{THICKNESS.note}: {_limits(THICKNESS)}. {THICKNESS.source}{caution}"
    diameter = f"{DIAMETER.note}: {_limits(DIAMETER)}. {DIAMETER.source}{caution}"
    how_thick = (
        f"Farthest voxel from the ventricle of the lesions that reach it; {FARTHEST_MM:g} mm means at least that"
    )
    how_wide = f"Between outer pixel corners; parts of periventricular lesions count from {DIAMETER.value[0]:g} mm on"
    severe = cutoff("severe_total")
    agreement = "No two of the three readings (volume, geometry, likelihood) lie more than one grade apart"
    measured = [
        Measurement("fazekas_periventricular", "Fazekas, periventricular (0-3)", grades.periventricular, "", thickness),
        Measurement("fazekas_deep", "Fazekas, deep (0-3)", grades.deep, "", diameter),
        Measurement("fazekas_total", "Fazekas, total (0-6)", grades.total, "", "Periventricular + deep"),
        Measurement(
            "fazekas_severe",
            f"Fazekas, severe (total >= {SEVERE_TOTAL})",
            grades.severe,
            "",
            f"{severe.note}. {severe.source}",
        ),
        Measurement("periventricular_thickness", "Periventricular thickness", grades.thickness_mm, "mm", how_thick),
        Measurement(
            "deep_diameter", f"Largest deep {marker.short}, in-plane diameter", grades.diameter_mm, "mm", how_wide
        ),
        Measurement(
            "fazekas_volume_grade",
            "Overall Fazekas by total volume (0-3)",
            grades.volume_grade,
            "",
            f"{TOTAL_VOLUME.note}: {_limits(TOTAL_VOLUME)}. {TOTAL_VOLUME.source}"
            + on_other_image("fazekas_volume", marker.image),
        ),
    ]
    for zone, shares in (("periventricular", grades.likelihood_periventricular), ("deep", grades.likelihood_deep)):
        table = volume_by_grade(zone)
        for grade in table.grades:
            measured.append(
                Measurement(
                    f"fazekas_likelihood_{zone}_{grade.replace('-', '_')}",
                    f"Likelihood share of Fazekas {grade}, {zone}",
                    shares[grade] if shares else None,
                    "",
                    f"{zone.capitalize()} volume against patients of each grade, log-normal. {table.source}"
                    + on_other_image("fazekas_volume", marker.image),
                )
            )
    if grades.conflicts:
        agreement = " ".join(grades.conflicts)
    measured.append(Measurement("fazekas_agreement", "Fazekas readings agree", grades.agreement, "", agreement))
    return measured


def _uncertainty(index: float | None, marker: Marker) -> list[Measurement]:
    voxel, review = cutoff("uncertain_voxel"), cutoff("review")
    caution = on_other_image("uncertainty", marker.image)
    return [
        Measurement(
            "uncertainty_index",
            "Uncertainty index",
            f"no {marker.short}" if index is None else index,
            "",
            f"Share of lesion voxels with KL < {voxel.value} bit; it also grows as the volume falls. {voxel.source}"
            + caution,
        ),
        Measurement(
            "review_recommended",
            "Review recommended",
            index is not None and index >= review.value,
            "",
            f"Uncertainty index >= {review.value}. {review.note}. {review.source}{caution}",
        ),
    ]


def _limits(limit: Cutoff) -> str:
    return " / ".join(f"{value:g}" for value in limit.value) + f" {limit.unit}"
