"""How the scores are written: ``docs/accuracy.md`` and the table between the README's accuracy markers.

``training.judge`` calls this after measuring; ``python -m training.ledger`` writes both again from the scores as they
are, for example after ``training/ablations.json`` got a new row. Only shipped bundles appear.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from csvd.bundle import Bundle
from csvd.measure.uncertainty import REVIEW_LIMIT

from .judge import HEALTHY, OTHER, PAIRS, RELATION, REPEATED, WITH_TRUTH, marks, shipped
from .recipe import HERE, read_recipe
from .tables import CHANGE, OUTLINES, VOLUMES, between_markers, flat, groups, number, several, table

ACCURACY, README = HERE.parent / "docs" / "accuracy.md", HERE.parent / "README.md"
ABLATIONS = {"what", "mean_dice_1mm", "mean_dice_3mm", "mean_dice_6mm", "controls_ml", "helped", "note"}
KIM_R, KIM_REVIEWS = -0.753, 0.14  # of index and Dice; share of the scans at .35 or above (Kim et al., AJNR 2024)

INTRODUCTION = """# Accuracy on real scans

The scans below are real, and there are few of them: read the figures as a first look and not as a validation. Three
patients have a reference; the rows of thicker slices are **the same three scans with their slices averaged** to about
3 and 6 mm (reference: voxels of which at least half is lesion), so they are no further patients. The members of the
ensemble, the slabs of 3 mm, the threshold and the brightness above which a candidate is no fold of cortex were chosen
while looking at these scans, so the figures are a little flattered. Lesion recall, precision and F1 count 26-connected
lesions, any overlap is a hit; the Hausdorff
distance is the 95 % one (MICCAI WMH challenge). The uncertainty index counts voxels from the model's threshold on and,
in brackets, from .5 on as in the paper that proposed it (Kim et al., AJNR 2024); a lower threshold raises it, as every
voxel below .89 counts as unsure.

Made by `python -m training.judge --data ../shared/data`."""


# What is said of one model


def one_model(bundle: Bundle, scores: Sequence[dict]) -> str:
    """The section of one model: every real scan, what changed between visits, and the uncertainty index."""
    truths, healthy = groups(scores, WITH_TRUTH), groups(scores, HEALTHY)
    lines = [f"## `{bundle.id}`", "", about(bundle)]
    if scores[0].get("weights") != marks(bundle):
        lines += [
            "",
            "**These figures are of other weights of this model or of the anatomy model: run `training.judge` again.**",
        ]
    lines += [
        "", f"### {truths[0]['data']} (n = {truths[0]['n']} patients), threshold {truths[0]['threshold']:g}", "",
        table(OUTLINES, flat(truths)), "", means(truths),
        "", f"### {HEALTHY.capitalize()}: {healthy[0]['data']} (n = {healthy[0]['n']})", "",
        table(VOLUMES, flat(healthy)), "", controls(healthy),
    ]  # fmt: skip
    for kind, columns, key in ((REPEATED, VOLUMES, "scans"), (PAIRS, CHANGE, "pairs"), (OTHER, VOLUMES, "scans")):
        (group,) = groups(scores, kind)
        lines += ["", f"### {kind.capitalize()}: {group['data']} (n = {group['n']})", ""]
        lines += [table(columns, flat([group], key))]
        if kind == PAIRS:
            lines += ["", change_in_words(group["pairs"])]
    lines += ["", "### Does the uncertainty index tell a bad outline?", "", *uncertainty_in_words(scores)]
    return "\n".join(lines) + "\n"


def learned_from_real(bundle: Bundle) -> bool:
    """Whether a run of this bundle learned from real scans, without labels, through a teacher."""
    names = [run["recipe"] for voter, _ in bundle.voters() for run in voter.card["training"].get("runs", [])]
    return any("teacher" in read_recipe(name) for name in names if (HERE / "recipes" / f"{name}.json").exists())


def about(bundle: Bundle) -> str:
    told = f"{bundle.card['title']}. {bundle.card['training'].get('summary', '')}"
    if learned_from_real(bundle):
        return told + (
            " **The scans of repeated visits and the stroke were among its training pictures** (unlabelled, with an "
            "earlier model's answers), so its figures on them are no test; the scans with a reference and the "
            "healthy controls were not."
        )
    return told + " No scan below was trained on."


def means(truths: Sequence[dict]) -> str:
    told = [
        f"{group['slices']} **{group['mean_dice']:.3f}** (plain rule, FLAIR > "
        f"{group['scans'][0]['plain_rule']['factor']:g} x brain median: {group['mean_dice_plain_rule']:.3f})"
        for group in truths
    ]
    return f"Mean Dice: {'; '.join(told)}. The plain rule's factor is the best for these very scans at each thickness."


def controls(healthy: Sequence[dict]) -> str:
    told = [
        f"{group['slices']} {several(group['plain_rule']['total_volume'], 1, ' and ')} mL "
        f"(factor {group['plain_rule']['factor']:g})"
        for group in healthy
    ]
    return f"The plain rule finds in them: {'; '.join(told)}."


def change_in_words(pairs: Sequence[dict]) -> str:
    clear = [row for row in pairs if row["sign"] != "unclear"]
    agreed = sum(row["same_sign"] == "yes" for row in clear)
    aligned = [row["aligned_r"] for row in pairs]
    return (
        "Experts marked where lesions changed in a common space, not in which direction. Our change is the mask of "
        "visit 2 XOR that of visit 1, carried there; every wandering outline counts, between scanners of different "
        "slice thickness too, which is why it is so large. Brighter and darker: components of the experts' mask "
        "whose FLAIR over brain median moved by more than .05 on average; the sign is unclear where the smaller "
        f"part is more than a third of the larger. **Our volume moved in the experts' direction in {agreed} of the "
        f"{len(clear)} pairs in which that direction is clear**; {len(pairs) - len(clear)} of {len(pairs)} are "
        f"unclear. FLAIRs of the pairs correlate with r = {min(aligned):.2f} to {max(aligned):.2f} once carried "
        "there, so the transforms were read in the right direction."
    )


def uncertainty_in_words(scores: Sequence[dict]) -> list[str]:
    truths, (found,) = groups(scores, WITH_TRUTH), groups(scores, RELATION)
    columns = {
        "index against": lambda r: r["what"],
        "n": lambda r: f"{r['n']} scans of {r['people']} people",
        "r": lambda r: number(r["r"], 3),
        "abs(r) needed at p = .05": lambda r: number(r["critical_r"], 3),
    }
    rows = [
        {"what": what, **found[name]}
        for what, name in (
            ("Dice, native slices", "dice_native"),
            ("Dice, all slice thicknesses", "dice_all_slices"),
            ("log10 of the true mL, native slices", "log_truth_ml_native"),
            ("log10 of the true mL, all slice thicknesses", "log_truth_ml_all_slices"),
            ("log10 of the mL found, every native scan", "log_found_ml_every_native_scan"),
        )
    ]
    native = [row for group in scores if group["slices"] == "native" for row in group.get("scans", [])]
    return [table(columns, rows), "", gate_in_words(flat(truths), found), "", reviews_in_words(native)]


def gate_in_words(rows: Sequence[dict], found: dict) -> str:
    """Both sides of the index from which a report asks for a review, and what so few patients can say of it."""
    sides = {"below": [], "at or above": []}
    for row in rows:
        if row["uncertainty_index"] is not None:
            sides["below" if row["uncertainty_index"] < REVIEW_LIMIT else "at or above"].append(row)
    told = [
        f"{side} it are {len(side_rows)} scans of {len({row['scan'] for row in side_rows})} patients"
        + (f" with a mean Dice of {np.mean([row['dice'] for row in side_rows]):.2f}" if side_rows else "")
        for side, side_rows in sides.items()
    ]
    return (
        "Thick slices and second visits are repeated measures of the same people, so no test is made over them. The "
        f"gate for a review is an index of {REVIEW_LIMIT:g}: {'; '.join(told)}. **{found['n']} patients cannot confirm "
        "that gate**, whatever r is: they differ in lesion load from light to heavy, and the index goes with log "
        f"volume (r = {number(found['log_truth_ml_native']['r'], 2)}) as it goes with Dice (r = "
        f"{number(found['dice_native']['r'], 2)}), so it may only be telling that there is little to outline. To tell "
        f"the published r of {KIM_R:g} with Dice from 0 (80 % power, p = .05) it takes about {patients_needed(KIM_R)} "
        "patients with a reference, and to part it from volume more, of like volume."
    )


def reviews_in_words(rows: Sequence[dict]) -> str:
    """How many native scans the gate sends to a reader, with the index as shipped and as published."""
    shipped_index, at_half = (
        sum(row[name] is not None and row[name] >= REVIEW_LIMIT for row in rows)
        for name in ("uncertainty_index", "uncertainty_index_at_half")
    )
    return (
        f"Of the {len(rows)} native scans on this page that gate sends {shipped_index} to a review, and {at_half} "
        f"where the index counts from .5 on as in the paper; there it was {100 * KIM_REVIEWS:.0f} % of the scans, with "
        "other patients and another model. So the gate does not mean here what it means there."
    )


def patients_needed(r: float) -> int:
    """Patients for which Fisher's z of ``r`` differs from 0 with 80 % power at a two-sided p of .05."""
    return int(np.ceil(((1.960 + 0.842) / np.arctanh(abs(r))) ** 2 + 3))


# What is said of all


def overview(rated: Sequence[tuple[Bundle, Sequence[dict]]]) -> str:
    """One row for each model and one for the plain rule; the README shows it too."""
    rows = [
        {
            "model": f"`{bundle.id}`",
            "dice": [[row["dice"] for row in group["scans"]] for group in groups(scores, WITH_TRUTH)],
            "controls": [row["total_volume"] for row in groups(scores, HEALTHY)[0]["scans"]],
            "mb": f"{sum(row['bytes'] for voter, _ in bundle.voters() for row in voter.card['weights']) / 1e6:.1f}",
        }
        for bundle, scores in rated
    ]
    scores = rated[0][1]
    rows.append(
        {
            "model": "plain rule",
            "dice": [[row["plain_rule"]["dice"] for row in g["scans"]] for g in groups(scores, WITH_TRUTH)],
            "controls": groups(scores, HEALTHY)[0]["plain_rule"]["total_volume"],
            "mb": "",
        }
    )
    titles = ("native 1 mm", "averaged to 3 mm", "averaged to 6 mm")
    columns = {"model": lambda r: r["model"]}
    for i, title in enumerate(titles):
        columns[f"Dice, {title}"] = lambda r, i=i: f"**{np.mean(r['dice'][i]):.2f}** ({span(r['dice'][i])})"
    columns["healthy controls mL"] = lambda r: several(r["controls"], 1, " and ")
    columns["MB"] = lambda r: r["mb"]
    return table(columns, rows)


def span(values: Sequence[float]) -> str:
    return f"{min(values):.2f}-{max(values):.2f}"


def read_ablations(path: Path = HERE / "ablations.json") -> list[dict]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        if set(row) != ABLATIONS:
            raise ValueError(f"{path}: {row.get('what')}: a row has the keys {sorted(ABLATIONS)}.")
    return rows


def ablations(rows: Sequence[dict]) -> str:
    columns = {
        "what was tried": lambda r: r["what"],
        "mean Dice 1 / 3 / 6 mm": lambda r: several((r[f"mean_dice_{mm}mm"] for mm in (1, 3, 6)), 3),
        "healthy controls mL": lambda r: several(np.atleast_1d(r["controls_ml"]).tolist(), 1, " and "),
        "helped": lambda r: {True: "yes", False: "no", None: "-"}[r["helped"]],
        "note": lambda r: r["note"],
    }
    return table(columns, rows)


def accuracy(rated: Sequence[tuple[Bundle, Sequence[dict]]], missing: Sequence[str], tried: Sequence[dict]) -> str:
    """The whole page; ``missing`` are shipped models without scores."""
    lines = [
        INTRODUCTION,
        "",
        "## All models",
        "",
        "Mean Dice (lowest-highest) of the three scans with a reference.",
        "",
    ]
    lines += [overview(rated), ""]
    if missing:
        lines += [f"Not judged yet: {', '.join(f'`{name}`' for name in missing)}.", ""]
    lines += [one_model(bundle, scores) for bundle, scores in rated]
    lines += [
        "## What helped and what did not",
        "",
        "Measured on the way, each on the same few scans; - is not measured.",
        "",
    ]
    return "\n".join([*lines, ablations(tried)]) + "\n"


def write(scores: Path = HERE / "scores", page: Path = ACCURACY, readme: Path = README) -> None:
    bundles = shipped()
    files = {bundle.id: scores / f"{bundle.id}.json" for bundle in bundles}
    rated = [(b, json.loads(files[b.id].read_text(encoding="utf-8"))) for b in bundles if files[b.id].exists()]
    missing = [b.id for b in bundles if not files[b.id].exists()]
    page.write_text(accuracy(rated, missing, read_ablations()), encoding="utf-8")
    text = between_markers(readme.read_text(encoding="utf-8"), "accuracy", overview(rated))
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
