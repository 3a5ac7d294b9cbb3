"""The networks are those of Kim et al. (AJNR 2024): levels, widths, gates, and what the gates do."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from csvd.networks import build
from csvd.networks.seunet import ConvBlock, SEUNet, SqueezeExcitation, UNet

BOTH = pytest.mark.parametrize("architecture", [SEUNet, UNet])


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def plain_parameters(width, inputs=1, outputs=1):
    """Parameters of the U-Net without gates, counted by hand from its drawing; batch norms have two per channel."""
    levels = [width, 2 * width, 4 * width, 8 * width]

    def block(a, b):
        return 9 * a * b + 2 * 9 * b * b + 3 * 2 * b

    down = block(inputs, levels[0]) + sum(block(a, b) for a, b in pairwise(levels))
    up = sum(2 * c * c * 4 + c + block(2 * c, c) for c in levels[:3])
    return down + up + width * outputs + outputs


@BOTH
@pytest.mark.parametrize(("inputs", "outputs", "width"), [(1, 1, 4), (3, 10, 8)])
def test_every_pixel_gets_one_logit_for_every_output(architecture, inputs, outputs, width):
    network = architecture(inputs, outputs, width).eval()
    assert network(torch.zeros(2, inputs, 24, 40)).shape == (2, outputs, 24, 40)


@BOTH
def test_sides_need_only_be_multiples_of_the_stride_that_three_pooling_steps_give(architecture):
    assert architecture.STRIDE == 8
    network = architecture(width=2).eval()
    assert network(torch.zeros(1, 1, 8, 16)).shape == (1, 1, 8, 16)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, 12, 16))


@BOTH
def test_each_level_has_half_the_pixels_and_twice_the_channels(architecture):
    network, seen = architecture(width=4).eval(), []
    for block in network.encoder:
        block.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    network(torch.zeros(1, 1, 32, 48))
    assert seen == [(4, 32, 48), (8, 16, 24), (16, 8, 12), (32, 4, 6)]


def test_a_level_is_three_convolutions_each_with_batch_norm_and_relu():
    kinds = [type(layer) for layer in ConvBlock(2, 5)]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3


@pytest.mark.parametrize("width", [4, 16, 32])
def test_width_sets_the_number_of_parameters(width):
    assert parameters(UNet(width=width)) == plain_parameters(width)
    gates = sum(2 * c * max(c // 16, 4) for c in (width, 2 * width, 4 * width, 8 * width))
    assert parameters(SEUNet(width=width)) == plain_parameters(width) + gates


def test_the_published_width_of_32_has_these_many_parameters():
    assert parameters(UNet(width=32)) == 2_904_737
    assert parameters(SEUNet(width=32)) == 2_904_737 + 2 * (32 * 4 + 64 * 4 + 128 * 8 + 256 * 16)


def test_gates_stand_after_the_four_encoder_blocks_and_nowhere_else():
    gates = [name for name, module in SEUNet(width=4).named_modules() if isinstance(module, SqueezeExcitation)]
    assert gates == ["gates.0", "gates.1", "gates.2", "gates.3"]
    assert not [m for m in UNet(width=4).modules() if isinstance(m, SqueezeExcitation)]


def test_a_gate_scales_each_channel_by_what_the_means_of_all_channels_say():
    gate = SqueezeExcitation(4)
    squeeze, excite = gate.gate[0], gate.gate[2]
    squeeze.weight.data.zero_()
    squeeze.weight.data[0, 1] = 1  # the first hidden unit is the mean of channel 1
    excite.weight.data.zero_()
    excite.weight.data[2, 0], excite.weight.data[3, 0] = 5, -5
    x = torch.ones(1, 4, 2, 2)
    x[0, 1] = torch.tensor([[0.0, 1.0], [3.0, 4.0]])  # mean 2
    y = gate(x)
    scale = torch.stack([y[0, c].sum() / x[0, c].sum() for c in range(4)])
    # sigmoid of 0, 0, 10 and -10
    assert scale.tolist() == pytest.approx([0.5, 0.5, 0.9999546, 0.0000454], rel=1e-3)
    assert torch.equal(y[0, 1] / x[0, 1].clamp(min=1e-9), torch.tensor([[0.0, 0.5], [0.5, 0.5]]))


def test_the_skip_connections_carry_gated_features():
    """With the first gate shut, nothing of the first level reaches the head; without it, it does."""
    torch.manual_seed(0)
    network = SEUNet(width=4).eval()
    x = torch.randn(1, 1, 16, 16)
    network.gates[0] = nn.Module()
    network.gates[0].forward = lambda features: features * 0
    shut = network(x)
    assert torch.allclose(shut, network(x * 3), atol=1e-6)
    network.gates[0].forward = lambda features: features
    assert not torch.allclose(network(x), network(x * 3), atol=1e-3)


@BOTH
def test_a_state_dict_makes_the_same_network_again(architecture):
    torch.manual_seed(1)
    network = architecture(width=4)
    network(torch.randn(4, 1, 16, 16))  # so that batch norms have statistics of their own
    again = build({"architecture": architecture.__name__, "in_channels": 1, "out_channels": 1, "width": 4})
    again.load_state_dict(network.state_dict())
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(network.eval()(x), again.eval()(x))


def test_what_is_far_away_changes_a_pixel_only_through_the_gates():
    """The plain network sees a neighbourhood, the gates see the slice: why a tighter crop would change the answer."""
    torch.manual_seed(2)
    x = torch.rand(1, 1, 16, 256)
    y = x.clone()
    y[..., -16:] += 5
    plain, gated = UNet(width=4).eval(), SEUNet(width=4).eval()
    gated.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(plain(x)[..., :8], plain(y)[..., :8])
    assert not torch.equal(gated(x)[..., :8], gated(y)[..., :8])


def test_an_unknown_architecture_is_named():
    with pytest.raises(KeyError, match="Transformer"):
        build({"architecture": "Transformer"})
