"""MO-UNet: one EfficientNet encoder and a decoder with scSE attention for every marker (Front Neurol 2025, 1540923).

The encoder is MONAI's EfficientNet (Apache-2.0; Tan and Le, ICML 2019), the decoder steps are those of a U-Net with
concurrent spatial and channel squeeze-and-excitation before and after the two convolutions (Roy et al., MICCAI 2018).
Where we leave the paper: EfficientNet-b0 without its last two stages, whose pixels of 24 mm hold no marker, and
narrower decoders instead of b3 and 256 to 16 channels, so that the weights are 2 MB; groups of channels are normalised
(Wu and He, ECCV 2018) instead of the batch, as a batch that fits here holds one or two slices of a sequence; and the
decoder is chosen by the caller, by name, where the published code reads a mark that is painted into the corner of the
picture.

MONAI takes seconds to load and few networks need it, so it is imported when this one is built.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

ENCODER = "efficientnet-b0"
STAGES = 5  # of the encoder's seven
ENCODER_CHANNELS = (16, 24, 40, 112)  # at 1/2, 1/4, 1/8 and 1/16 of the picture
NORMS = {"batch": ("batch", {"eps": 1e-3, "momentum": 0.01}), "group": ("group", {"num_groups": 8})}  # 8 divides all
RARE = -4.0  # bias of an untrained head: a marker is in few pixels, and learning starts from there (Lin et al., 2017)
REDUCTION = 16  # of the channel gate, as in segmentation_models.pytorch


class ScSE(nn.Module):
    """Channels weighed by a gate, plus pixels weighed by a gate (Roy et al., MICCAI 2018)."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(channels // REDUCTION, 2)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.channel(x) + self.spatial(x))


class DecoderStep(nn.Module):
    """Twice the size: (B, C, H, W) and a skip (B, C_skip, 2H, 2W), or none, -> (B, C_out, 2H, 2W)."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, norm: str):
        from monai.networks.layers import get_norm_layer

        super().__init__()
        joined = in_channels + skip_channels
        self.before = ScSE(joined)
        layers: list[nn.Module] = []
        for channels in (joined, out_channels):
            layers += [
                nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
                get_norm_layer(NORMS[norm], spatial_dims=2, channels=out_channels),
                nn.ReLU(inplace=True),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.after = ScSE(out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.after(self.convolutions(self.before(x)))


class Decoder(nn.Module):
    """From the encoder's features, finest first, to logits (B, out_channels, H, W)."""

    def __init__(self, channels: Sequence[int], out_channels: int, norm: str):
        super().__init__()
        skips = (*ENCODER_CHANNELS[-2::-1], 0)
        inputs = (ENCODER_CHANNELS[-1], *channels[:-1])
        self.steps = nn.ModuleList(DecoderStep(*sizes, norm) for sizes in zip(inputs, skips, channels, strict=True))
        self.head = nn.Conv2d(channels[-1], out_channels, 3, padding=1)
        nn.init.constant_(self.head.bias, RARE)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        x, skips = features[-1], (*features[-2::-1], None)
        for step, skip in zip(self.steps, skips, strict=True):
            x = step(x, skip)
        return self.head(x)


class MOUNet(nn.Module):
    """One encoder, one decoder for every marker.

    Parameters
    ----------
    in_channels
        Neighbouring slices of one sequence that are seen at once; one in MO-UNet.
    markers
        How many decoders there are.
    channels
        Of the four steps of every decoder, the coarsest first; multiples of 8 if ``norm`` is group.
    norm
        ``group``, or ``batch`` as published, which needs larger batches in training.

    ``forward`` maps (B, in_channels, H, W) and the numbers of the decoders to run to logits (B, decoders, H, W); all
    run when none is named. H and W are multiples of ``STRIDE``. The encoder runs once whatever is asked for.
    Raises ModuleNotFoundError where MONAI is not installed.
    """

    STRIDE = 16

    def __init__(self, in_channels: int, markers: int, channels: Sequence[int], norm: str = "batch"):
        from monai.networks.nets import EfficientNetBNFeatures

        super().__init__()
        self.encoder = EfficientNetBNFeatures(ENCODER, pretrained=False, in_channels=in_channels, norm=NORMS[norm])
        self.encoder._blocks = self.encoder._blocks[:STAGES]
        for unused in ("_conv_head", "_bn1", "_fc"):  # of the classifier
            setattr(self.encoder, unused, nn.Identity())
        self.decoders = nn.ModuleList(Decoder(channels, 1, norm) for _ in range(markers))

    def forward(self, x: torch.Tensor, decoders: Sequence[int] | None = None) -> torch.Tensor:
        features = self.encoder(x)
        chosen = range(len(self.decoders)) if decoders is None else decoders
        return torch.cat([self.decoders[number](features) for number in chosen], dim=1)

    def routed(self, x: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Logits (B, markers, H, W) of a batch of mixed sequences; 0 where ``wanted``, (B, markers) bool, is not."""
        features = self.encoder(x)
        logits = x.new_zeros(len(x), len(self.decoders), *x.shape[2:])
        for number, decoder in enumerate(self.decoders):
            rows = wanted[:, number]
            if rows.any():
                logits[rows, number] = decoder([level[rows] for level in features])[:, 0].to(logits.dtype)
        return logits


class Routed(nn.Module):
    """The encoder of a MO-UNet and those of its decoders, by number, that a sequence is for; the others are left out.

    ``forward`` maps (B, in_channels, H, W) to logits (B, decoders, H, W), with one pass of the encoder.
    """

    STRIDE = MOUNet.STRIDE

    def __init__(self, network: MOUNet, decoders: Sequence[int]):
        super().__init__()
        self.encoder = network.encoder
        self.decoders = nn.ModuleList(network.decoders[number] for number in decoders)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.encoder(x)
        return torch.cat([decoder(features) for decoder in self.decoders], dim=1)
