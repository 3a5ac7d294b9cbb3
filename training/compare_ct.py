"""Synthetic CTs beside a real one: ``python -m training.compare_ct --data ../shared/data``.

Writes ``docs/synthetic_ct.md`` with percentiles of the attenuation of white matter, cortex and ventricles, and pictures
of synthetic slices. The real one is the brain of an elderly CT template (C. Rorden, scct, BSD-2-Clause): the mean of
many heads, so it has hardly any noise. Tissues come from the anatomy network on both sides. No real picture is shown.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from csvd.anatomy import Anatomy, find_anatomy
from csvd.image import Image, read_image, resample
from csvd.preprocessing import WINDOW_HU

from .ct import CTGenerator, CTSettings, Scan, Stack, nod, whole_height
from .heads import load_heads, load_lesion_shapes
from .recipe import HERE, read_recipe

DOCS = HERE.parent / "docs"
TISSUES = {"white matter": "white_matter", "cortex": "cortex", "lateral ventricles": "lateral_ventricles"}
INNER = {"white matter": 2, "cortex": 0, "lateral ventricles": 1}  # pixels eroded in each slice, against partial volume
PERCENTILES = (5, 25, 50, 75, 95)
SHAPE, PIXEL_MM, THICKNESS_MM = (160, 192, 30), 1.1, 5.0
LAYERS, SEED = (10, 15, 18, 21), 61


def tissue_values(image: Image, anatomy: Anatomy, without: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """HU of the inner pixels of each tissue below 80 HU, and of the whole brain in the window of the networks."""
    values, voxels = {}, resample(image.voxels, image.grid, anatomy.grid)
    free = np.ones(voxels.shape, bool) if without is None else ~resample(without, image.grid, anatomy.grid, order=0)
    disc = np.ones((3, 3, 1), bool)
    for title, name in TISSUES.items():
        where = anatomy.labels == anatomy.names.index(name)
        where = ndimage.binary_erosion(where, disc, iterations=INNER[title]) if INNER[title] else where
        values[title] = voxels[where & free & (voxels < WINDOW_HU[1])]
    values["brain in the window"] = voxels[anatomy.mask("brain", anatomy.grid)].clip(*WINDOW_HU)
    return values


def thickened(image: Image, factor: int) -> Image:
    """Slices of ``factor`` voxels along axis 2, as the synthetic ones are."""
    count = image.voxels.shape[2] // factor
    blocks = image.voxels[:, :, : count * factor].reshape(*image.voxels.shape[:2], count, factor).mean(3)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 2] * ((factor - 1) / 2)
    affine[:3, 2] *= factor
    return Image(blocks.astype(np.float32), affine)


def draw(data: Path, count: int) -> list[Scan]:
    """Whole synthetic CTs of heads that are kept out of training."""
    excluded = read_recipe("ct-coarse")["exclude"]
    heads = [head for head in load_heads(data, HERE / "cache") if head.name in excluded]
    scans = []
    for n in range(count):
        draws = CTGenerator(heads, *load_lesion_shapes(data), replace(CTSettings(), infarct=0.0), SEED + n)
        head = heads[n % len(heads)]
        stack = Stack(SHAPE, PIXEL_MM, THICKNESS_MM, THICKNESS_MM, nod(0))
        scans.append(draws.volume(draws.draw_patient(head, 0.0, whole_height(head)), stack))
    return scans


def stripped(scan: Scan) -> Image:
    """The brain and a pixel around it, 0 elsewhere, as the template is."""
    near = ndimage.binary_dilation(scan.brain.voxels, np.ones((3, 3, 1), bool), iterations=1)
    return scan.image.like(np.where(near, scan.image.voxels, 0).astype(np.float32))


def table(real: dict[str, np.ndarray], synthetic: list[dict[str, np.ndarray]]) -> list[str]:
    """Rows of a Markdown table."""
    head = " | ".join(f"{p} %" for p in PERCENTILES)
    rows = [f"| tissue | | mean | SD | {head} |", "| --- | --- |" + " ---: |" * (len(PERCENTILES) + 2)]
    for title, values in real.items():
        pooled = np.concatenate([one[title] for one in synthetic])
        for source, sample in (("template", values), (f"{len(synthetic)} synthetic", pooled)):
            cells = " | ".join(f"{x:.1f}" for x in np.percentile(sample, PERCENTILES))
            rows.append(f"| {title} | {source} | {sample.mean():.1f} | {sample.std():.1f} | {cells} |")
    return rows


def draw_pictures(scans: list[Scan], real: dict, synthetic: list[dict], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, len(LAYERS), figsize=(2.2 * len(LAYERS), 5.4))
    for row, scan in zip(axes, scans, strict=False):
        for axis, k in zip(row, LAYERS, strict=True):
            axis.imshow(scan.image.voxels[:, :, k].T, origin="lower", cmap="gray", vmin=0, vmax=80)
            axis.contour(scan.lesion.voxels[:, :, k].T, [0.5], colors="tab:red", linewidths=0.6)
            axis.axis("off")
    figure.suptitle("Synthetic CT, no patient; red: its leukoaraiosis", fontsize=9)
    figure.tight_layout()
    figure.savefig(folder / "ct_slices.jpg", dpi=90, pil_kwargs={"quality": 70})
    plt.close(figure)
    figure, axis = plt.subplots(figsize=(6, 3))
    edges = np.arange(-10, 70, 1.0)
    for n, title in enumerate(TISSUES):
        pooled = np.concatenate([one[title] for one in synthetic])
        for values, style in ((real[title], "-"), (pooled, "--")):
            share = np.histogram(values, edges)[0] / len(values)
            axis.plot(edges[:-1] + 0.5, share, style, color=f"C{n}", label=title if style == "-" else None)
    axis.set(xlabel="HU", ylabel="share of the tissue", title="template (solid) and synthetic (dashed)")
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(folder / "ct_histogram.png", dpi=90)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scans", type=int, default=6)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    template = thickened(read_image(next((arguments.data / "ct_template").glob("*.nii.gz"))), round(THICKNESS_MM))
    real = tissue_values(template, find_anatomy(window(template))[0])
    scans = draw(arguments.data, arguments.scans)
    synthetic = []
    for scan in scans:
        brain = stripped(scan)
        synthetic.append(tissue_values(brain, find_anatomy(window(brain))[0], scan.lesion.voxels))
    draw_pictures(scans, real, synthetic, DOCS / "figures")
    text = [
        "# Synthetic CT beside a real one",
        "",
        "Written by `python -m training.compare_ct`. HU in slices of 5 mm, brain only. Tissues come from the anatomy",
        "network on both sides; the cortex is not eroded, so both hold partial volume. The template is a mean of many",
        "elderly heads (C. Rorden, scct, BSD-2-Clause): hardly any noise, and the patients' differences averaged out.",
        "Synthetic scans have the noise of one patient, 2 to 4 HU. Leukoaraiosis is left out of their white matter.",
        "The template's ventricles lie below fluid (0 to 12 HU), so its zero is low: compare differences.",
        "",
        *table(real, synthetic),
        "",
        "`hounsfield_window` turns the last row into mean 0 and standard deviation 1, nearly: minus 30 HU, over 10 HU.",
        "",
        "![Synthetic slices](figures/ct_slices.jpg)",
        "",
        "![Histograms](figures/ct_histogram.png)",
        "",
    ]
    (DOCS / "synthetic_ct.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


def window(image: Image) -> Image:
    """As the anatomy network sees a CT: nothing below 0 HU, bone no brighter than 80."""
    return image.like(image.voxels.clip(*WINDOW_HU).astype(np.float32))


if __name__ == "__main__":
    main()
