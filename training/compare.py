"""Synthetic slices against real ones: ``python -m training.compare --data ../shared/data``.

Draws slices as a recipe configures the generator, measures them and every real FLAIR of the folder by the same rules
(``training.appearance``), and writes ``docs/synthetic.md`` with plots, and synthetic slices, in ``docs/figures``. The
page on which synthetic and real slices stand side by side holds pictures of patients, so it goes to ``--figures``, a
folder that git ignores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from csvd.anatomy import find_anatomy
from csvd.image import Image, axial_grid, resample
from csvd.pipelines.walk import stripped_brain
from csvd.pipelines.wmh import segment_wmh

from .appearance import Slice, areas_mm2, autocorrelation, edge_profile, local_residual, measures
from .heads import read_ras
from .judge import Scan, healthy_scans, lesion_scans
from .recipe import HERE, read_recipe
from .synthesis import Generator
from .train import make_generator

DOCS, FIGURES = HERE.parent / "docs", HERE / "runs" / "compare"
TABLES = json.loads((HERE / "appearance.json").read_text(encoding="utf-8"))
SYNTHETIC, SYNTHETIC_THIN = "synthetic", "synthetic, 1 mm only"
THIN, THICK, AVERAGED = "real, 1 mm", "real, 3-4 mm", "real 1 mm averaged to 6 mm"
MASKS = "real masks"
JUDGING = (THIN, THICK, MASKS)  # what the synthetic slices have to cover
LEVELS = np.arange(0, 2.55, 0.05)  # of the histogram
EVERY_MM = 4  # neighbouring slices of a real scan look alike: one is taken every so often
HEADS, HEAD_MM, HEAD_SHAPE, HEAD_PLANES = 60, 2.0, (96, 112), 84  # whole heads for volumes: 192 x 224 x 168 mm
COVERED = 0.8  # choice: a measure matches when this share of the real values lies within the synthetic 5 to 95 %
WIDE = 3  # choice: drawn much wider than it is in real slices


@dataclass
class Sample:
    """What was measured of the slices of one source: a real scan, or all synthetic slices."""

    name: str
    group: str
    values: dict[str, list[float]] = field(default_factory=dict)
    histograms: list[np.ndarray] = field(default_factory=list)
    profiles: list[np.ndarray] = field(default_factory=list)  # of lesion edges
    curves: list[np.ndarray] = field(default_factory=list)  # autocorrelation of normal white matter
    pictures: list[np.ndarray] = field(default_factory=list)

    def add(self, one: Slice) -> None:
        for key, value in measures(one).items():
            self.values.setdefault(key, []).append(value)
        brain = one.image[one.image > 0]
        self.histograms.append(np.histogram(brain, LEVELS, density=True)[0])
        self.curves.append(autocorrelation(local_residual(one), one.white))
        self.pictures.append(one.image)
        if one.known:
            self.profiles.append(edge_profile(one))
            if self.group != THIN:  # their masks are among the real masks, which are counted by themselves
                self.add_sizes(one.lesion)

    def add_sizes(self, lesion: np.ndarray) -> None:
        """Areas of the lesions of a slice of 1 mm pixels, how many they are, and their sum."""
        areas = areas_mm2(lesion)
        self.values.setdefault("area", []).extend(areas)
        self.values.setdefault("count", []).append(len(areas))
        self.values.setdefault("slice_area", []).append(float(areas.sum()))


# Where slices come from


def synthetic(generator: Generator, count: int, group: str = SYNTHETIC) -> Sample:
    """Slices as they are drawn for training, with the anatomy that the anatomy network sees in them."""
    drawn = [generator.flair() for _ in range(count)]
    stack = np.stack([image.numpy() for image, _ in drawn], 2)
    flair = Image(stack, np.diag([1.0, 1.0, 3.0, 1.0]))
    anatomy, _ = find_anatomy(flair)
    labels = resample(anatomy.labels, anatomy.grid, flair.grid, order=0)
    sample = Sample("synthetic", group)
    for k, (image, target) in enumerate(drawn):
        one = Slice(image.numpy(), labels[..., k], anatomy.names, target.numpy() > 0, True)
        if one.usable:
            sample.add(one)
    return sample


def whole_heads(generator: Generator, heads: int) -> list[float]:
    """Lesion volumes, mL, of whole heads in which lesions grew as they do in slices."""
    s = generator.settings
    generator.settings = replace(s, shape=HEAD_SHAPE, pixel_mm=HEAD_MM)
    depths = (np.arange(HEAD_PLANES) - (HEAD_PLANES - 1) / 2) * HEAD_MM
    volumes = []
    for _ in range(heads):
        head = generator.heads[generator.rng.integers(len(generator.heads))]
        slab = generator.deform(head, np.mean(head.brain_box[2]), depths, generator.is_brain)
        lesion = generator.grow_lesions(slab) > s.target_fraction
        volumes.append(float(lesion.sum()) * HEAD_MM**3 / 1000)
    generator.settings = s
    return volumes


def real_slices(scan: Scan) -> Iterator[tuple[int, Slice]]:
    """Every so many slices of a real scan, with their numbers, as the lesion networks see them.

    Where there is no reference, the answer of one network keeps lesions out of normal white matter.
    """
    flair = scan.flair
    anatomy, _ = find_anatomy(flair)
    grid = axial_grid(flair.grid, 1.0)
    voxels = resample(flair.voxels, flair.grid, grid)
    level = np.median(voxels[anatomy.mask("tissue", grid)])
    image = np.where(stripped_brain(anatomy, grid), (voxels / level).clip(0, 4), 0)
    labels = resample(anatomy.labels, anatomy.grid, grid, order=0)
    lesion = scan.truth if scan.has_truth else segment_wmh(flair, members=1).mask
    lesion = resample(lesion.astype(np.float32), flair.grid, grid) >= 0.5
    for k in range(0, grid.shape[2], max(1, round(EVERY_MM / grid.spacing_mm[2]))):
        one = Slice(image[..., k], labels[..., k], anatomy.names, lesion[..., k], scan.has_truth)
        if one.usable:
            yield k, one


def real_scans(data: Path) -> list[tuple[str, Scan]]:
    thin = [*lesion_scans(data, None), *healthy_scans(data, None), Scan(data / "multisequence_stroke" / "FLAIR.nii.gz")]
    thick = [Scan(path) for path in sorted((data / "flair_longitudinal").glob("patient*/study*_FLAIR.nii.gz"))]
    return [(g, s) for g, scans in ((THIN, thin), (THICK, thick), (AVERAGED, lesion_scans(data, 6))) for s in scans]


def real(group: str, scan: Scan) -> Sample:
    sample = Sample(f"{scan.path.parent.name}/{scan.path.name.split('.')[0]}", group)
    for _, one in real_slices(scan):
        sample.add(one)
    return sample


def real_masks(data: Path) -> Sample:
    """Sizes in all expert masks in MNI space, in the slices above the base of the brain."""
    slices = [k for k, _ in real_slices(lesion_scans(data, None)[0])]  # of a brain in the same space
    sample = Sample("masks", MASKS, {"volume_ml": []})
    for path in sorted((data / "lesion_masks_mni").glob("patient*.nii.gz")):
        mask = read_ras(path) > 0
        sample.values["volume_ml"].append(np.count_nonzero(mask) / 1000)
        for k in slices:
            sample.add_sizes(mask[..., k])
    return sample


# How it is written


def pooled(samples: Sequence[Sample], group: str, key: str) -> np.ndarray:
    """All values of a measure in one group."""
    return np.array([value for sample in samples if sample.group == group for value in sample.values.get(key, [])])


def middle(values: np.ndarray, digits: int) -> str:
    """Median and 5 to 95 %."""
    if len(values) == 0:
        return ""
    low, median, high = (f"{value:.{digits}f}" for value in np.percentile(values, (5, 50, 95)))
    return f"**{median}** ({low} to {high})"


@dataclass(frozen=True)
class Verdict:
    """How the real values of one measure lie against the synthetic ones."""

    row: dict
    covered: float  # mean over the real scans: share of the values within the synthetic 5 to 95 %
    central: bool  # whether the median over the scans lies within the synthetic quartiles
    higher: bool  # whether it is above the synthetic median
    wide: bool  # whether the synthetic 5 to 95 % are ``WIDE`` times the real ones

    @classmethod
    def of(cls, row: dict, samples: Sequence[Sample]) -> Verdict:
        drawn = pooled(samples, SYNTHETIC, row["key"])
        low, first, median, third, high = np.percentile(drawn, (5, 25, 50, 75, 95))
        scans = [np.array(s.values[row["key"]]) for s in samples if s.group in JUDGING and s.values.get(row["key"])]
        covered = float(np.mean([np.mean((values >= low) & (values <= high)) for values in scans]))
        middle = np.median([np.median(values) for values in scans])
        width = np.subtract(*np.percentile(np.concatenate(scans), (95, 5)))
        return cls(row, covered, bool(first <= middle <= third), bool(middle > median), bool(high - low > WIDE * width))

    @property
    def words(self) -> str:
        return f"{self.row['higher' if self.higher else 'lower']} ({self.row['title']})"


def table(rows: Sequence[dict], samples: Sequence[Sample]) -> str:
    keys = [row["key"] for row in rows]
    groups = [
        g
        for g in (SYNTHETIC, SYNTHETIC_THIN, THIN, THICK, AVERAGED, MASKS)
        if any(len(pooled(samples, g, k)) for k in keys)
    ]
    lines = ["| | " + " | ".join(groups) + " | real within synthetic 5 to 95 % |", "|" + " --- |" * (len(groups) + 2)]
    for row in rows:
        cells = [middle(pooled(samples, group, row["key"]), row["digits"]) for group in groups]
        lines.append(
            "| " + " | ".join([row["title"], *cells, f"{100 * Verdict.of(row, samples).covered:.0f} %"]) + " |"
        )
    return "\n".join(lines)


def in_words(verdicts: Sequence[Verdict]) -> str:
    """What matches, what is covered but off centre, what does not match, and what is drawn much wider than it is."""
    good = [v.row["title"] for v in verdicts if v.covered >= COVERED and v.central]
    aside = [v.words for v in verdicts if v.covered >= COVERED and not v.central]
    bad = [v.words for v in verdicts if v.covered < COVERED]
    wide = [v.row["title"] for v in verdicts if v.wide]
    told = [f"Matches: {'; '.join(good)}."] if good else []
    if aside:
        told.append(f"Covered, but **off centre**: {'; '.join(aside)}.")
    if bad:
        told.append(f"**Does not match**: {'; '.join(bad)}.")
    if wide:
        told.append(f"Drawn more than {WIDE} times as wide as in these scans: {'; '.join(wide)}.")
    return " ".join(told)


def page(samples: Sequence[Sample], recipe: str, slices: int) -> str:
    counts = {g: sum(s.group == g for s in samples) for g in (THIN, THICK, AVERAGED)}
    lines = [
        "# Synthetic slices against real ones",
        "",
        f"{slices} slices as recipe `{recipe}` draws them (1 mm or thicker), {slices // 2} of 1 mm only beside them, "
        f"{counts[THIN]} real scans of 1 mm (multiple sclerosis, healthy, stroke) and {counts[THICK]} of 3-4 mm "
        f"(multiple sclerosis, two visits of four patients), every {EVERY_MM} mm; the {counts[AVERAGED]} scans with "
        "a reference also with their slices averaged to 6 mm. All are measured by the same rules, on slices of 1 mm "
        "pixels above the base of the brain, as the lesion networks see them; tissues come from the anatomy network "
        "on both sides. Cells are the median and the 5 to 95 % of slices. A measure is covered when at least "
        f"{100 * COVERED:.0f} % of the real values, averaged over scans (averaged slices left out), lie within the "
        "synthetic 5 to 95 %: the generator is meant to draw more than any real scan shows, never less. It matches "
        "when, besides, the median over the real scans lies between the synthetic quartiles; else it is off centre. "
        "Few scans and one disease with a reference: this finds gross faults only. No real picture is shown here. "
        "Made by `python -m training.compare --data ../shared/data`.",
        "",
        "![Synthetic slices](figures/flair_slices.png)",
        "",
        "Random synthetic slices as the networks get them; white is 2.2 times the brain median.",
    ]
    for section in TABLES:
        verdicts = [Verdict.of(row, samples) for row in section["rows"]]
        lines += ["", f"## {section['title']}", "", section["note"], "", table(section["rows"], samples), ""]
        lines += [in_words(verdicts), "", f"![{section['title']}](figures/flair_{section['figure']}.png)"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with label maps and real scans")
    parser.add_argument("--recipe", default="wmh-base", help="whose settings the generator gets")
    parser.add_argument("--slices", type=int, default=300, help="synthetic slices to draw")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figures", type=Path, default=FIGURES, help="where the page with real slices goes")
    arguments = parser.parse_args()
    from . import plots

    recipe = read_recipe(arguments.recipe)
    recipe.pop("teacher", None)  # without one all slabs go through label maps, none through a real scan
    generator = make_generator(recipe, arguments.data, arguments.seed, torch.device("cpu"))
    drawn = synthetic(generator, arguments.slices)
    drawn.values["volume_ml"] = whole_heads(generator, HEADS)
    generator.settings = replace(generator.settings, thin=1.0)
    thin = synthetic(generator, arguments.slices // 2, SYNTHETIC_THIN)
    samples = [drawn, thin, real_masks(arguments.data), *(real(*pair) for pair in real_scans(arguments.data))]
    plots.draw(samples, TABLES, DOCS / "figures")
    plots.side_by_side(samples, arguments.figures)
    (DOCS / "synthetic.md").write_text(page(samples, arguments.recipe, arguments.slices), encoding="utf-8")
    print(DOCS / "synthetic.md", arguments.figures, sep="\n")


if __name__ == "__main__":
    main()
