"""Blocks of synthetic scans for networks that see in 3D.

Whole slabs of a head are drawn and kept in mind a while, since a block takes a thousandth of the time that its scan
does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from csvd.measure.clusters import Clusters

from .synthesis import UNKNOWN


@dataclass(frozen=True)
class BlockSettings:
    """How slabs are cut into blocks. Ranges are choices."""

    block: tuple[int, int, int] = (24, 48, 48)  # (S, R, A) voxels
    high_mm: float = 140.0  # of a slab
    most_slices: int = 64
    on_marker: float = 0.6  # share of blocks around a voxel of a marker
    # Number of the marker around whose lesions these are laid, small ones as often as large; None: any voxel of any.
    aim: int | None = None
    mirrored: tuple[int, ...] = (0, 1, 2)  # axes (S, R, A) along which every other block is
    remembered: int = 24  # scans in mind
    each: int = 32  # blocks taken until another scan is drawn


@dataclass(frozen=True)
class Slab3D:
    """One scan as networks see it: (S, R, A) float16, targets (M, S, R, A) int8, where markers and brain lie (n, 3)."""

    seen: np.ndarray
    targets: np.ndarray
    marked: np.ndarray
    brain: np.ndarray


class Blocks:
    """What draws blocks of its own ``slab``s; stands before a Generator with a ``BlockSettings``."""

    OUTSIDE = 0.0  # the brain

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.slabs: list[Slab3D] = []
        self.taken = 0

    def block(self, **of) -> tuple[torch.Tensor, torch.Tensor]:
        """A block (1, S, R, A) of a scan that was drawn lately, mirrored or not, and its targets (M, S, R, A)."""
        settings, rng = self.settings, self.rng
        if self.taken % settings.each == 0:
            self.slabs = [*self.slabs[1 - settings.remembered :], self.slab(**of)]
        self.taken += 1
        marked = rng.random() < settings.on_marker
        slabs = [slab for slab in self.slabs if len(slab.marked)] if marked else self.slabs
        slab = (slabs or self.slabs)[int(rng.integers(len(slabs or self.slabs)))]
        places = slab.marked if marked and len(slab.marked) else slab.brain
        half = np.array(settings.block) // 2
        reach = np.maximum(half - 2, 0)
        jitter = rng.integers(-reach, reach + 1)  # the marker may lie anywhere in the block
        middle = places[int(rng.integers(len(places)))] + jitter
        low = np.clip(middle - half, 0, np.array(slab.seen.shape) - settings.block)
        box = tuple(slice(n, n + size) for n, size in zip(low.tolist(), settings.block, strict=True))
        flips = [axis for axis in settings.mirrored if rng.random() < 0.5]
        both = (slab.seen[None], slab.targets)
        picture, targets = (np.flip(part[(..., *box)], [axis - 3 for axis in flips]) for part in both)
        return torch.from_numpy(picture.astype(np.float32)), torch.from_numpy(targets.astype(np.float32))

    def as_slab(self, seen: np.ndarray, targets: np.ndarray) -> Slab3D:
        """(S, R, A) and (M, S, R, A) as they are kept: a block or more, and nothing to find outside the brain."""
        spare = [(0, max(n - size, 0)) for n, size in zip(self.settings.block, seen.shape, strict=True)]
        seen = np.pad(seen, spare, constant_values=self.OUTSIDE).astype(np.float16)
        targets = np.pad(targets, [(0, 0), *spare]).astype(np.int8)
        outside = seen == self.OUTSIDE
        targets[:, outside] = np.where(targets[:, outside] == 1, UNKNOWN, targets[:, outside])
        some = np.argwhere(~outside[::2, ::4, ::4]) * (2, 4, 4)  # of the brain: a place to start from
        return Slab3D(seen, targets, self.marked(targets == 1), some)

    def marked(self, markers: np.ndarray) -> np.ndarray:
        """Voxels that blocks are laid around, of markers (M, S, R, A): (n, 3)."""
        if self.settings.aim is None:
            return np.argwhere(markers.any(0))
        lesions = Clusters.of(markers[self.settings.aim])
        return np.rint(lesions.centroids()).astype(int) if lesions.count else np.empty((0, 3), int)
