"""PlainConvUNet in 2D, the network of nnU-Net (Isensee et al., Nat Methods 2021), which Ryu et al. used on CT.

Stages of two 3x3 convolutions with instance norm and leaky ReLU; from the second stage on the first convolution has
stride 2; 2x2 transposed convolutions lead up again. The layers are those of ``dynamic-network-architectures``
(``PlainConvUNet``, two convolutions in every block of encoder and decoder) in the same order, so that weights can be
carried either way; that package is not used because it brings timm, and Slicer needs no nnU-Net for one network.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

CONVOLUTIONS_PER_STAGE = 2  # nnU-Net
SLOPE = 0.01  # of the leaky ReLU: nnU-Net


class ConvStage(nn.Sequential):
    """Two 3x3 convolutions, instance norm, leaky ReLU: (B, C_in, H, W) -> (B, C_out, H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        layers: list[nn.Module] = []
        for i in range(CONVOLUTIONS_PER_STAGE):
            layers += [
                nn.Conv2d(out_channels if i else in_channels, out_channels, 3, stride=1 if i else stride, padding=1),
                nn.InstanceNorm2d(out_channels, affine=True),
                nn.LeakyReLU(SLOPE, inplace=True),
            ]
        super().__init__(*layers)


class PlainConvUNet2d(nn.Module):
    """nnU-Net's plain U-Net with deep supervision.

    Parameters
    ----------
    in_channels, out_channels
        Input sequences and output logits per pixel.
    features
        Channels of every stage, the finest first; every stage halves the picture.

    ``forward`` maps (B, in_channels, H, W) to logits (B, out_channels, H, W); H and W are multiples of ``STRIDE``. In
    training it returns those of every decoder stage, the finest first: full size, half, quarter ...
    """

    def __init__(self, in_channels: int, out_channels: int, features: Sequence[int]):
        super().__init__()
        self.STRIDE = 2 ** (len(features) - 1)
        self.encoder = nn.ModuleList(
            ConvStage(a, b, stride=1 if level == 0 else 2)
            for level, (a, b) in enumerate(pairwise([in_channels, *features]))
        )
        upwards = list(pairwise(reversed(features)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in upwards)
        self.decoder = nn.ModuleList(ConvStage(2 * b, b) for _, b in upwards)
        self.heads = nn.ModuleList(nn.Conv2d(b, out_channels, 1) for _, b in upwards)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        logits = []
        for up, stage, head, skip in zip(self.up, self.decoder, self.heads, reversed(skips[:-1]), strict=True):
            x = stage(torch.cat([up(x), skip], dim=1))
            if self.training:
                logits.append(head(x))
        return logits[::-1] if self.training else self.heads[-1](x)
