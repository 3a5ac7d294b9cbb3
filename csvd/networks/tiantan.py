"""The 2D CNN of the Tiantan deep learning system for white matter hyperintensities (Shan et al., Front Med 2021).

The paper's network is a U of 19 layers in nine convolution blocks of 16 to 256 channels. We read it as five blocks
going down and four going up, of two 3x3 convolutions with batch norm and ReLU each, and a 1x1 convolution at the end:
9 x 2 + 1 = 19. So nothing but interpolation can lie between the blocks on the way up; bilinear is a choice.

The paper ends in a softmax over two classes with cross-entropy. We end in one logit with a sigmoid, which is the same
function: a softmax over two logits is the sigmoid of their difference.
"""

from __future__ import annotations

from .ushape import UShape

LEVELS = 5  # four down-sampling steps (paper)
CONVOLUTIONS_PER_BLOCK = 2  # nine blocks and 19 layers (paper)


class TiantanCNN(UShape):
    """U-Net of nine blocks without learned up-sampling.

    ``in_channels`` and ``out_channels`` are input sequences and output logits per pixel; ``width`` is the channels of
    the first level, doubled at every level; the published network has 16.
    """

    STRIDE = 2 ** (LEVELS - 1)

    def __init__(self, in_channels: int = 1, out_channels: int = 1, width: int = 16):
        channels = [width * 2**level for level in range(LEVELS)]
        super().__init__(in_channels, out_channels, channels, CONVOLUTIONS_PER_BLOCK, learned_up=False)
