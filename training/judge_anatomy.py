"""Score the anatomy model on heads it never saw: ``python -m training.judge_anatomy --data ../shared/data``.

The heads are the label maps that the recipe leaves out; their pictures are synthetic (FLAIR, T1, CT; 1 to 8 mm), since
no real scan with outlined ventricles is to be had. Writes ``training/scores/anatomy.json`` and ``docs/anatomy.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from csvd.anatomy import GROUPS, find_anatomy
from csvd.bundle import Bundle, load_bundle
from csvd.image import Image

from .heads import ANATOMY, Head, load_heads
from .recipe import HERE, read_recipe
from .sample import by_slice, scan, whole_head
from .synthesis import Generator, Settings

CONTRASTS = ("flair", "t1", "ct")
THICKNESSES_MM = (1.0, 3.0, 5.0, 8.0)
SYNTHETIC = "synthetic heads that were kept out of training"
SOURCE = "drawn from label maps of BBillot/SynthSeg (Apache-2.0; Billot et al., Med Image Anal 2023)"
SETTINGS = Settings(shape=(160, 192), pixel_mm=1.15)  # a coarse matrix, so that 36 scans take minutes
MARGIN_MM = 6  # of slices above and below the brain


def draw(head: Head, contrast: str, thickness_mm: float, seed: int) -> tuple[Image, dict[str, np.ndarray]]:
    """One synthetic head scan and the share of ventricle and of intracranial space in its voxels, (R, A, S)."""
    generator = Generator([head], [], head.brain_box, SETTINGS, seed)
    low, high = head.brain_box[2]
    slices = round((high - low + 2 * MARGIN_MM) / thickness_mm)
    slab = whole_head(generator, head, (low + high) / 2, slices, thickness_mm)
    lesion = generator.grow_lesions(slab)
    signal = (
        generator.flair_signal(slab, lesion) if contrast == "flair" else generator.any_signal(slab, lesion, contrast)
    )
    anatomy = generator.anatomy_of[slab.tissue]
    shares = {
        group: by_slice(slab, torch.isin(anatomy, codes(group)).float(), slices).numpy().transpose(1, 2, 0)
        for group in ("lateral_ventricles", "intracranial")
    }
    voxels = scan(generator, slab, signal, slices, seed).transpose(1, 2, 0)
    affine = np.diag([SETTINGS.pixel_mm, SETTINGS.pixel_mm, thickness_mm, 1.0])
    return Image(np.ascontiguousarray(1000 * voxels), affine), shares


def filled(mask: np.ndarray) -> np.ndarray:
    """Holes of every slice filled: what lies between brain and skull belongs to the intracranial volume."""
    return np.stack([ndimage.binary_fill_holes(mask[..., k]) for k in range(mask.shape[2])], axis=2)


def codes(group: str) -> torch.Tensor:
    return torch.tensor([ANATOMY.index(name) for name in GROUPS[group]])


def score(bundle: Bundle, head: Head, contrast: str, thickness_mm: float, seed: int) -> dict:
    image, truth = draw(head, contrast, thickness_mm, seed)
    anatomy, _ = find_anatomy(image, bundle)
    mask, true = anatomy.mask("lateral_ventricles", image.grid), truth["lateral_ventricles"] > 0.5
    dice = 2 * np.count_nonzero(mask & true) / max(1, np.count_nonzero(mask) + np.count_nonzero(true))
    inside = filled(truth["intracranial"] > 0.5)
    error = np.count_nonzero(anatomy.mask("intracranial", image.grid)) / np.count_nonzero(inside) - 1
    return {
        "head": head.name, "contrast": contrast, "thickness_mm": thickness_mm,
        "ventricle_dice": round(float(dice), 3), "icv_error_percent": round(100 * float(error), 2),
    }  # fmt: skip


def as_markdown(rows: list[dict]) -> str:
    lines = [
        "# Anatomy on synthetic heads",
        "",
        "**These pictures are synthetic.** They were drawn from label maps that the anatomy network never saw "
        f"({', '.join(sorted({row['head'] for row in rows}))} of BBillot/SynthSeg); no real scan with outlined "
        "ventricles is to be had. The probability of .6 from which the intracranial space is drawn was chosen on "
        "heads of the training. Made by `python -m training.judge_anatomy`. "
        "Mean and worst of the heads:",
        "",
        "| contrast | slices, mm | ventricle Dice, mean | worst | intracranial volume error %, mean | worst |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for contrast in CONTRASTS:
        for thickness in THICKNESSES_MM:
            group = [r for r in rows if r["contrast"] == contrast and r["thickness_mm"] == thickness]
            dice = [r["ventricle_dice"] for r in group]
            error = [r["icv_error_percent"] for r in group]
            lines.append(
                f"| {contrast} | {thickness:g} | {np.mean(dice):.3f} | {min(dice):.3f} | {np.mean(error):+.1f} | "
                f"{max(error, key=abs):+.1f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="anatomy", help="id or folder of a bundle")
    parser.add_argument("--data", type=Path, required=True, help="folder with label_maps")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    arguments = parser.parse_args()
    bundle, unseen = load_bundle(arguments.model), read_recipe("anatomy")["exclude"]
    heads = [head for head in load_heads(arguments.data, HERE / "cache") if head.name in unseen]
    rows = [
        score(bundle, head, contrast, thickness, seed)
        for seed, head in enumerate(heads)
        for contrast in CONTRASTS
        for thickness in THICKNESSES_MM
    ]
    print(as_markdown(rows))
    if not arguments.dry:
        (HERE / "scores" / "anatomy.json").write_text(
            json.dumps([{"kind": SYNTHETIC, "data": SOURCE, "n": len(rows), "scans": rows}], indent=2) + "\n"
        )
        (HERE.parent / "docs" / "anatomy.md").write_text(as_markdown(rows))


if __name__ == "__main__":
    main()
