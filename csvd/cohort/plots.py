"""The pictures of a cohort, as PNG. Matplotlib is an extra of its own: pip install csvd[cohort]."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from csvd.cohort.statistics import Group, Statistic, grade_order
from csvd.errors import InputError

INK, LINE, FILL, POINT = "#18222d", "#0b5c74", "#cfdfe4", "#c2410c"
DPI = 150
"""Choice: sharp on a page, and a picture stays below 100 kB."""
JITTER = 0.12
"""How far points of a box are moved aside so that they can be told apart, in boxes. A choice."""


def check_matplotlib() -> None:
    """Raise ``InputError`` where matplotlib is missing, before any work is done."""
    try:
        import matplotlib  # noqa: F401  (whether it can be)
    except ImportError as error:
        raise InputError(
            "csvd cohort draws with matplotlib, which is not installed: pip install csvd[cohort]."
        ) from error


def plot_agreement(
    ours: np.ndarray, truth: np.ndarray, found: Mapping[str, Statistic], names: tuple[str, str], path: Path
) -> None:
    """Ours against the reference with the line of identity, and Bland-Altman's plot; ``names`` are the axes'."""
    figure, (scatter, altman) = _figure(1, 2, (10, 4.6))
    # A measure may be below 0, as an asymmetry is.
    ends = min(0.0, 1.05 * ours.min(), 1.05 * truth.min()), max(0.0, 1.05 * ours.max(), 1.05 * truth.max())
    scatter.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":", label="identity")
    scatter.scatter(truth, ours, s=18, color=LINE, alpha=0.75, linewidths=0)
    scatter.set(xlabel=names[1], ylabel=names[0], xlim=ends, ylim=ends)
    scatter.set_title(_title(found["pearson"]) + ", " + _title(found["concordance"]))
    scatter.legend(frameon=False, loc="upper left")

    altman.scatter((ours + truth) / 2, ours - truth, s=18, color=LINE, alpha=0.75, linewidths=0)
    for name, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
        limit = found[name]
        altman.axhspan(limit.low, limit.high, color=FILL, alpha=0.6, linewidth=0, zorder=0)
        altman.axhline(limit.value, color=POINT, linestyle=style, linewidth=1)
        altman.annotate(f"{limit.value:.2f}", (1, limit.value), xycoords=("axes fraction", "data"), xytext=(3, -3),
                        textcoords="offset points", color=POINT)  # fmt: skip
    altman.set(xlabel=f"Mean of both ({found['bias'].unit})", ylabel=f"Difference ({found['bias'].unit})")
    altman.set_title(f"Bias and 95 % limits of agreement (n={found['bias'].n})")
    _save(figure, path)


def plot_groups(groups: Sequence[Group], measured: str, grade: str, path: Path) -> None:
    """Boxes of a measurement by visual grade, with every case as a point."""
    figure, (axes,) = _figure(1, 1, (max(4.5, 1.3 * len(groups) + 2), 4.6))
    _boxes(axes, [group.values for group in groups], [f"{g.grade}\nn={len(g.values)}" for g in groups])
    axes.set(xlabel=grade, ylabel=measured)
    _save(figure, path)


def plot_quintiles(
    values: Mapping[str, float],
    quintile: Mapping[str, int],
    grades: Mapping[str, str],
    measured: str,
    grade: str,
    path: Path,
) -> None:
    """Boxes of a measurement by its quintiles and, where there are grades, which grades each quintile holds."""
    figure, axes = _figure(1, 2 if grades else 1, (10 if grades else 5.6, 4.6))
    members = [[case for case in values if quintile[case] == q] for q in range(1, 6)]
    labels = [f"{q}\nn={len(cases)}" for q, cases in enumerate(members, start=1)]
    _boxes(axes[0], [np.array([values[case] for case in cases]) for cases in members], labels)
    axes[0].set(xlabel="Quintile", ylabel=measured)
    if grades:
        kinds = sorted({grades[case] for case in values if grades.get(case)}, key=grade_order)
        bottom = np.zeros(5)
        for n, kind in enumerate(kinds):
            share = np.array([sum(grades.get(case) == kind for case in cases) for cases in members])
            shade = _mixed(n / max(1, len(kinds) - 1))
            axes[1].bar(range(1, 6), share, bottom=bottom, color=shade, edgecolor="white", label=kind)
            bottom += share
        axes[1].set(xlabel="Quintile", ylabel="Cases")
        axes[1].legend(title=grade, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, path)


def plot_burden(
    z: Sequence[Mapping[str, float]], totals: Sequence[float], titles: Mapping[str, str], path: Path
) -> None:
    """Z of each marker, stacked by case, cases by rising burden; the line is their sum.

    A circle marks the cases that lack markers which others have, since their sums do not compare.
    """
    order = np.argsort(totals, kind="stable")
    figure, (axes,) = _figure(1, 1, (8, 4.6))
    shades = dict(zip(titles, (LINE, POINT, "#7a9e3f", "#8a6fb0"), strict=True))
    up, down = np.zeros(len(order)), np.zeros(len(order))
    for marker, title in titles.items():
        height = np.array([z[n].get(marker, 0.0) for n in order])
        if not any(marker in one for one in z):
            continue
        axes.bar(range(1, len(order) + 1), height, bottom=np.where(height >= 0, up, down), width=0.85, linewidth=0,
                 color=shades[marker], label=title)  # fmt: skip
        up, down = up + np.maximum(height, 0), down + np.minimum(height, 0)
    axes.plot(range(1, len(order) + 1), np.array(totals)[order], color=INK, linewidth=1.2, label="sum")
    fewer = [place for place, n in enumerate(order) if len(z[n]) < max(map(len, z))]
    if fewer:
        axes.scatter(
            np.array(fewer) + 1, np.array(totals)[order][fewer], s=24, facecolor="white", edgecolor=INK, zorder=3,
            label="sum of fewer markers",
        )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set(xlabel=f"Cases by rising burden (n={len(order)})", ylabel="z (SD of the reference)")
    axes.legend(frameon=False, loc="upper left")
    _save(figure, path)


def _figure(rows: int, columns: int, size: tuple[float, float]):
    # Not pyplot: it would choose a window system for the whole process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _boxes(axes, samples: Sequence[np.ndarray], labels: Sequence[str]) -> None:
    places = np.arange(1, len(samples) + 1)
    axes.boxplot(
        samples, positions=places, widths=0.6, showfliers=False, patch_artist=True,
        boxprops={"facecolor": FILL, "edgecolor": LINE}, medianprops={"color": POINT, "linewidth": 1.6},
        whiskerprops={"color": LINE}, capprops={"color": LINE},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for place, sample in zip(places, samples, strict=True):
        axes.scatter(
            place + rng.uniform(-JITTER, JITTER, len(sample)),
            sample,
            s=12,
            zorder=3,
            color=INK,
            alpha=0.55,
            linewidths=0,
        )
    axes.set_xticks(places, labels)


def _mixed(share: float) -> tuple[float, float, float]:
    light, dark = np.array([0.86, 0.91, 0.93]), np.array([0.04, 0.30, 0.38])
    return tuple((light + share * (dark - light)).tolist())


def _title(found: Statistic) -> str:
    return f"{found.title} {found.value:.2f}" if found.value is not None else found.title


def _save(figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI)
