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

LEVELS = 4  # three down-sampling steps (paper)
CONVOLUTIONS_PER_LEVEL = 3  # paper
GATE_REDUCTION = 16  # published code
GATE_MIN_CHANNELS = 4  # choice: a gate of one or two channels, at small widths, cannot select


class ConvBlock(nn.Sequential):
    """``CONVOLUTIONS_PER_LEVEL`` times 3x3 convolution, batch norm, ReLU: (B, C_in, H, W) -> (B, C_out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int):
        layers: list[nn.Module] = []
        for i in range(CONVOLUTIONS_PER_LEVEL):
            layers += [
                nn.Conv2d(in_channels if i == 0 else out_channels, out_channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


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


class UNet(nn.Module):
    """Plain 2D U-Net with the SE-UNet's shape and no gates, the paper's comparison.

    Parameters
    ----------
    in_channels, out_channels
        Input sequences and output logits per pixel.
    width
        Channels of the first level, doubled at every level; the published network has 32.

    ``forward`` maps (B, in_channels, H, W) to logits (B, out_channels, H, W); H and W are multiples of ``STRIDE``.
    """

    STRIDE = 2 ** (LEVELS - 1)
    squeeze = False

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 32):
        super().__init__()
        channels = [width * 2**level for level in range(LEVELS)]
        self.encoder = nn.ModuleList(ConvBlock(a, b) for a, b in zip([in_channels, *channels], channels, strict=False))
        self.gates = nn.ModuleList(SqueezeExcitation(c) if self.squeeze else nn.Identity() for c in channels)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, stride=2) for c in channels[:-1])
        self.decoder = nn.ModuleList(ConvBlock(2 * c, c) for c in channels[:-1])
        self.head = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level, (block, gate) in enumerate(zip(self.encoder, self.gates, strict=True)):
            x = gate(block(x if level == 0 else self.pool(x)))
            skips.append(x)
        for level in reversed(range(LEVELS - 1)):
            x = self.decoder[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        return self.head(x)


class SEUNet(UNet):
    """U-Net with a squeeze-and-excitation gate after every encoder block (Kim et al., AJNR 2024)."""

    squeeze = True
