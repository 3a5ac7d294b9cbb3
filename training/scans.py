"""Real scans without labels as heads to draw from: their own picture, and what a first generation of networks found.

The second generation of networks learns from synthetic slices and from these (self-training): real folds of cortex,
plexus and coils that no generator draws, with synthetic lesions pasted in. Where the teacher was sure, its answer is
the target; where it was not, nothing is learned. The scans that judge the models (``flair_lesions``, ``healthy``) are
never among them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from csvd.anatomy import find_anatomy
from csvd.bundle import Bundle
from csvd.grid import Grid, axial_grid, resample
from csvd.image import read_image
from csvd.pipelines.wmh import segment_wmh

from .heads import CODE, Head, brain_box, distance_bytes

SCANS = ("flair_longitudinal/patient*/study*_FLAIR.nii.gz", "multisequence_stroke/FLAIR.nii.gz")
TISSUE_OF = {  # anatomy label -> tissue code; what is not here is air
    "white_matter": "white_matter", "cortex": "cortex", "lateral_ventricles": "lateral_ventricle",
    "third_ventricle": "third_ventricle", "fourth_ventricle": "fourth_ventricle", "deep_grey": "putamen",
    "brain_stem": "brain_stem", "cerebellum": "cerebellar_cortex", "csf": "csf",
}  # fmt: skip
UNSURE = 0.25  # choice, between synthesis.DOUBTED and FOUND: what the teacher was nowhere sure of is not learned


def cubic_grid(grid: Grid) -> Grid:
    """The axial grid of 1 mm voxels over the same box."""
    axial = axial_grid(grid, 1.0)
    thickness = axial.spacing_mm[2]
    count = max(1, round(axial.shape[2] * thickness))
    affine = axial.affine.copy()
    affine[:3, 3] += affine[:3, 2] * (0.5 / thickness - 0.5)
    affine[:3, 2] /= thickness
    return Grid((*axial.shape[:2], count), affine)


def prepare_scan(path: Path, teacher: Bundle) -> dict[str, np.ndarray]:
    """Picture over its brain median, tissue, distances and the teacher's probability, all (R, A, S) at 1 mm."""
    flair = read_image(path)
    anatomy, _ = find_anatomy(flair)
    grid = cubic_grid(flair.grid)
    code = np.array([CODE[TISSUE_OF.get(name, "air")] for name in anatomy.names], np.uint8)
    tissue = resample(code[anatomy.labels], anatomy.grid, grid, order=0)
    tissue[~anatomy.mask("intracranial", grid)] = CODE["air"]
    voxels = resample(flair.voxels, flair.grid, grid)
    level = np.median(voxels[anatomy.mask("tissue", grid)])
    result = segment_wmh(flair, teacher)
    kept = np.where(result.mask, result.probability, result.probability.clip(max=UNSURE))
    found = resample(kept, flair.grid, grid)
    return {
        "tissue": tissue,
        "image": (voxels / level).clip(0, 4).astype(np.float16),
        "lesion": np.rint(found * 255).clip(0, 255).astype(np.uint8),
        "ventricle_mm": distance_bytes(tissue == CODE["lateral_ventricle"]),
        "cortex_mm": distance_bytes(np.isin(tissue, [CODE["cortex"], CODE["csf"], CODE["air"]])),
    }


def load_scans(data: Path, cache: Path, teacher: Bundle) -> list[Head]:
    """All scans of ``data`` that may be learned from, prepared by this teacher on first use."""
    scans = []
    mark = teacher.card["weights"][0]["sha256"][:8]
    for path in sorted(path for pattern in SCANS for path in data.glob(pattern)):
        name = "-".join(path.relative_to(data).parts).removesuffix(".nii.gz")
        file = cache / f"{name}-{mark}.npz"
        if not file.exists():
            cache.mkdir(parents=True, exist_ok=True)
            np.savez(file.with_suffix(".part.npz"), **prepare_scan(path, teacher))
            file.with_suffix(".part.npz").rename(file)
        volumes = {key: torch.from_numpy(array) for key, array in np.load(file).items()}
        brain = ~np.isin(volumes["tissue"].numpy(), [CODE["air"], CODE["csf"]])
        scans.append(Head(name, **volumes, brain_box=brain_box(brain)))
    return scans
