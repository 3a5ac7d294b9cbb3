"""What SE-UNet, U-Net and the Tiantan CNN share: a block of convolutions, and the way down and up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn


class ConvBlock(nn.Sequential):
    """``convolutions`` times 3x3 convolution, batch norm, ReLU: (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, convolutions: int):
        layers: list[nn.Module] = []
        for i in range(convolutions):
            layers += [
                nn.Conv2d(in_channels if i == 0 else out_channels, out_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UShape(nn.Module):
    """A block at every level with 2x2 max-pooling between them, and a block at every level but the deepest going up.

    Parameters
    ----------
    in_channels, out_channels
        Input sequences and output logits per pixel.
    channels
        Of every level, the finest first, each twice the one before.
    convolutions
        3x3 convolutions in every block.
    gate
        Makes what follows an encoder block from its channels; nothing by default.
    learned_up
        Go up with 2x2 transposed convolutions, which halve the channels, or with bilinear interpolation, which has no
        weights and keeps them.

    ``forward`` maps (B, in_channels, H, W) to logits (B, out_channels, H, W); H and W are multiples of ``STRIDE``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        convolutions: int,
        gate: Callable[[int], nn.Module] = nn.Identity,
        learned_up: bool = True,
    ):
        super().__init__()
        self.encoder = nn.ModuleList(ConvBlock(a, b, convolutions) for a, b in pairwise([in_channels, *channels]))
        self.gates = nn.ModuleList(gate(c) for c in channels)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * c, c, 2, stride=2) if learned_up else nn.Upsample(scale_factor=2, mode="bilinear")
            for c in channels[:-1]
        )
        self.decoder = nn.ModuleList(ConvBlock((2 if learned_up else 3) * c, c, convolutions) for c in channels[:-1])
        self.head = nn.Conv2d(channels[0], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, (block, gate) in enumerate(zip(self.encoder, self.gates, strict=True)):
            x = gate(block(x if level == 0 else self.pool(x)))
            skips.append(x)
        for skip, up, block in reversed(list(zip(skips, self.up, self.decoder, strict=False))):
            x = block(torch.cat([skip, up(x)], dim=1))
        return self.head(x)
