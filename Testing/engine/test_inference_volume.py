"""The 3D predictor and its network: every voxel at its place, windows as the whole, cancel and progress in order."""

import numpy as np
import pytest
import torch
from tiny_models import requires_monai
from torch import nn

import csvd.inference_volume
from csvd.errors import Cancelled
from csvd.inference_volume import VolumePredictor
from csvd.networks import build

EMPTY = -4.0
NETWORK = {"architecture": "UNet3D", "out_channels": 2, "channels": [2, 4, 4], "in_plane_levels": 1}


class Known(nn.Module):
    """Two outputs, the voxel and minus it; keeps the shapes it was shown."""

    strides = (2, 4, 4)

    def __init__(self):
        super().__init__()
        self.head, self.shown = nn.Conv3d(1, 2, 1), []

    def forward(self, x):
        self.shown.append(tuple(x.shape))
        return torch.cat([x, -x], 1)


def predictor(network, **options):
    made = VolumePredictor([network], "cpu", precision="full", **options)
    made.members = [network]
    return made


@pytest.fixture
def volume():
    """Empty but for a box of random values, (R, A, S)."""
    made = np.full((30, 40, 60), EMPTY, np.float32)
    made[5:24, 8:31, 3:55] = np.random.default_rng(0).normal(size=(19, 23, 52))
    return made


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


pytestmark = requires_monai


def test_every_voxel_of_the_content_has_its_own_probability_and_the_rest_has_none(volume):
    network = Known()
    found = predictor(network)(volume, EMPTY)
    assert network.shown == [(1, 1, 52, 20, 24)]  # (S, R, A), in-plane sides multiples of 4
    inside = volume != EMPTY
    assert np.allclose(found[0][inside], sigmoid(volume[inside]), atol=1e-6)
    assert np.allclose(found[1][inside], sigmoid(-volume[inside]), atol=1e-6)
    assert not found[:, ~inside].any()


def test_windows_give_what_the_whole_gives(volume, monkeypatch):
    whole = predictor(Known())(volume, EMPTY)
    monkeypatch.setattr(csvd.inference_volume, "MOST_VOXELS", 20 * 24 * 34)
    network, told = Known(), []
    assert np.allclose(predictor(network)(volume, EMPTY, told.append), whole, atol=1e-5)
    assert len(network.shown) == len(told) > 1
    assert max(shape[2] for shape in network.shown) <= 36
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.parametrize(("options", "views"), [
    ({"mirror": True}, 2), ({"along": ("S", "R", "A")}, 4), ({"along": ("S", "R", "A"), "mirror": True}, 6),
])  # fmt: skip
def test_mirrored_views_are_turned_back(volume, options, views):
    network = Known()
    assert np.allclose(predictor(network, **options)(volume, EMPTY), predictor(Known())(volume, EMPTY), atol=1e-6)
    assert len(network.shown) == views


@pytest.mark.parametrize(("axis", "place"), [("S", 2), ("R", 0), ("A", 1)])
def test_a_view_is_mirrored_along_the_axis_that_is_named(volume, axis, place):
    class Watched(Known):
        def forward(self, x):
            self.shown.append(x[0, 0].numpy().transpose(1, 2, 0))
            return torch.cat([x, -x], 1)

    network = Watched()
    predictor(network, along=(axis,))(volume, EMPTY)
    plain, mirrored = network.shown
    assert np.array_equal(np.flip(plain, place), mirrored)
    assert not np.array_equal(plain, mirrored)


@pytest.mark.parametrize(("slab", "weights"), [(2, (0.25, 0.5, 0.25)), (3, (1 / 3, 1 / 3, 1 / 3))])
def test_slices_are_shown_averaged_and_each_gets_its_own_answer(volume, slab, weights):
    """Neighbours outside the content do not count."""
    network, content = Known(), volume != EMPTY
    found = predictor(network, slab=slab)(volume, EMPTY)[0]
    shares, values = np.pad(content, ((0, 0), (0, 0), (1, 1))), np.pad(volume, ((0, 0), (0, 0), (1, 1)))
    total, share = (
        sum(w * part[..., n : n + volume.shape[2]] for n, w in enumerate(weights)) for part in (values * shares, shares)
    )
    assert np.allclose(found[content], sigmoid(total[content] / share[content]), atol=1e-6)
    assert not found[~content].any()
    assert [shape[2] for shape in network.shown] == {2: [26, 26], 3: [18, 18, 18]}[slab]


@pytest.mark.parametrize("slices", [1, 2, 16, 17])
def test_a_scan_may_have_as_few_slices_as_two_windows_share(volume, slices):
    few, told = volume[..., 3 : 3 + slices], []
    assert np.allclose(predictor(Known())(few, EMPTY, told.append)[0][few != EMPTY], sigmoid(few[few != EMPTY]))
    assert told == [1]


def test_progress_runs_through_all_slabs(volume):
    told = []
    predictor(Known(), slab=3)(volume, EMPTY, told.append)
    assert told == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_volume_of_fewer_slices_than_a_slab_is_seen_whole(volume):
    found = predictor(Known(), slab=3)(volume[..., 3:5], EMPTY)
    assert np.allclose(found[..., 0], found[..., 1])
    assert found.any()


def test_nothing_is_found_in_an_empty_volume():
    assert not predictor(Known())(np.full((8, 8, 8), EMPTY, np.float32), EMPTY).any()


def test_it_stops_when_asked_to(volume):
    with pytest.raises(Cancelled):
        predictor(Known())(volume, EMPTY, cancelled=lambda: True)


def test_where_a_device_has_no_memory_the_cpu_goes_on(volume):
    made = predictor(Known())
    made.device, tries = torch.device("cuda"), []

    def vote(*given):
        tries.append(made.device.type)
        if len(tries) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return VolumePredictor.vote(made, *given)

    made.vote = vote
    assert made(volume, EMPTY).any()
    assert tries == ["cuda", "cpu"]
    assert "ran out of memory" in made.warnings[0]


def test_the_network_keeps_its_shape_and_names_its_strides():
    network = build(NETWORK).eval()
    assert network.strides == (2, 4, 4)
    with torch.inference_mode():
        assert network(torch.randn(2, 1, 6, 8, 12)).shape == (2, 2, 6, 8, 12)
    assert build({**NETWORK, "in_plane_levels": 0} | {"channels": [2, 2, 2, 2]}).strides == (8, 8, 8)


def test_what_lies_several_slices_away_reaches_a_voxel():
    torch.manual_seed(0)
    network, picture = build(NETWORK).eval(), torch.zeros(1, 1, 16, 16, 16)
    before = network(picture)[0, 0, 8, 8, 8]
    picture[0, 0, 12, 8, 8] = 50
    assert network(picture)[0, 0, 8, 8, 8] != before
