"""Score lesion models on the real scans: ``python -m training.judge --data ../shared/data [MODEL ...]``.

Measures the named bundles (all shipped ones when none is named), writes ``training/scores/<id>.json`` (which
``training.ship`` puts into the model card) and then, from the scores of all shipped bundles, ``docs/accuracy.md`` and
the table in the README. What is real and what was made of it is said in every row: the scans with a reference are
also given as thick slices, means of the same real voxels. No picture of ``flair_lesions`` and ``healthy`` was ever
trained on.

The plain rule beside it, FLAIR above k times the brain median inside the brain, gets the k that suits these very scans
best at each slice thickness, so it is flattered.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csvd.anatomy import MODEL as ANATOMY
from csvd.anatomy import find_anatomy
from csvd.bundle import Bundle, available_models, load_bundle
from csvd.errors import ModelError
from csvd.image import Image, read_image
from csvd.measure.agreement import dice, evaluate
from csvd.measure.clusters import Clusters
from csvd.measure.uncertainty import uncertainty_index
from csvd.pipelines.wmh import segment_wmh
from csvd.result import Result

from .change import judge_change
from .recipe import HERE
from .relations import relations

MS = "Lesjak et al. 2017, multiple sclerosis, 3D FLAIR, 1 mm MNI, skull-stripped"
CONTROLS = "one whole head, one brain-extracted"
VISITS = "Lesjak et al. 2016, multiple sclerosis, raw 3-4 mm FLAIR, two visits"
STROKE = "chronic stroke, 1 mm, brain-extracted"
WITH_TRUTH, HEALTHY = "real scans with expert truth", "real healthy controls, no truth"
REPEATED, PAIRS = "real repeated visits, no full truth", "change between two visits against the experts'"
OTHER, RELATION = "real scan with another disease, no truth", "uncertainty index against Dice and volume"

LESION_SLICES, HEALTHY_SLICES = (None, 3, 6), (None, 6)  # mm; None: as the scanner made them
FACTORS = np.arange(1.10, 1.81, 0.05)
SIZES_ML = (0.01, 0.05)  # choice: 10 and 50 voxels of the scans of 1 mm; tiny lesions are most that are missed
THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
KEPT = ("dice", "hausdorff_95", "volume_difference_percent", "lesion_recall", "lesion_precision", "lesion_f1")
SUMMARY = ("total_volume", "periventricular_volume", "deep_volume", "uncertainty_index")


@dataclass(frozen=True)
class Scan:
    """One real FLAIR as a model gets it: native, or its slices averaged to about ``slices_mm``."""

    path: Path
    slices_mm: float | None = None

    def read(self, path: Path) -> Image:
        image = read_image(path)
        return image if self.slices_mm is None else thickened(image, self.slices_mm)

    @property
    def flair(self) -> Image:
        return self.read(self.path)

    @property
    def reference(self) -> Path:
        return self.path.with_name("lesions.nii.gz")

    @property
    def has_truth(self) -> bool:
        return self.reference.exists()

    @property
    def truth(self) -> np.ndarray:
        """The experts' mask on the same grid: voxels of which at least half is lesion."""
        return self.read(self.reference).voxels >= 0.5


def thickened(image: Image, thickness_mm: float) -> Image:
    """Means of as many neighbouring slices as come nearest to ``thickness_mm``; what is left over at the end goes."""
    axis = image.grid.slice_axis
    count = max(1, round(thickness_mm / image.spacing_mm[axis]))
    slices = np.moveaxis(np.asarray(image.voxels, np.float32), axis, 0)
    whole = len(slices) // count
    means = slices[: whole * count].reshape(whole, count, *slices.shape[1:]).mean(1)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (count - 1) / 2
    affine[:3, axis] *= count
    return Image(np.ascontiguousarray(np.moveaxis(means, 0, axis)), affine, image.source)


def said(slices_mm: float | None) -> str:
    return "native" if slices_mm is None else f"slices averaged to {slices_mm} mm"


def lesion_scans(data: Path, slices_mm: float | None) -> list[Scan]:
    return [Scan(path / "FLAIR.nii.gz", slices_mm) for path in sorted((data / "flair_lesions").glob("patient*"))]


def healthy_scans(data: Path, slices_mm: float | None) -> list[Scan]:
    return [Scan(data / "healthy" / f"{name}.nii.gz", slices_mm) for name in ("wholehead_FLAIR", "HC0001_FLAIR_brain")]


# The plain rule


def relative_brain(flair: Image) -> np.ndarray:
    """FLAIR over the median of its brain tissue, 0 outside the brain."""
    anatomy, _ = find_anatomy(flair)
    level = np.median(flair.voxels[anatomy.mask("tissue", flair.grid)])
    return np.where(anatomy.mask("brain", flair.grid), flair.voxels / level, 0)


def plain_rule(data: Path, slices_mm: float | None) -> dict:
    """The factor with the best mean Dice over the scans with truth, and what it finds there and in the controls."""
    scans = lesion_scans(data, slices_mm)
    brains = [(relative_brain(scan.flair), scan.truth) for scan in scans]
    scores = {
        round(float(factor), 2): [round(dice(brain > factor, truth), 3) for brain, truth in brains]
        for factor in FACTORS
    }
    factor = max(scores, key=lambda k: np.mean(scores[k]))
    rule = {"factor": factor, "dice": {scan.path.parent.name: d for scan, d in zip(scans, scores[factor], strict=True)}}
    if slices_mm in HEALTHY_SLICES:
        flairs = [scan.flair for scan in healthy_scans(data, slices_mm)]
        rule["controls_ml"] = [volume_ml(relative_brain(flair) > factor, flair) for flair in flairs]
    return rule


# What a model finds


def volume_ml(mask: np.ndarray, image: Image) -> float:
    return round(float(np.count_nonzero(mask) * image.voxel_volume_ml), 2)


def agreement(mask: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, float | None]:
    values = {m.name: m.value for m in evaluate(mask, truth, spacing_mm)}
    return {name: None if values[name] is None else round(float(values[name]), 3) for name in KEPT}


def found_by_size(mask: np.ndarray, truth: np.ndarray, voxel_ml: float) -> list[list[int]]:
    """How many lesions of the reference the mask meets, of how many: up to each of ``SIZES_ML``, and larger ones."""
    lesions = Clusters.of(truth)
    met = lesions.mean(mask[lesions.index]) > 0
    size = np.searchsorted(np.add(SIZES_ML, voxel_ml / 2), lesions.voxels * voxel_ml)  # half a voxel: rounding
    return [[int(np.count_nonzero(met[size == i])), int(np.count_nonzero(size == i))] for i in range(len(SIZES_ML) + 1)]


def summary(result: Result) -> dict[str, float | None]:
    values = {name: result.measurements[name].value for name in SUMMARY}
    found = {name: round(v, 3) if isinstance(v, float) else None for name, v in values.items()}  # "no WMH" is none
    at_half = uncertainty_index(result.probability, result.probability >= 0.5)
    return {
        **found,
        "uncertainty_index_at_half": None if at_half is None else round(at_half, 3),
        "voxels_outside_brain": int(np.count_nonzero(result.mask & ~result.brain)),
    }


def judge_lesions(bundle: Bundle, data: Path, slices_mm: float | None, rule: dict) -> dict:
    """The scans with an expert-consensus truth: at the bundle's threshold, at others, and the plain rule."""
    rows = []
    for scan in lesion_scans(data, slices_mm):
        flair, truth, name = scan.flair, scan.truth, scan.path.parent.name
        result = segment_wmh(flair, bundle)
        row = {"scan": name, "truth_ml": volume_ml(truth, flair), **summary(result)}
        row |= agreement(result.mask, truth, flair.spacing_mm)
        row["found_by_size"] = found_by_size(result.mask, truth, flair.voxel_volume_ml)
        row["dice_at"] = {str(t): round(dice(result.probability >= t, truth), 3) for t in THRESHOLDS}
        row["plain_rule"] = {"factor": rule["factor"], "dice": rule["dice"][name]}
        rows.append(row)
    return {
        "kind": WITH_TRUTH, "data": MS, "slices": said(slices_mm), "n": len(rows),
        "mean_dice": round(float(np.mean([row["dice"] for row in rows])), 3),
        "mean_dice_plain_rule": round(float(np.mean(list(rule["dice"].values()))), 3),
        "threshold": bundle.threshold, "scans": rows,
    }  # fmt: skip


def judge_volumes(bundle: Bundle, scans: Sequence[Scan], root: Path) -> list[dict]:
    names = [str(scan.path.relative_to(root)).removesuffix(".nii.gz") for scan in scans]
    return [{"scan": name, **summary(segment_wmh(scan.flair, bundle))} for name, scan in zip(names, scans, strict=True)]


def judge_visits(bundle: Bundle, data: Path) -> list[dict]:
    """Volumes of every visit, and the change from the first to the second against the experts' mask of change."""
    visits, pairs = [], []
    for patient in sorted((data / "flair_longitudinal").glob("patient*")):
        results = [segment_wmh(read_image(patient / f"study{i}_FLAIR.nii.gz"), bundle) for i in (1, 2)]
        visits += [
            {"scan": f"flair_longitudinal/{patient.name}/study{i}", **summary(r)} for i, r in enumerate(results, 1)
        ]
        pairs.append({"patient": patient.name, **judge_change(patient, results)})
    return [
        {"kind": REPEATED, "data": VISITS, "slices": "native", "n": len(visits), "scans": visits},
        {"kind": PAIRS, "data": VISITS, "slices": "native", "n": len(pairs), "pairs": pairs},
    ]


def judge(bundle: Bundle, data: Path, rules: dict[float | None, dict]) -> list[dict]:
    """Everything that is known of the model on real scans, as the rows of its card."""
    scores = [judge_lesions(bundle, data, mm, rules[mm]) for mm in LESION_SLICES]
    for mm in HEALTHY_SLICES:
        rows = judge_volumes(bundle, healthy_scans(data, mm), data)
        rule = {"factor": rules[mm]["factor"], "total_volume": rules[mm]["controls_ml"]}
        scores.append(
            {"kind": HEALTHY, "data": CONTROLS, "slices": said(mm), "n": len(rows), "plain_rule": rule, "scans": rows}
        )
    scores += judge_visits(bundle, data)
    stroke = judge_volumes(bundle, [Scan(data / "multisequence_stroke" / "FLAIR.nii.gz")], data)
    scores.append({"kind": OTHER, "data": STROKE, "slices": "native", "n": len(stroke), "scans": stroke})
    truths = [group for group in scores if group["kind"] == WITH_TRUTH]
    native = [row for group in scores if group["slices"] == "native" for row in group.get("scans", [])]
    related = relations(truths, native)
    scores.append({"kind": RELATION, "data": MS, "slices": "all", "n": related["dice_native"]["n"], **related})
    scores[0]["weights"] = marks(bundle)
    return scores


def marks(bundle: Bundle) -> list[str]:
    """What the figures depend on: the first digits of checksums, of all weights that vote and of the anatomy's."""
    parts = [*(voter for voter, _ in bundle.voters()), load_bundle(ANATOMY)]
    return [row["sha256"][:8] for part in parts for row in part.card["weights"]]


def shipped() -> list[Bundle]:
    """Every bundle for lesions among the shipped models."""
    return [bundle for name in available_models() if (bundle := load_bundle(name)).card["task"] == "wmh"]


def main() -> None:
    from . import ledger

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*", help="ids or folders of bundles (default: all shipped ones)")
    parser.add_argument("--data", type=Path, required=True, help="folder with the real scans")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    arguments = parser.parse_args()
    bundles = [load_bundle(model).require("wmh") for model in arguments.model] or shipped()
    rules = {mm: plain_rule(arguments.data, mm) for mm in LESION_SLICES}
    for bundle in bundles:
        try:
            scores = judge(bundle, arguments.data, rules)
        except ModelError as error:  # a package that this model needs is not installed
            if arguments.model:
                raise
            print(f"{bundle.id} was left out. {error}", flush=True)
            continue
        print(ledger.one_model(bundle, scores), flush=True)
        if not arguments.dry:
            (HERE / "scores").mkdir(exist_ok=True)
            (HERE / "scores" / f"{bundle.id}.json").write_text(json.dumps(scores, indent=2) + "\n")
    if not arguments.dry:
        ledger.write()


if __name__ == "__main__":
    main()
