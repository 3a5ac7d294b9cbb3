"""U-Net on a ResNet-34 encoder, the architecture of VUNO Med-DeepBrain (Lee et al., Front Aging Neurosci 2024).

Both halves are MONAI's (Apache-2.0): its ``ResNet`` with the basic blocks and shortcuts of He et al. (CVPR 2016), and
the decoder of its ``FlexibleUNet``. What is not published is as in MONAI and in segmentation_models.pytorch:
nearest-neighbour up-sampling, two 3x3 convolutions with batch norm and ReLU per step, 256 to 16 channels, a 3x3 head.

MONAI takes seconds to load and no other network needs it, so it is imported when this one is built.
"""

from __future__ import annotations

import torch
from torch import nn

BLOCKS = (3, 4, 6, 3)  # ResNet-34: basic blocks per stage
RELU, NORM = ("relu", {"inplace": True}), "batch"


class ResNet34UNet(nn.Module):
    """U-Net whose encoder is a ResNet-34.

    Parameters
    ----------
    in_channels, out_channels
        Input sequences and output logits per pixel.
    width
        Channels of the first stage, a multiple of 4; the published ResNet-34 has 64.

    ``forward`` maps (B, in_channels, H, W) to logits (B, out_channels, H, W); H and W are multiples of ``STRIDE``.
    Raises ModuleNotFoundError where MONAI is not installed.
    """

    STRIDE = 32

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 64):
        from monai.networks.nets.flexible_unet import UNetDecoder
        from monai.networks.nets.resnet import ResNet, ResNetBlock

        super().__init__()
        stages = [width * 2**stage for stage in range(len(BLOCKS))]
        self.encoder = ResNet(
            ResNetBlock,
            list(BLOCKS),
            stages,
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
            act=RELU,
            norm=NORM,
        )
        self.decoder = UNetDecoder(
            spatial_dims=2,
            encoder_channels=[in_channels, width, *stages],
            decoder_channels=[4 * width, 2 * width, width, width // 2, width // 4],
            act=RELU,
            norm=NORM,
            dropout=0.0,
            bias=False,
            upsample="nontrainable",
            pre_conv=None,
            interp_mode="nearest",
            align_corners=None,
            is_pad=False,
        )
        self.head = nn.Conv2d(width // 4, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        encoder = self.encoder
        features = [x, encoder.act(encoder.bn1(encoder.conv1(x)))]
        x = encoder.maxpool(features[-1])
        for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
            x = stage(x)
            features.append(x)
        return self.head(self.decoder(features))
