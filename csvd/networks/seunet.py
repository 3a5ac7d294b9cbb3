"""SE-UNet and its plain U-Net sibling (Kim et al., AJNR Am J Neuroradiol 2024).

The paper and the code published with it (jlk-jhpark/Whitematter-hyper-intensity-segmentation)
describe two different networks. We build the **paper's**: three max-pooling steps, three
3x3 conv + batch norm + ReLU per level, and one squeeze-and-excitation gate after each encoder
block. The code's variant (strided convolutions with dropout .5, the pooled input concatenated at
every level, 3x3 transposed convolutions) is not described, compared or ablated in the paper, so
the paper's figures cannot be said to belong to it. From the code we take what the paper leaves
open: 32/64/128/256 channels (``width=32``) and a gate without bias and with reduction 16.
"""

from __future__ import annotations

import torch
from torch import nn

from .ushape import UShape

LEVELS = 4  # three down-sampling steps (paper)
CONVOLUTIONS_PER_LEVEL = 3  # paper
GATE_REDUCTION = 16  # published code
GATE_MIN_CHANNELS = 4  # choice: a gate of one or two channels, at small widths, cannot select


class SqueezeExcitation(nn.Module):
    """Channel gate: global mean -> bottleneck -> sigmoid -> rescaled channels (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // GATE_REDUCTION, GATE_MIN_CHANNELS)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate(x.mean(dim=(2, 3)))[:, :, None, None]


class UNet(UShape):
    """Plain 2D U-Net with the SE-UNet's shape and no gates, the paper's comparison.

    ``in_channels`` and ``out_channels`` are input sequences and output logits per pixel; ``width`` is the channels of
    the first level, doubled at every level; the published network has 32.
    """

    STRIDE = 2 ** (LEVELS - 1)
    gate = nn.Identity

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 32):
        channels = [width * 2**level for level in range(LEVELS)]
        super().__init__(in_channels, out_channels, channels, CONVOLUTIONS_PER_LEVEL, self.gate)


class SEUNet(UNet):
    """U-Net with a squeeze-and-excitation gate after every encoder block (Kim et al., AJNR 2024)."""

    gate = SqueezeExcitation
