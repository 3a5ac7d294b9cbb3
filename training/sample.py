"""What the samples that ship with the extension are drawn with: a whole head at once, in slices that fit together."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from .heads import Head, load_heads
from .recipe import HERE
from .synthesis import Generator, Slab

OUTPUT = HERE.parent / "Resources" / "SampleData"
PRIORS = {"halo": 1.0, "confluent": 1.0, "punctate": 1.0, "map": 0.0, "shape": 0.0}
BASE_SHARE = 0.56  # height of the middle slice in the brain box, so that vertex and posterior fossa are both covered


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
