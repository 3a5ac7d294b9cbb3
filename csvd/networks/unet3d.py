"""A 3D U-Net for small foci: it sees a vein go on through the slices, where one slice shows a dot as of a microbleed.

After the 3D U-Net as nnU-Net plans it for anisotropic scans (Isensee et al., Nat Methods 2021): two 3x3x3 convolutions
with batch norm and leaky ReLU per level, strided convolutions down and transposed ones up, and in-plane steps first
where slices are thick. Blocks are MONAI's (Apache-2.0); fewer channels, so that a CPU takes seconds for a whole brain.

MONAI takes seconds to load and few networks need it, so it is imported when this one is built.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

RARE = -4.0  # bias of an untrained head: a focus is in few voxels, and learning starts from there (Lin et al., 2017)


class UNet3D(nn.Module):
    """(B, in_channels, S, R, A) -> logits (B, out_channels, S, R, A).

    Parameters
    ----------
    in_channels, out_channels
        Input sequences and output logits per voxel.
    channels
        Of every level, finest first.
    in_plane_levels
        How many steps down, the first ones, leave the slices alone.

    S, R and A are multiples of ``strides``. Raises ModuleNotFoundError where MONAI is not installed.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        channels: Sequence[int] = (8, 24, 48, 96),
        in_plane_levels: int = 0,
    ):
        from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetUpBlock

        super().__init__()
        steps = [(1, 2, 2) if level < in_plane_levels else (2, 2, 2) for level in range(len(channels) - 1)]
        self.strides = tuple(torch.tensor(steps).prod(0).tolist())
        before = (in_channels, *channels)
        self.down = nn.ModuleList(
            UnetBasicBlock(3, before[level], width, 3, step, "batch")
            for level, (width, step) in enumerate(zip(channels, [(1, 1, 1), *steps], strict=True))
        )
        self.up = nn.ModuleList(
            UnetUpBlock(3, channels[level + 1], channels[level], 3, 1, step, "batch")
            for level, step in reversed(list(enumerate(steps)))
        )
        self.head = nn.Conv3d(channels[0], out_channels, 1)
        nn.init.constant_(self.head.bias, RARE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for step in self.down:
            x = step(x)
            skips.append(x)
        for step, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = step(x, skip)
        return self.head(x)
