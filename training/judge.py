"""Score a lesion model on the real scans: ``python -m training.judge wmh-seunet --data ../shared/data``.

Writes ``training/scores/<id>.json`` (which ``training.ship`` puts into the model card) and ``docs/accuracy.md``.
Nothing here was trained on. The plain rule beside it, FLAIR above k times the brain median inside the brain, gets the
k that suits these very scans best, so it is flattered.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from csvd.anatomy import find_anatomy
from csvd.bundle import Bundle, load_bundle
from csvd.image import Image, read_image
from csvd.measure.agreement import evaluate
from csvd.pipelines.wmh import segment_wmh
from csvd.result import Result

HERE = Path(__file__).parent
MS = "Lesjak et al. 2017, multiple sclerosis, 3D FLAIR, 1 mm MNI, skull-stripped"
FACTORS = np.arange(1.10, 1.81, 0.05)
THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
KEPT = ("dice", "hausdorff_95", "volume_difference_percent", "lesion_recall", "lesion_precision", "lesion_f1")


def agreement(mask: np.ndarray, truth: Image) -> dict[str, float]:
    values = {m.name: m.value for m in evaluate(mask, truth.voxels > 0, truth.spacing_mm)}
    return {name: round(float(values[name]), 3) for name in KEPT if values.get(name) is not None}


def volume_ml(mask: np.ndarray, image: Image) -> float:
    return round(float(np.count_nonzero(mask) * image.voxel_volume_ml), 2)


def judge_lesions(bundle: Bundle, data: Path) -> list[dict]:
    """The three scans with an expert-consensus truth: at the bundle's threshold, at others, and the plain rule."""
    rows, plain = [], {}
    for path in sorted((data / "flair_lesions").glob("patient*")):
        flair, truth = read_image(path / "FLAIR.nii.gz"), read_image(path / "lesions.nii.gz")
        result = segment_wmh(flair, bundle)
        row = {"scan": path.name, "truth_ml": volume_ml(truth.voxels > 0, truth), **summary(result)}
        row |= agreement(result.mask, truth)
        row["dice_at"] = {str(t): agreement(result.probability >= t, truth)["dice"] for t in THRESHOLDS}
        anatomy, _ = find_anatomy(flair)
        inside = anatomy.mask("brain", flair.grid)
        relative = flair.voxels / np.median(flair.voxels[anatomy.mask("tissue", flair.grid)])
        for factor in FACTORS:
            plain.setdefault(round(float(factor), 2), []).append(agreement(inside & (relative > factor), truth)["dice"])
        rows.append(row)
    best = max(plain, key=lambda factor: np.mean(plain[factor]))
    for row, dice in zip(rows, plain[best], strict=True):
        row["plain_rule"] = {"factor": best, "dice": dice}
    return rows


def summary(result: Result) -> dict[str, float]:
    names = ("total_volume", "periventricular_volume", "deep_volume", "uncertainty_index")
    return {
        name: round(value, 3) if isinstance(value := result.measurements[name].value, float) else value
        for name in names
    }


def judge_volumes(bundle: Bundle, paths: list[Path], root: Path) -> list[dict]:
    rows = []
    for path in paths:
        result = segment_wmh(read_image(path), bundle)
        outside = np.count_nonzero(result.mask & ~result.brain)
        name = str(path.relative_to(root)).removesuffix(".nii.gz")
        row = {"scan": name, **summary(result), "voxels_outside_brain": int(outside)}
        change = path.with_name("common_space_change.nii.gz")
        if change.exists():
            image = read_image(change)
            row["experts_change_ml"] = volume_ml(image.voxels > 0, image)
        rows.append(row)
    return rows


def judge(bundle: Bundle, data: Path) -> list[dict]:
    """Everything that is known of the model on real scans, as the rows of its card."""
    lesions = judge_lesions(bundle, data)
    healthy = [data / "healthy" / "wholehead_FLAIR.nii.gz", data / "healthy" / "HC0001_FLAIR_brain.nii.gz"]
    visits = sorted((data / "flair_longitudinal").glob("patient*/study*_FLAIR.nii.gz"))
    stroke = [data / "multisequence_stroke" / "FLAIR.nii.gz"]
    return [
        {
            "kind": "real scans with expert truth", "data": MS, "n": len(lesions),
            "mean_dice": round(float(np.mean([row["dice"] for row in lesions])), 3),
            "mean_dice_plain_rule": round(float(np.mean([row["plain_rule"]["dice"] for row in lesions])), 3),
            "threshold": bundle.threshold, "scans": lesions,
        },
        {"kind": "real healthy controls, no truth", "data": "one whole head, one brain-extracted", "n": len(healthy),
         "scans": judge_volumes(bundle, healthy, data)},
        {"kind": "real repeated visits, no full truth", "data": "Lesjak et al. 2016, MS, raw 3-4 mm FLAIR",
         "n": len(visits), "scans": judge_volumes(bundle, visits, data)},
        {"kind": "real scan with another disease, no truth", "data": "chronic stroke, 1 mm, brain-extracted", "n": 1,
         "scans": judge_volumes(bundle, stroke, data)},
    ]  # fmt: skip


def as_markdown(bundle: Bundle, scores: list[dict]) -> str:
    lines = [
        f"# Accuracy of `{bundle.id}` on real scans",
        "",
        "The model was trained on synthetic images only. The scans below are real and were never trained on; there are "
        "few of them, so read the figures as a first look and not as a validation. The threshold and the brightness "
        "above which a candidate is no fold of cortex were chosen while looking at these scans, so their figures are a "
        "little flattered. Made by `python -m training.judge`.",
        "",
        f"## {scores[0]['data']} (n = {scores[0]['n']}), threshold {scores[0]['threshold']}",
        "",
        "| scan | truth mL | found mL | Dice | HD95 mm | lesion recall | lesion precision | lesion F1 | "
        "uncertainty index | Dice at .3 / .4 / .5 / .6 | plain rule |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in scores[0]["scans"]:
        sweep = " / ".join(f"{value:.2f}" for value in row["dice_at"].values())
        names = ("hausdorff_95", "lesion_recall", "lesion_precision", "lesion_f1", "uncertainty_index")
        cells = [row["scan"], row["truth_ml"], row["total_volume"], f"**{row['dice']:.3f}**"]
        cells += [*(row[name] for name in names), sweep, f"{row['plain_rule']['dice']:.3f}"]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    factor = scores[0]["scans"][0]["plain_rule"]["factor"]
    lines += [
        "",
        f"Mean Dice **{scores[0]['mean_dice']:.3f}**; the plain rule, FLAIR > {factor} x brain median with the factor "
        f"that suits these scans best, {scores[0]['mean_dice_plain_rule']:.3f}.",
    ]
    for group in scores[1:]:
        lines += ["", f"## {group['kind'].capitalize()}: {group['data']} (n = {group['n']})", ""]
        columns = {
            "total mL": "total_volume",
            "periventricular mL": "periventricular_volume",
            "deep mL": "deep_volume",
            "uncertainty index": "uncertainty_index",
            "WMH voxels outside the brain": "voxels_outside_brain",
            "changed between the visits, experts, mL": "experts_change_ml",
        }
        columns = {title: name for title, name in columns.items() if name in group["scans"][0]}
        lines += ["| scan | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
        for row in group["scans"]:
            lines.append("| " + " | ".join([row["scan"], *(str(row[name]) for name in columns.values())]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="id or folder of a bundle")
    parser.add_argument("--data", type=Path, required=True, help="folder with the real scans")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.model)
    scores = judge(bundle, arguments.data)
    text = as_markdown(bundle, scores)
    print(text)
    if not arguments.dry:
        (HERE / "scores").mkdir(exist_ok=True)
        (HERE / "scores" / f"{bundle.id}.json").write_text(json.dumps(scores, indent=2) + "\n")
        (HERE.parent / "docs" / "accuracy.md").write_text(text)


if __name__ == "__main__":
    main()
