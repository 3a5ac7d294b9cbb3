"""The networks are the published ones: levels, widths, layers, gates, and what the gates do."""

from itertools import pairwise

import pytest
import torch
from tiny_models import requires_monai
from torch import nn

from csvd.networks import architectures, build
from csvd.networks.mounet import MOUNet, ScSE
from csvd.networks.plainconvunet import PlainConvUNet2d
from csvd.networks.seunet import SEUNet, SqueezeExcitation, UNet
from csvd.networks.tiantan import TiantanCNN
from csvd.networks.ushape import ConvBlock

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
    for block in [*SEUNet(width=2).encoder, *SEUNet(width=2).decoder]:
        assert [type(layer) for layer in block] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3


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


# The Tiantan CNN (Shan et al., Front Med 2021)


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]


def test_the_tiantan_network_has_19_layers_in_nine_blocks_and_a_head():
    network = TiantanCNN()
    layers, blocks = convolutions(network), [m for m in network.modules() if isinstance(m, ConvBlock)]
    assert len(layers) == 19
    assert [len(convolutions(block)) for block in blocks] == [2] * 9
    assert [layer.kernel_size for layer in layers] == [(3, 3)] * 18 + [(1, 1)]
    assert [block[0].out_channels for block in network.encoder] == [16, 32, 64, 128, 256]
    assert [block[0].out_channels for block in network.decoder] == [16, 32, 64, 128]


def test_the_tiantan_network_has_these_many_parameters():
    def block(a, b):
        return 9 * a * b + 9 * b * b + 2 * 2 * b  # two convolutions without bias, two batch norms

    down = block(1, 16) + block(16, 32) + block(32, 64) + block(64, 128) + block(128, 256)
    up = sum(block(c + 2 * c, c) for c in (16, 32, 64, 128))  # what was seen on the way down, and what comes from below
    assert parameters(TiantanCNN()) == down + up + 16 + 1 == 1_963_809


def test_the_tiantan_network_pools_four_times_and_comes_back_to_every_size():
    network, seen = TiantanCNN(width=2).eval(), []
    for block in [*network.encoder, *reversed(network.decoder)]:
        block.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    network(torch.zeros(1, 1, 32, 48))
    down = [(2, 32, 48), (4, 16, 24), (8, 8, 12), (16, 4, 6), (32, 2, 3)]
    assert seen == [*down, *reversed(down[:-1])]


# The U-Net on a ResNet-34

EVERY = pytest.mark.parametrize(
    ("architecture", "stride"),
    [("SEUNet", 8), ("UNet", 8), ("TiantanCNN", 16), pytest.param("ResNet34UNet", 32, marks=requires_monai)],
)


@requires_monai
def test_the_encoder_is_a_resnet_34():
    encoder = build({"architecture": "ResNet34UNet", "width": 64}).encoder
    layers = convolutions(encoder)
    assert len([layer for layer in layers if layer.kernel_size != (1, 1)]) == 33  # the 34th is the classifier
    assert [len(stage) for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4)] == [3, 4, 6, 3]
    # torchvision's resnet34 has 21,284,672 without its classifier, of which 64 x 49 for each of two colours more
    assert parameters(encoder) == 21_284_672 - 2 * 64 * 49


@requires_monai
def test_the_resnet_u_net_has_as_many_parameters_as_the_usual_one_and_ours_fits_into_20_mb():
    # segmentation_models.pytorch: Unet("resnet34") for three colours has 24,436,369
    assert parameters(build({"architecture": "ResNet34UNet"})) == 24_436_369 - 2 * 64 * 49
    ours = parameters(build({"architecture": "ResNet34UNet", "width": 32}))
    assert ours == 6_113_097
    assert 2 * ours < 20e6


@requires_monai
def test_each_step_down_the_resnet_is_joined_on_the_way_up():
    """With one of its first four feature maps changed, the answer changes."""
    torch.manual_seed(0)
    network = build({"architecture": "ResNet34UNet", "width": 4}).eval()
    x = torch.randn(1, 1, 64, 64)
    whole, encoder = network(x), network.encoder
    for stage in (encoder.bn1, encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
        hook = stage.register_forward_hook(lambda _, __, out: out * 0)
        assert not torch.allclose(network(x), whole, atol=1e-6)
        hook.remove()
    assert torch.equal(network(x), whole)


# All of them


def test_every_architecture_is_known_by_its_name():
    in_2d = {"SEUNet", "UNet", "TiantanCNN", "ResNet34UNet", "PlainConvUNet2d", "MOUNet"}
    assert set(architectures()) == {*in_2d, "UNet3D"}
    assert all(network.__name__ == name for name, network in architectures().items())


@EVERY
def test_one_picture_in_one_logit_out_on_any_multiple_of_the_stride(architecture, stride):
    network = build({"architecture": architecture, "in_channels": 1, "out_channels": 1, "width": 4}).eval()
    assert stride == network.STRIDE
    assert network(torch.zeros(3, 1, 2 * stride, 5 * stride)).shape == (3, 1, 2 * stride, 5 * stride)
    with pytest.raises(RuntimeError):
        network(torch.zeros(1, 1, 2 * stride + stride // 2, 2 * stride))


@EVERY
def test_a_seed_makes_the_same_network_and_the_same_answer(architecture, stride):
    x, answers = torch.randn(2, 1, 2 * stride, 2 * stride), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        network = build({"architecture": architecture, "width": 8}).eval()
        answers.append(network(x))
        assert torch.equal(network(x), answers[-1])
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


@EVERY
def test_every_weight_is_trained(architecture, stride):
    network = build({"architecture": architecture, "width": 4})
    network(torch.randn(2, 1, 2 * stride, 2 * stride)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_nnunets_stages_halve_the_picture_and_its_layers_are_counted_by_hand():
    features = [4, 8, 16]
    network = PlainConvUNet2d(1, 1, features)
    assert PlainConvUNet2d(1, 1, [2] * 6).STRIDE == 32

    def stage(a, b):  # two convolutions with bias, two instance norms with scale and shift
        return 9 * a * b + b + 9 * b * b + b + 4 * b

    down = stage(1, 4) + stage(4, 8) + stage(8, 16)
    up = (4 * 16 * 8 + 8) + stage(16, 8) + (8 + 1) + (4 * 8 * 4 + 4) + stage(8, 4) + (4 + 1)
    assert parameters(network) == down + up
    assert network.eval()(torch.zeros(2, 1, 8, 12)).shape == (2, 1, 8, 12)


def test_nnunet_answers_at_every_size_while_it_learns_the_finest_first():
    network, x = PlainConvUNet2d(1, 2, [4, 8, 16]), torch.randn(1, 1, 16, 24)
    assert [tuple(level.shape) for level in network(x)] == [(1, 2, 16, 24), (1, 2, 8, 12)]
    assert torch.equal(network(x)[0], network.eval()(x))


@requires_monai
def test_a_marker_has_its_own_decoder_and_all_share_one_pass_of_the_encoder():
    torch.manual_seed(0)
    network, x = MOUNet(1, 3, (8, 8, 8, 8)).eval(), torch.randn(2, 1, 32, 64)
    passes = []
    network.encoder.register_forward_hook(lambda *_: passes.append(1))
    every = network(x)
    assert every.shape == (2, 3, 32, 64)
    assert torch.equal(network(x, [2, 0]), every[:, [2, 0]])
    assert len(passes) == 2
    with torch.no_grad():
        network.decoders[1].head.bias += 1
    assert torch.allclose(network(x) - every, torch.tensor([0.0, 1.0, 0.0])[None, :, None, None], atol=1e-5)


@requires_monai
def test_a_slice_of_a_mixed_batch_reaches_only_the_decoders_of_its_sequence():
    torch.manual_seed(0)
    network, x = MOUNet(1, 3, (8, 8, 8, 8)).eval(), torch.randn(2, 1, 32, 32)
    wanted = torch.tensor([[True, False, False], [False, True, True]])
    routed, every = network.routed(x, wanted), network(x)
    assert torch.allclose(routed[wanted], every[wanted], atol=1e-5)
    assert not routed[~wanted].any()


@requires_monai
def test_scse_adds_a_gate_of_channels_to_a_gate_of_pixels():
    gate, x = ScSE(4), torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        for layer in (gate.channel[3], gate.spatial[0]):
            layer.weight.zero_(), layer.bias.zero_()
    assert torch.allclose(gate(x), x)  # sigmoid(0) + sigmoid(0) = 1
