"""True markers against what was found of them, threshold by threshold: the figures of ``judge_burden``.

A true lesion is a cluster of the drawn mask that has the sizes of its marker (STRIVE-2), measured by the engine's own
rules, and lacunes that touch are parted as the engine parts them. It is found when a candidate that counts meets it,
and found by half as MO-UNet counts (at least 50 % covered). A candidate is false when it meets no voxel with a trace of
the marker: what fills less than half of its voxels has no outline, but may be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from csvd.focal_result import FocalResult
from csvd.measure.agreement import concordance, dice, pearson
from csvd.measure.clusters import Clusters
from csvd.measure.lesions import MM3_PER_ML, lesion_table, size_class
from csvd.measure.reference import cutoff
from csvd.measure.slices import slice_axis
from csvd.measure.strive import LACUNE, MICROBLEED, PERIVASCULAR_SPACE, candidate_voxels, find_candidates
from csvd.measure.touching import necks
from csvd.measure.zones import periventricular
from csvd.result import Result
from csvd.sequences import SEQUENCE_OF

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
HALF = cutoff("hit_mounet").value
# Asked for: so many false candidates a scan at most, and at least this sensitivity and correlation.
FALSE_LIMIT = {MICROBLEED: 2.0, LACUNE: 1.0}
SENSITIVITY = {MICROBLEED: 0.8, LACUNE: 0.75, PERIVASCULAR_SPACE: 0.7}
CORRELATION = 0.9
WIDE_MM = 1.5  # perivascular spaces wider than this are asked for
# mm: equivalent diameters; of perivascular spaces the width. Limits are choices within the sizes of STRIVE-2.
SIZES = {MICROBLEED: (3.0, 5.0), LACUNE: (5.0, 8.0), PERIVASCULAR_SPACE: (WIDE_MM, 2.0)}


@dataclass(frozen=True)
class Lesion:
    """A drawn lesion: its class of size, its region, and how wide it is in mm (0 for hyperintensities)."""

    size: str
    region: str
    width_mm: float


@dataclass(frozen=True)
class Found:
    """What one threshold finds: the covered share of every drawn lesion, false candidates, and what counts."""

    covered: list[float]
    false: int
    count: int
    ml: float
    dice: float


@dataclass(frozen=True)
class Marked:
    """One marker of one scan; ``at`` is by ``str(threshold)``, as JSON keeps it."""

    lesions: list[Lesion]
    ml: float
    at: dict[str, Found]

    @classmethod
    def read(cls, kept: dict) -> Marked:
        """From ``dataclasses.asdict`` through JSON."""
        lesions = [Lesion(**row) for row in kept["lesions"]]
        return cls(lesions, kept["ml"], {key: Found(**row) for key, row in kept["at"].items()})


def compare_focal(truth: np.ndarray, result: FocalResult, traces: np.ndarray | None = None) -> Marked:
    """Drawn voxels, bool (i, j, k) on the grid of ``result``, against its candidates at every threshold.

    ``traces``, alike, are all voxels that hold some of the marker; those of ``truth`` unless given.
    """
    traces = truth if traces is None else traces
    marker, affine = result.marker, result.image.affine
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / MM3_PER_ML
    single = truth & ~necks(marker, truth, affine) if marker == LACUNE else truth
    all_drawn = find_candidates(marker, single, single.astype(np.float32), affine, regions=result.regions)
    drawn = [pair for pair in zip(all_drawn, candidate_voxels(single, affine), strict=True) if pair[0].counts]
    traced, at = traces.ravel(), {}
    for threshold in THRESHOLDS:
        found = result.remeasure(threshold=threshold)
        mask = found.mask
        flat = mask.ravel()
        counting = [where for c, where in zip(found.candidates, found.voxels, strict=True) if c.counts]
        at[str(threshold)] = Found(
            covered=[round(float(flat[where].mean()), 3) for _, where in drawn],
            false=sum(not traced[where].any() for where in counting),
            count=len(counting),
            ml=float(mask.sum() * voxel_ml),
            dice=dice(mask, truth),
        )
    lesions = [Lesion(size_of(marker, lesion), lesion.region or "none", lesion.shortest_mm) for lesion, _ in drawn]
    return Marked(lesions, float(truth.sum() * voxel_ml), at)


def compare_wmh(truth: np.ndarray, result: Result, traces: np.ndarray | None = None) -> Marked:
    """As ``compare_focal``, for hyperintensities, and at the threshold of ``result``; their sizes are those of Tiantan,
    their regions the two zones.
    """
    affine, spacing_mm = result.image.affine, result.image.spacing_mm
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / MM3_PER_ML
    traces = truth if traces is None else traces
    zones = periventricular(truth, result.distance_mm, result.parameters["pv_distance_mm"])
    lesions, at = [], {}
    for threshold in sorted({*THRESHOLDS, result.parameters["threshold"]}):
        mask = result.probability >= threshold
        drawn = lesion_table(truth, spacing_mm, affine, probability=mask.astype(np.float32), labels=zones)
        clusters = Clusters.of(mask, slice_axis(spacing_mm))
        at[str(threshold)] = Found(
            covered=[round(lesion.mean_probability, 3) for lesion in drawn],
            false=int(np.sum(clusters.mean(traces[clusters.index]) == 0)),
            count=clusters.count,
            ml=float(mask.sum() * voxel_ml),
            dice=dice(mask, truth),
        )
        lesions = [Lesion(size_class(lesion.volume_ml * MM3_PER_ML), lesion.zone, 0.0) for lesion in drawn]
    return Marked(lesions, float(truth.sum() * voxel_ml), at)


def size_of(marker: str, candidate) -> str:
    low, high = SIZES[marker]
    mm = candidate.shortest_mm if marker == PERIVASCULAR_SPACE else candidate.diameter_mm
    return f"under {low:g} mm" if mm < low else f"{low:g} to {high:g} mm" if mm < high else f"{high:g} mm or more"


# Over many scans


def sensitivity(scans: Iterable[Marked], threshold: float, chosen: Callable[[Lesion], bool], share=0.0) -> dict:
    """Found and drawn lesions of those ``chosen``, and their quotient, None where none was drawn."""
    pairs = [
        covered
        for scan in scans
        for lesion, covered in zip(scan.lesions, scan.at[str(threshold)].covered, strict=True)
        if chosen(lesion)
    ]
    found = sum(covered > 0 and covered >= share for covered in pairs)
    return {"found": found, "drawn": len(pairs), "share": round(found / len(pairs), 3) if pairs else None}


def asked_for(marker: str) -> Callable[[Lesion], bool]:
    """Which drawn lesions the demanded sensitivity is about."""
    return (lambda lesion: lesion.width_mm > WIDE_MM) if marker == PERIVASCULAR_SPACE else lambda lesion: True


def choose_threshold(marker: str, scans: Sequence[Marked]) -> float:
    """The threshold for a marker, from scans that are not reported on.

    Of hyperintensities the one with the best mean Dice. Of the others the best F1 among those with no more false
    candidates a scan than are asked for and at least the asked sensitivity; where none has both, among those with no
    more false ones, or at the fewest where all have more. Of equals the one with the best mean Dice, then the one
    nearest to .5.
    """

    def worth(threshold: float) -> tuple:
        at = [scan.at[str(threshold)] for scan in scans]
        outlined = float(np.mean([found.dice for found in at]))
        if marker not in SENSITIVITY:
            return (outlined,)
        hits = sensitivity(scans, threshold, lambda lesion: True)
        false = sum(found.false for found in at)
        over = max(false / len(at) - FALSE_LIMIT.get(marker, np.inf), 0)
        reached = (sensitivity(scans, threshold, asked_for(marker))["share"] or 0) >= SENSITIVITY[marker]
        return -over, reached, 2 * hits["found"] / max(hits["found"] + false + hits["drawn"], 1), outlined

    return max(THRESHOLDS, key=lambda threshold: (*worth(threshold), -abs(threshold - 0.5)))


def summary(marker: str, ill: Sequence[Marked], well: Sequence[Marked], threshold: float) -> dict:
    """The figures of one marker: patients with disease, and heads in which nothing was drawn."""
    at = [scan.at[str(threshold)] for scan in ill]
    clean = [scan.at[str(threshold)] for scan in well]
    wanted = asked_for(marker)
    true = {"volume": [scan.ml for scan in ill], "count": [len(scan.lesions) for scan in ill]}
    ours = {"volume": [found.ml for found in at], "count": [found.count for found in at]}
    drawn = [lesion for scan in ill for lesion in scan.lesions]
    by = {
        key: {
            name: sensitivity(ill, threshold, lambda lesion, key=key, name=name: getattr(lesion, key) == name)
            for name in sorted({getattr(lesion, key) for lesion in drawn})
        }
        for key in ("size", "region")
    }
    return {
        "sequence": SEQUENCE_OF[marker],
        "threshold": threshold,
        "sensitivity": sensitivity(ill, threshold, wanted),
        "sensitivity_by_half": sensitivity(ill, threshold, wanted, HALF),
        "false_per_scan": mean([found.false for found in at + clean]),
        "false_per_well_scan": mean([found.false for found in clean]),
        "mean_dice": mean([found.dice for found, ml in zip(at, true["volume"], strict=True) if ml > 0]),
        **{f"{what}_pearson": rounded(pearson(true[what], ours[what])) for what in true},
        **{f"{what}_ccc": rounded(concordance(true[what], ours[what])) for what in true},
        "mean_true_ml": mean(true["volume"]),
        "mean_found_ml": mean(ours["volume"]),
        "by_size": by["size"],
        "by_region": by["region"],
    }


def mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 3) if values else None


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
