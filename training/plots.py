"""The figures of ``docs/synthetic.md``, and the page with real slices that stays outside the repository."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image as Picture

from .appearance import EDGE_MM, LAGS_MM
from .compare import AVERAGED, LEVELS, MASKS, SYNTHETIC, SYNTHETIC_THIN, THICK, THIN, Sample, pooled

COLOUR = {  # Okabe and Ito: told apart by every kind of colour vision
    SYNTHETIC: "#7f7f7f", SYNTHETIC_THIN: "#b3b3b3",
    THIN: "#0072b2", THICK: "#d55e00", AVERAGED: "#009e73", MASKS: "#0072b2",
}  # fmt: skip
WHITE = 2.2  # times the brain median
CROP = (148, 180)  # pixels of a picture along R and A
STYLE = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11,
    "axes.titlelocation": "left", "legend.frameon": False, "figure.dpi": 110,
}  # fmt: skip
COLOURS = 128  # of a saved figure, so that it stays small


def draw(samples: Sequence[Sample], tables: Sequence[dict], folder: Path) -> None:
    """All figures of the page into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    titles = {row["key"]: row["title"] for section in tables for row in section["rows"]}
    with plt.rc_context(STYLE):
        contrast = [row["key"] for section in tables if section["figure"] == "contrast" for row in section["rows"]]
        save(intensity(samples), folder / "flair_intensity.png")
        save(intervals(samples, contrast, titles, "over normal white matter"), folder / "flair_contrast.png")
        save(edge(samples), folder / "flair_edge.png")
        save(texture(samples), folder / "flair_texture.png")
        save(sizes(samples), folder / "flair_sizes.png")
    write_picture(synthetic_page(samples[0]), folder / "flair_slices.png")


def save(figure: plt.Figure, path: Path) -> None:
    """As a PNG of few colours."""
    content = io.BytesIO()
    figure.savefig(content, format="png", bbox_inches="tight")
    plt.close(figure)
    picture = Picture.open(content).convert("RGB")
    picture.quantize(COLOURS, dither=Picture.Dither.NONE).save(path, optimize=True)


# Statistics


def band(axis: plt.Axes, x: np.ndarray, curves: Sequence[np.ndarray], label: str) -> None:
    """Median and 5 to 95 % of the synthetic curves; points where few slices have a value are left out."""
    curves = np.array(curves)
    known = np.mean(~np.isnan(curves), 0) > 0.2
    low, median, high = np.nanpercentile(curves[:, known], (5, 50, 95), axis=0)
    axis.fill_between(x[known], low, high, color=COLOUR[SYNTHETIC], alpha=0.25, lw=0, label=f"{label}, 5 to 95 %")
    axis.plot(x[known], median, color=COLOUR[SYNTHETIC], lw=2, label=f"{label}, median")


def lines(axis: plt.Axes, x: np.ndarray, samples: Sequence[Sample], curves: Callable, groups: Sequence[str]) -> None:
    """One median curve for each real scan, coloured by group."""
    for group in groups:
        label = f"{group}, each scan"
        for sample in samples:
            if sample.group == group and curves(sample):
                found = np.array(curves(sample))
                known = np.mean(~np.isnan(found), 0) > 0.2
                axis.plot(x[known], np.nanmedian(found[:, known], 0), color=COLOUR[group], lw=1, alpha=0.8, label=label)
                label = None


def intensity(samples: Sequence[Sample]) -> plt.Figure:
    figure, axis = plt.subplots(figsize=(8, 3.8))
    centres = (LEVELS[:-1] + LEVELS[1:]) / 2
    band(axis, centres, samples[0].histograms, SYNTHETIC)
    lines(axis, centres, samples, lambda s: s.histograms, (THIN, THICK))
    axis.set(xlabel="intensity over brain median", ylabel="density", xlim=(0, 2.2), ylim=(0, None))
    axis.legend()
    return figure


def intervals(samples: Sequence[Sample], keys: Sequence[str], titles: dict[str, str], unit: str) -> plt.Figure:
    """Median and 5 to 95 % of every measure, one line for each group."""
    figure, axis = plt.subplots(figsize=(8, 0.68 * len(keys) + 0.9))
    groups = (SYNTHETIC, SYNTHETIC_THIN, THIN, THICK, AVERAGED)
    for i, key in enumerate(keys):
        for j, group in enumerate(groups):
            values = pooled(samples, group, key)
            if len(values):
                low, median, high = np.percentile(values, (5, 50, 95))
                y = -i + 0.32 - 0.16 * j
                width = 2.5 if group.startswith("real") else 5
                axis.plot((low, high), (y, y), color=COLOUR[group], lw=width, solid_capstyle="butt", alpha=0.75)
                axis.plot(median, y, "o", color=COLOUR[group], ms=5, mec="white", mew=0.7)
    for group in groups:
        axis.plot([], [], "o-", color=COLOUR[group], label=group)
    axis.axvline(1, color="black", lw=0.6, ls=":")
    axis.set(yticks=[-i for i in range(len(keys))], yticklabels=[titles[key] for key in keys], xlabel=unit)
    axis.tick_params(axis="y", length=0)
    axis.legend(loc="lower left", bbox_to_anchor=(-0.25, 1.0), ncols=3)
    return figure


def edge(samples: Sequence[Sample]) -> plt.Figure:
    figure, axis = plt.subplots(figsize=(8, 3.8))
    band(axis, EDGE_MM, samples[0].profiles, SYNTHETIC)
    lines(axis, EDGE_MM, samples, lambda s: s.profiles, (THIN, AVERAGED))
    axis.axvline(0, color="black", lw=0.6, ls=":")
    axis.set(xlabel="distance to the outline, mm (inside negative)", ylabel="over normal white matter")
    axis.legend()
    return figure


def texture(samples: Sequence[Sample]) -> plt.Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    band(left, LAGS_MM.astype(float), samples[0].curves, SYNTHETIC)
    lines(left, LAGS_MM.astype(float), samples, lambda s: s.curves, (THIN, THICK))
    left.set(xlabel="distance, mm", ylabel="autocorrelation", title="normal white matter", xlim=(0, 8))
    left.legend(fontsize=9)
    edges = np.linspace(0, 0.16, 33)
    right.hist(pooled(samples, SYNTHETIC, "noise"), edges, density=True, color=COLOUR[SYNTHETIC], alpha=0.4)
    for group, height in ((THIN, 0.55), (THICK, 0.45)):
        medians = [np.median(s.values["noise"]) for s in samples if s.group == group and "noise" in s.values]
        top = right.get_ylim()[1]
        right.plot(medians, [height * top] * len(medians), "|", color=COLOUR[group], ms=16, mew=2)
    right.set(xlabel="noise SD over white matter", yticks=[], title="synthetic slices; strokes: each real scan")
    right.spines["left"].set_visible(False)
    return figure


def sizes(samples: Sequence[Sample]) -> plt.Figure:
    """Cumulative shares; zeros (slices and heads without lesions) begin the curve at the left edge."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True)
    for axis, key, title, low in zip(
        axes, ("area", "slice_area", "volume_ml"),
        ("area of one lesion, mm²", "lesion area in a slice, mm²", "volume in a head, mL"), (1, 1, 0.1), strict=True,
    ):  # fmt: skip
        for group in (SYNTHETIC, MASKS):
            values = np.sort(np.maximum(pooled(samples, group, key), low))
            axis.step(values, np.linspace(0, 1, len(values)), color=COLOUR[group], lw=2, label=group)
        axis.set(xscale="log", xlabel=title, ylim=(0, 1))
    axes[0].set_ylabel("share not larger")
    axes[0].legend(loc="lower right")
    return figure


# Pictures


def grey(image: np.ndarray) -> np.ndarray:
    """A slice (R, A) cut to ``CROP`` around its brain, anterior up and the patient's right on the left, uint8."""
    middle = np.rint(np.argwhere(image > 0).mean(0)).astype(int)
    padded = np.pad(image, [(n, n) for n in CROP])
    cut = padded[tuple(slice(m + n - n // 2, m + n - n // 2 + n) for m, n in zip(middle, CROP, strict=True))]
    return np.rint(cut[::-1, ::-1].T.clip(0, WHITE) * (255 / WHITE)).astype(np.uint8)


def tiles(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size, row by row, with a thin gap between them."""
    images = [np.pad(image, 1) for image in images]
    return np.vstack([np.hstack(images[i : i + columns]) for i in range(0, len(images), columns)])


def chosen(sample: Sample, count: int, seed: int = 0) -> list[int]:
    return sorted(np.random.default_rng(seed).permutation(len(sample.pictures))[:count].tolist())


def synthetic_page(sample: Sample, columns: int = 6, rows: int = 3) -> np.ndarray:
    return tiles([grey(sample.pictures[i]) for i in chosen(sample, columns * rows)], columns)


def write_picture(page: np.ndarray, path: Path) -> None:
    """64 greys: noise would make more of them a large file."""
    Picture.fromarray(page).quantize(64, dither=Picture.Dither.NONE).save(path, optimize=True)


def side_by_side(samples: Sequence[Sample], folder: Path, columns: int = 5, rows: int = 5) -> None:
    """Synthetic slices on the left, real ones of all scans on the right. Never for the repository."""
    folder.mkdir(parents=True, exist_ok=True)
    real = [image for s in samples if s.group in (THIN, THICK) for image in s.pictures]
    picked = np.random.default_rng(1).permutation(len(real))[: columns * rows]
    left, right = synthetic_page(samples[0], columns, rows), tiles([grey(real[i]) for i in picked], columns)
    gap = np.full((left.shape[0], 12), 255, np.uint8)
    Picture.fromarray(np.hstack([left, gap, right])).save(folder / "synthetic-and-real.png")
