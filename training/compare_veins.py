"""Veins of the synthetic SWI beside real ones: ``python -m training.compare_veins --data ../shared/data``.

The only real susceptibility image at hand is a crop of a gradient echo around the midline (CLEARSWI.jl, MIT; magnitude
and phase, .47 x .47 x 1 mm). Its last echo, and an SWI made of it after Haacke et al. (Magn Reson Med 2004), are
measured by the same rules as synthetic crops of that size and place. Writes ``docs/synthetic_burden.md``; the page on
which both stand side by side holds a picture of a person, so it goes to ``--figures``, a folder that git ignores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage

from .burden import BurdenGenerator, BurdenSettings, Markers
from .burden_page import grid_of, save, show
from .ct import nod
from .heads import load_heads, load_lesion_shapes
from .patients import Stack, whole_height
from .recipe import HERE, read_recipe

DOCS, FIGURES = HERE.parent / "docs", HERE / "runs" / "compare"
SHAPE, PIXEL_MM, SLICE_MM = (51, 51, 41), 0.46875, 1.0  # of the real crop
CROPS = 24
BASE_MM = 8.0  # choice: what is darker than its surroundings of twice this is a vein, or looks like one
DARK = 0.8  # choice: of the local median; noise of the real magnitude has an SD of about .05
LOW_PASS_MM = 3.0  # choice: of the phase that the SWI does without, about the 64 x 64 window of the paper
POWER = 4  # times the phase mask is multiplied, as in the paper
SLAB_MM = 5  # of a minimum-intensity projection
SHOWN = 8


def real_crop(folder: Path) -> dict[str, np.ndarray]:
    """The last echo's magnitude, and an SWI made of it: (R, A, S) each."""
    voxels = (sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{n}_large.nii.gz")))[-1] for n in ("Mag", "Phase"))
    magnitude, phase = (values.transpose(2, 1, 0).astype(float) for values in voxels)
    return {"real magnitude": magnitude, "real SWI": swi_of(magnitude, phase * (np.pi / np.abs(phase).max()))}


def swi_of(magnitude: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Magnitude times its phase mask; the sign of the phase is the one that darkens what is dark already."""
    signal = magnitude * np.exp(1j * phase)
    sigma = (LOW_PASS_MM / PIXEL_MM, LOW_PASS_MM / PIXEL_MM, 0)
    low = ndimage.gaussian_filter(signal.real, sigma) + 1j * ndimage.gaussian_filter(signal.imag, sigma)
    high = np.angle(signal * np.conj(low))
    high *= -np.sign(high[local_ratio(magnitude) < DARK].sum()) or 1
    return magnitude * np.where(high < 0, 1 + high / np.pi, 1) ** POWER


def local_ratio(image: np.ndarray) -> np.ndarray:
    """Every voxel over the median of what is around it in its slice."""
    side = int(BASE_MM / PIXEL_MM) | 1
    return image / np.maximum(ndimage.median_filter(image, size=(side, side, 1)), 1e-6)


def measured(image: np.ndarray) -> dict[str, float]:
    """How dark, how many and how wide dark structures are in a slice."""
    ratio = local_ratio(image)
    dark = ratio < DARK
    labels, _ = ndimage.label(dark, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    veins = dark & (sizes[labels] >= 8)  # choice: fewer voxels are noise
    planes = np.moveaxis(veins, 2, 0)
    depth = np.stack([ndimage.distance_transform_edt(plane, sampling=PIXEL_MM) for plane in planes], 2)
    ridge = veins & (depth == ndimage.maximum_filter(depth, (3, 3, 1)))
    # The distance runs to the centre of the nearest pixel outside, half a pixel beyond the edge.
    widths = 2 * depth[ridge] - PIXEL_MM
    return {
        "1st percentile of the local ratio": float(np.percentile(ratio, 1)),
        "5th percentile": float(np.percentile(ratio, 5)),
        "median": float(np.percentile(ratio, 50)),
        "99th percentile": float(np.percentile(ratio, 99)),
        f"voxels below {DARK:g}, %": float(100 * veins.mean()),
        "their median ratio": float(np.median(ratio[veins])) if veins.any() else float("nan"),
        "their width, median, mm": float(np.median(widths)) if widths.size else float("nan"),
        "their width, 95th percentile, mm": float(np.percentile(widths, 95)) if widths.size else float("nan"),
    }


def synthetic_crops(data: Path, count: int) -> list[np.ndarray]:
    """Crops of the real one's size across the midline, of SWIs without markers, all heads that training draws from."""
    excluded = read_recipe("burden")["exclude"]
    heads = [head for head in load_heads(data, HERE / "cache") if head.name not in excluded]
    settings = BurdenSettings(healthy=1.0, infarct=0.0, none=1.0)
    draws = BurdenGenerator(heads, *load_lesion_shapes(data), settings, seed=7)
    crops = []
    while len(crops) < count:
        head = heads[draws.rng.integers(len(heads))]
        centre = tuple(draws.rng.uniform((-6, -50, 5), (6, 40, 50)))
        stack = Stack(SHAPE, PIXEL_MM, SLICE_MM, SLICE_MM, nod(0), centre_mm=centre)
        slab = draws.lay(draws.draw_patient(head, 0.0, whole_height(head)), stack)
        if slab.keep.float().mean() < 1 or draws.is_inside[slab.tissue].mean() < 0.98:
            continue
        nothing = torch.zeros(slab.tissue.shape)
        markers = Markers(**{**dict.fromkeys(Markers.__annotations__, nothing), "infarct": nothing - 9})
        crops.append(draws.as_scan("swi", slab, stack, markers).image.voxels.astype(float))
    return crops


def as_markdown(real: dict[str, dict], synthetic: list[dict]) -> str:
    lines = [
        "# Veins of the synthetic SWI",
        "",
        "Written by `python -m training.compare_veins`. The networks for microbleeds learn from synthetic SWI, where "
        "veins and iron are what must not be taken for a bleed. The only real image at hand to hold them against is a "
        "small crop of a gradient echo of one person around the midline (24 x 24 x 41 mm; CLEARSWI.jl, MIT): its last "
        f"echo, and an SWI made of it (Haacke et al. 2004). {len(synthetic)} synthetic crops of the same voxels and "
        "place, without any marker, are measured by the same rules: a voxel over the median of the "
        f"{BASE_MM:g} mm around it in its slice; dark is below {DARK:g} of that. One person, one scanner: this finds "
        "gross faults only, and says nothing about microbleeds. The synthetic SWI is a magnitude times the mask of its "
        "phase, as the real one; the mask, and how sharp, wide and many the veins are, were chosen by this table.",
        "",
        "| | real magnitude | real SWI | synthetic, median (5 to 95 % of crops) | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name in synthetic[0]:
        low, middle, high = np.nanpercentile([row[name] for row in synthetic], (5, 50, 95))
        values = [row[name] for row in real.values()]
        outside = [f"{key.removeprefix('real ')} {'below' if v < low else 'above'}"
                   for key, v in zip(real, values, strict=True) if not low <= v <= high]  # fmt: skip
        cells = " | ".join(f"{v:.2f}" for v in values)
        lines.append(f"| {name} | {cells} | {middle:.2f} ({low:.2f} to {high:.2f}) | {', '.join(outside)} |")
    lines += [
        "",
        "The last column names what lies outside the synthetic 5 to 95 %. Wide veins lie on the surface that follows "
        "sulci and the walls of the ventricles and run over centimetres, as the real ones do; thin ones are curves of "
        "any direction, and medullary veins are straight. What differs in kind: real veins join into trees and are a "
        "pixel or two wide, and the real crop has the dark line of the falx, bright vessels with flow, and bright rims "
        "beside dark veins from the phase; none of these is drawn.",
        "",
        "![Synthetic crops](figures/burden_veins.png)",
        "",
        f"Synthetic crops, darkest voxel through {SLAB_MM} mm. The page beside the real crop is not kept here.",
    ]
    return "\n".join(lines) + "\n"


def projected(image: np.ndarray, k: int) -> np.ndarray:
    return image[:, :, k : k + SLAB_MM].min(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with label_maps and gre_crop")
    parser.add_argument("--crops", type=int, default=CROPS)
    parser.add_argument("--figures", type=Path, default=FIGURES, help="where the page with the real crop goes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    real, synthetic = real_crop(arguments.data / "gre_crop"), synthetic_crops(arguments.data, arguments.crops)
    page = as_markdown({name: measured(image) for name, image in real.items()}, [measured(c) for c in synthetic])
    (DOCS / "synthetic_burden.md").write_text(page, encoding="utf-8")
    print(page)
    shown = [projected(crop, SHAPE[2] // 2) for crop in synthetic[: 2 * SHOWN]]
    beside = [projected(image, k) for image in real.values() for k in range(0, SHAPE[2] - SLAB_MM, SLAB_MM)[:SHOWN]]
    kept_here, not_kept = DOCS / "figures" / "burden_veins.png", arguments.figures / "veins-synthetic-and-real.png"
    for pictures, path in ((shown, kept_here), ([*beside, *shown], not_kept)):
        figure, axes = grid_of(-(-len(pictures) // SHOWN), SHOWN)
        for axis, picture in zip(axes.flat, pictures, strict=False):
            show(axis, picture, "")
        save(figure, path)


if __name__ == "__main__":
    main()
