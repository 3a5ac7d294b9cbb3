"""Draw the sample that ships with the extension: a whole synthetic FLAIR of 26 slices of 5 mm, and its true lesions.

``python -m training.sample --data ../shared/data``. Every slice comes from one deformed head, so the volume is
consistent through the slices; file names and the header's description say that it is synthetic.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from .heads import Head, load_heads, load_lesion_shapes
from .recipe import HERE
from .synthesis import Generator, Settings, Slab

OUTPUT = HERE.parent / "Resources" / "SampleData"
SLICES, THICKNESS_MM = 26, 5.0
PIXELS, PIXEL_MM = 256, 0.9
PRIORS = {"halo": 1.0, "confluent": 1.0, "punctate": 1.0, "map": 0.0, "shape": 0.0}
TILT_DEGREES = 12.0  # the header says that the slices follow the AC-PC line, as on clinical scans
BASE_SHARE = 0.56  # height of the middle slice in the brain box, so that vertex and posterior fossa are both covered


def draw(data: Path, head_name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One FLAIR (S, R, A) with white matter at about 1, and its lesions (S, R, A) bool."""
    settings = Settings(shape=(PIXELS, PIXELS), pixel_mm=PIXEL_MM, healthy=0.0, priors=PRIORS)
    head = head_named(data, head_name)
    generator = Generator([head], *load_lesion_shapes(data), settings, seed)
    low, high = head.brain_box[2]
    slab = whole_head(generator, head, low + BASE_SHARE * (high - low), SLICES, THICKNESS_MM)
    lesion = generator.grow_lesions(slab)
    flair = scan(generator, slab, generator.flair_signal(slab, lesion), SLICES, seed)
    return flair, (by_slice(slab, lesion, SLICES) > 0.5).numpy()


def whole_head(generator: Generator, head: Head, middle: float, slices: int, thickness_mm: float) -> Slab:
    """Slices around voxel ``middle`` through one deformed head, as one slab of planes at most 1 mm apart."""
    planes = slices * max(1, round(thickness_mm))
    depths_mm = (np.arange(planes) - (planes - 1) / 2) * (thickness_mm * slices / planes)
    return generator.deform(head, middle, depths_mm, 1 - generator.is_air)


def by_slice(slab: Slab, values: torch.Tensor, slices: int) -> torch.Tensor:
    """Mean of values (N,) through each slice: (S, R, A)."""
    full = slab.fill(values)
    return full.reshape(slices, -1, *full.shape[1:]).mean(1)


def scan(generator: Generator, slab: Slab, signal: torch.Tensor, slices: int, seed: int) -> np.ndarray:
    """The slices as one scanner acquires them: (S, R, A)."""
    acquired = []
    for plane in by_slice(slab, signal, slices):
        generator.rng = np.random.default_rng(seed)  # one scanner for all slices; the noise itself goes on
        acquired.append(generator.acquire(plane).numpy())
    return np.stack(acquired)


def write(voxels: np.ndarray, path: Path, description: str) -> None:
    """Write (S, R, A) voxels in the usual clinical order (left, posterior, superior), tilted."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.transpose(0, 2, 1)[:, ::-1, ::-1]))
    image.SetSpacing((PIXEL_MM, PIXEL_MM, THICKNESS_MM))
    c, s = np.cos(np.deg2rad(TILT_DEGREES)), np.sin(np.deg2rad(TILT_DEGREES))
    direction = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    image.SetDirection(direction.ravel().tolist())
    centre = np.array([PIXELS * PIXEL_MM, PIXELS * PIXEL_MM, SLICES * THICKNESS_MM]) / 2
    image.SetOrigin((-(direction @ centre)).tolist())
    image.SetMetaData("descrip", description)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)


def read_arguments(description: str, head: str, seed: int) -> argparse.Namespace:
    """The command line of a sample: data, head, seed and output. One thread draws, so that a seed is one picture."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--head", default=head)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    torch.set_num_threads(1)
    return parser.parse_args()


def head_named(data: Path, name: str) -> Head:
    return next(head for head in load_heads(data, HERE / "cache") if head.name == name)


def main() -> None:
    arguments = read_arguments(__doc__, "10", 32)
    flair, truth = draw(arguments.data, arguments.head, arguments.seed)
    level = 220 / np.percentile(flair, 99.8)  # 8 bit: small to download, and scanners' secondary captures are so too
    name = "synthetic_flair_5mm"
    write((flair * level).clip(0, 255).astype(np.uint8), arguments.output / f"{name}.nii.gz", "synthetic, no patient")
    write(truth.astype(np.uint8), arguments.output / f"{name}_true_lesions.nii.gz", "synthetic lesions, no patient")
    print(f"{truth.sum() * PIXEL_MM**2 * THICKNESS_MM / 1000:.1f} mL of lesions in {arguments.output}")


if __name__ == "__main__":
    main()
