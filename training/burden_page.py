"""The page and pictures of ``judge_burden``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from csvd.bundle import Bundle
from csvd.burden_result import WMH, BurdenResult
from csvd.measure.strive import DEFINITIONS
from csvd.sequences import SEQUENCE_OF, TITLES

from .findings import CORRELATION, FALSE_LIMIT, SENSITIVITY, WIDE_MM
from .recipe import read_recipe
from .tables import number, table

FIGURE = "figures/burden_examples.png"
NAMES = {WMH: "White matter hyperintensities"} | {marker: rule.title for marker, rule in DEFINITIONS.items()}
CONTROL_WMH_ML, CONTROL_LACUNES = 1.5, 1  # asked for: the WMH model's own limit, and one candidate
CROP_MM = 45.0  # side of a picture of a candidate
SHOWN = 8  # candidates of each marker in a picture
DRAWN, FOUND = "deepskyblue", "red"  # outlines
GREYS = 24  # of a saved figure, so that it stays small; its other colours are those of the outlines and of their edges


def share(hits: dict) -> str:
    return f"{number(hits['share'], 2)} ({hits['found']} of {hits['drawn']})"


def verdict(reached: bool | None) -> str:
    return "" if reached is None else "yes" if reached else "**no**"


def asked(marker: str, row: dict) -> list[dict]:
    """What was asked for of a marker, what it is, and whether it is reached."""
    rows = []
    if marker in SENSITIVITY:
        which = f" wider than {WIDE_MM:g} mm" if marker == "perivascular_space" else ""
        reached = row["sensitivity"]["share"]
        rows.append({
            "asked": f"{NAMES[marker]}{which}: sensitivity at least {SENSITIVITY[marker]:.2f}",
            "is": share(row["sensitivity"]), "reached": None if reached is None else reached >= SENSITIVITY[marker],
        })  # fmt: skip
    if marker in FALSE_LIMIT:
        rows.append({
            "asked": f"{NAMES[marker]}: at most {FALSE_LIMIT[marker]:g} false candidates a scan",
            "is": number(row["false_per_scan"], 2), "reached": row["false_per_scan"] <= FALSE_LIMIT[marker],
        })  # fmt: skip
    best = max(row[f"{what}_pearson"] or 0 for what in ("volume", "count"))
    rows.append({
        "asked": f"{NAMES[marker]}: volume or count correlation at least {CORRELATION:g}",
        "is": f"{number(row['volume_pearson'], 2)} / {number(row['count_pearson'], 2)}", "reached": best >= CORRELATION,
    })  # fmt: skip
    return rows


def by(figures: dict[str, dict], key: str) -> str:
    rows = [
        {"marker": NAMES[marker], "class": name, **hits}
        for marker, row in figures.items()
        for name, hits in row[f"by_{key}"].items()
    ]
    return table({"marker": lambda r: r["marker"], key: lambda r: r["class"], "sensitivity": share}, rows)


def as_markdown(
    bundle: Bundle, models: dict[str, Bundle], patients: Sequence, figures: dict[str, dict], real: Sequence[dict]
) -> str:
    """The page; ``models`` are those for single markers (``pipelines.burden.marker_models``)."""
    reported = [patient for patient in patients if not patient.choosing]
    own = [NAMES[marker] for marker in NAMES if marker not in models]
    seen_by = [f"{NAMES[marker]} are found by {model.id} {model.card['version']}" for marker, model in models.items()]
    seen_by += [f"{', '.join(own)} by the decoders of {bundle.id} {bundle.card['version']}"] if own else []
    used = {model.id: model for model in (bundle, *models.values())}.values()
    trained = "; ".join(f"{model.id}: {steps_of(model)}" for model in used if steps_of(model))
    heads = {patient.head for patient in patients}
    knowing = [model.id for model in used if learned_from(model, heads)]
    exception = f"; {' and '.join(knowing)} learned from other slices of them" if knowing else ""
    columns = {
        "marker": lambda r: f"{NAMES[r['marker']]} ({TITLES[r['sequence']]})",
        "threshold": lambda r: f"{r['threshold']:g}",
        "sensitivity, any overlap": lambda r: share(r["sensitivity"]),
        "half covered": lambda r: number(r["sensitivity_by_half"]["share"], 2),
        "false a scan": lambda r: number(r["false_per_scan"], 2),
        "false where nothing is": lambda r: number(r["false_per_well_scan"], 2),
        "Dice": lambda r: number(r["mean_dice"], 2),
        "volume r / CCC": lambda r: f"{number(r['volume_pearson'], 2)} / {number(r['volume_ccc'], 2)}",
        "count r / CCC": lambda r: f"{number(r['count_pearson'], 2)} / {number(r['count_ccc'], 2)}",
        "drawn / found, mL": lambda r: f"{number(r['mean_true_ml'], 2)} / {number(r['mean_found_ml'], 2)}",
    }
    wanted = {"asked": lambda r: r["asked"], "is": lambda r: r["is"], "reached": lambda r: verdict(r["reached"])}
    scans = {
        "scan": lambda r: r["scan"] + (" (control)" if r["control"] else ""),
        "WMH, mL": lambda r: number(r[WMH], 2),
        "lacunes": lambda r: number(r["lacune"], 0),
        "perivascular spaces": lambda r: number(r["perivascular_space"], 0),
        "control's limits kept": lambda r: verdict(kept_to_limits(r) if r["control"] else None),
    }
    lines = [
        "# The four markers on synthetic patients",
        "",
        "**These patients are synthetic**: FLAIR (5 mm slices), T1 (about 1 mm) and SWI (2.5 mm), each with the head "
        "lying elsewhere, drawn from label maps of BBillot/SynthSeg (Apache-2.0; Billot et al., Med Image Anal 2023) "
        "of heads that the networks never saw "
        f"({', '.join(sorted(heads))}{exception}). They say how far the networks do what they "
        "learned, **not how well it reads a real scan**: no real microbleed, lacune or perivascular space with an "
        "outline, and no SWI of a whole brain, is to be had here. "
        f"{'; '.join(seen_by)}. Training: {trained}. SWIs are drawn as docs/synthetic_burden.md "
        "says; figures of microbleeds before version 0.4 are of other, blurred ones. Published networks that learned "
        "from real patients find 67 to 90 % of microbleeds at .5 to 3 false ones a scan; for lacunes the VALDO "
        "challenge calls none practical yet.",
        "",
        f"{len(patients)} patients, {sum(patient.well for patient in patients)} of them without any marker; "
        f"{len(patients) - len(reported)} chose the thresholds and the other {len(reported)} are reported. All figures "
        "are through the whole pipeline: checks, anatomy, registration, network, STRIVE-2 sizes. A threshold has the "
        "best F1 of those with no more false candidates than were asked for and the sensitivity that was, where any "
        "has both; hyperintensities have that of the model that outlines them. That rule replaced another (the most "
        "finds within the false candidates that were asked for) when figures of either half were known. "
        "A drawn lesion counts when the rules of the engine measure it as its marker on the scan's own voxels "
        "(lacunes that touch are parted, drawn or found); "
        "it is found when a candidate that counts meets it; "
        "a candidate is false when it meets no voxel that holds some of the marker. Infarcts are not drawn. "
        "Made by `python -m training.judge_burden`.",
        "",
        table(columns, [{"marker": marker, **row} for marker, row in figures.items()]),
        "",
        f"Sensitivity of perivascular spaces above is of those wider than {WIDE_MM:g} mm, as measured on the voxels of "
        "the T1: a space of less than a voxel is a voxel wide there.",
        "",
        table(wanted, [line for marker, row in figures.items() for line in asked(marker, row)]),
        "",
        f"![Drawn and found]({FIGURE})",
        "",
        "One patient: drawn (blue) and found (red).",
        "",
        "## By size",
        "",
        by(figures, "size"),
        "",
        "Equivalent diameter of microbleeds and lacunes, width of perivascular spaces; hyperintensities small, medium "
        "and large as in Shan 2021 (under 20, 20 to 150, over 150 mm3).",
        "",
        "## By region",
        "",
        by(figures, "region"),
        "",
        "Regions as the pipeline finds them (MARS, Potter), lobes as a whole.",
        "",
        "## Real scans",
        "",
        "What is found where no reference is: of the controls everything is probably false, of the others (a chronic "
        "stroke, three patients with multiple sclerosis) nobody knows. None has an SWI. A control keeps its limits "
        f"with at most {CONTROL_LACUNES} lacune and no more than {CONTROL_WMH_ML:g} mL of hyperintensities. "
        "Pictures of the candidates stay in `training/runs/judge-burden`, as nothing from a patient is kept here.",
        "",
        table(scans, real),
    ]
    return "\n".join(lines) + "\n"


def learned_from(model: Bundle, heads: set[str]) -> bool:
    """Whether a network of a model learned from any of these heads."""
    runs = [run["recipe"] for voter, _ in model.voters() for run in voter.card["training"].get("runs", [])]
    return any(not heads <= set(read_recipe(run).get("exclude", ())) for run in runs)


def steps_of(model: Bundle) -> str:
    """How far a burden model or one for foci was trained; empty for one that has a page of its own."""
    runs = model.card["training"].get("runs", []) if model.card["task"] != "wmh" else []
    return ", ".join(f"{run['steps']} steps of `{run['recipe']}`" for run in runs)


def kept_to_limits(row: dict) -> bool:
    return row[WMH] <= CONTROL_WMH_ML and (row["lacune"] or 0) <= CONTROL_LACUNES


# Pictures


def draw_examples(shown: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]], path: Path) -> None:
    """Title, picture, drawn and found mask, (R, A) each, as one figure."""
    columns = max(sum(title == other for other, *_ in shown) for title, *_ in shown)
    figure, axes = grid_of(len({title for title, *_ in shown}), columns)
    for axis, (title, picture, drawn, found) in zip(axes.flat, shown, strict=False):
        show(axis, picture, NAMES[title])
        outline(axis, drawn, DRAWN)
        outline(axis, found, FOUND)
    save(figure, path)


def draw_candidates(result: BurdenResult, path: Path) -> None:
    """The likeliest candidates of every marker that counts, and the slices with most hyperintensities."""
    figure, axes = grid_of(len(result.markers), SHOWN)
    for row, (marker, found) in zip(axes, result.markers.items(), strict=True):
        image = result.sequences[SEQUENCE_OF[marker]]
        axis_of_slices = image.grid.slice_axis
        if marker == WMH:
            sums = found.mask.sum(tuple({0, 1, 2} - {axis_of_slices}))
            places = [(k, None, f"slice {k}") for k in np.argsort(-sums)[: 3 * SHOWN : 3] if sums[k]]
        else:
            likely = sorted((c for c in found.candidates if c.counts), key=lambda c: -c.mean_probability)[:SHOWN]
            to_voxel = np.linalg.inv(image.affine)
            centres = [np.rint(to_voxel[:3] @ [*c.centroid_mm, 1]).astype(int) for c in likely]
            places = [
                (at[axis_of_slices], np.delete(at, axis_of_slices), f"{c.diameter_mm:.1f} mm, {c.region}")
                for c, at in zip(likely, centres, strict=True)
            ]
        spacing = np.delete(image.spacing_mm, axis_of_slices)
        for axis, (k, centre, title) in zip(row, places, strict=False):
            picture, mask = (np.take(v, k, axis_of_slices) for v in (image.voxels, found.mask))
            if centre is not None:
                reach = np.ceil(CROP_MM / 2 / spacing).astype(int)
                box = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(centre, reach, strict=True))
                picture, mask = picture[box], mask[box]
            show(axis, picture, f"{NAMES[marker].split()[0]}: {title}", spacing[1] / spacing[0])
            outline(axis, mask, FOUND)
    save(figure, path)


def grid_of(rows: int, columns: int):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(1.6 * columns, 1.9 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    return figure, axes


def show(axis, picture: np.ndarray, title: str, aspect: float = 1.0) -> None:
    positive = picture[picture > 0]
    high = np.percentile(positive, 99.5) if positive.size else 1
    axis.imshow(picture.T, cmap="gray", vmin=0, vmax=high, origin="lower", aspect=aspect)
    axis.set_title(title, fontsize=5)


def outline(axis, mask: np.ndarray, colour: str) -> None:
    if mask.any():
        axis.contour(mask.T, [0.5], colors=colour, linewidths=0.5)


def save(figure, path: Path) -> None:
    """As a PNG of few colours, whose greys are grey."""
    from matplotlib import pyplot as plt
    from matplotlib.colors import to_rgb
    from PIL import Image as Picture

    content = io.BytesIO()
    figure.tight_layout(pad=0.3)
    figure.savefig(content, format="png", dpi=90)
    plt.close(figure)
    edges = [
        np.array(to_rgb(line)) * share + grey * (1 - share)
        for line in (DRAWN, FOUND)
        for share, grey in ((1, 0), *((share, grey) for share in (0.35, 0.7) for grey in (0, 0.5, 1)))
    ]
    palette = Picture.new("P", (1, 1))
    colours = [*(np.full(3, grey) for grey in np.linspace(0, 1, GREYS)), *edges]
    palette.putpalette(np.rint(255 * np.concatenate(colours)).astype(int).tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Picture.open(content).convert("RGB").quantize(palette=palette, dither=Picture.Dither.NONE)
    picture.save(path, optimize=True)
