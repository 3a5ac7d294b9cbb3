"""The predictor: every slice at its place, the members' mean, mirrors turned back, memory and cancel under control."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, requires_models, requires_sample, sample_slices
from torch import nn

import csvd.inference
from csvd.bundle import load_bundle
from csvd.errors import Cancelled, InputError
from csvd.inference import BATCH, Predictor, choose_device, content_window, fold_batch_norm, is_out_of_memory
from csvd.measure.agreement import dice
from csvd.networks import build

EMPTY = -4.0


class Known(nn.Module):
    """Any function of the images as a network; keeps the shapes it was shown."""

    STRIDE = 8

    def __init__(self, function=lambda images: images):
        super().__init__()
        self.function, self.shown = function, []

    def forward(self, images):
        self.shown.append(tuple(images.shape))
        return self.function(images)


def constant(probability):
    return Known(lambda images: torch.full_like(images, math.log(probability / (1 - probability))))


def predictor(*networks, canvas=(16, 24), **options):
    """A predictor on the CPU in full precision whose networks are the very ones given, so that they can be asked."""
    made = Predictor(networks, canvas, "cpu", precision="full", **options)
    made.members = list(networks)
    return made


def stack_with(slices, shape=(40, 48, 9), box=(slice(10, 14), slice(20, 33)), seed=0):
    """Empty but for a box of random values in some slices."""
    stack = np.full(shape, EMPTY, np.float32)
    for k in slices:
        stack[(*box, k)] = np.random.default_rng(seed + k).normal(size=stack[(*box, k)].shape)
    return stack


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def random_network(architecture="SEUNet", width=4, seed=0):
    """A network with batch norms that have something to fold."""
    torch.manual_seed(seed)
    network = build({"architecture": architecture, "in_channels": 1, "out_channels": 1, "width": width})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.3, 3)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_()
    return network.eval()


def test_the_window_is_centred_on_the_content_and_at_least_the_canvas():
    content = np.zeros((40, 48), bool)
    content[10:14, 20:33] = True
    # 4 rows and 13 columns; the canvas gives 16 and 24: (10 + 14 - 16) / 2 = 4 and (20 + 33 - 24) / 2 = 14.5
    assert content_window(content, (16, 24), 8) == (slice(4, 20), slice(14, 38))


def test_a_window_grows_with_the_content_in_steps_of_the_stride():
    content = np.zeros((40, 48), bool)
    content[3:28, 0:48] = True  # 25 rows need 32
    assert content_window(content, (16, 24), 8) == (slice(-1, 31), slice(0, 48))


def test_a_window_may_begin_before_the_image():
    content = np.zeros((10, 12), bool)
    content[0, 11] = True
    assert content_window(content, (16, 16), 8) == (slice(-8, 8), slice(3, 19))


def test_empty_slices_are_not_shown_and_stay_at_zero():
    network = constant(0.9)
    probability = predictor(network)(stack_with([2, 5]), EMPTY)
    assert network.shown == [(2, 1, 16, 24)]
    assert np.flatnonzero(probability.any(axis=(0, 1))).tolist() == [2, 5]


def test_neighbouring_slices_are_channels_and_the_last_slice_stands_for_those_beyond_it():
    shown = []
    network = Known(lambda images: shown.append(images.clone()) or images[:, 1:2])
    stack = stack_with([0, 1, 5], shape=(16, 24, 6), box=(slice(16), slice(24)))
    probability = predictor(network, slices=3)(stack, EMPTY)
    for row, near in zip(shown[0], ((0, 0, 1), (0, 1, 2), (4, 5, 5)), strict=True):
        assert np.array_equal(row.numpy(), stack[..., near].transpose(2, 0, 1))
    assert np.abs(probability[..., 5] - sigmoid(stack[..., 5])).max() < 1e-6


def test_the_neighbours_may_lie_farther_away():
    shown = []
    network = Known(lambda images: shown.append(images.clone()) or images[:, 1:2])
    stack = stack_with(range(6), shape=(16, 24, 6), box=(slice(16), slice(24)))
    predictor(network, slices=3, apart=2)(stack, EMPTY)
    for row, near in zip(
        torch.cat(shown), ((0, 0, 2), (0, 1, 3), (0, 2, 4), (1, 3, 5), (2, 4, 5), (3, 5, 5)), strict=True
    ):
        assert np.array_equal(row.numpy(), stack[..., near].transpose(2, 0, 1))


def test_what_was_cropped_comes_back_to_its_own_place():
    stack = stack_with([0, 3, 8])
    probability = predictor(Known())(stack, EMPTY)
    window = (slice(4, 20), slice(14, 38), [0, 3, 8])
    expected = np.zeros(stack.shape)
    expected[window] = sigmoid(stack[window])
    assert np.abs(probability - expected).max() < 1e-6


def test_an_image_smaller_than_the_canvas_is_padded_with_background_and_unpadded():
    seen = []
    stack = stack_with([1], shape=(6, 7, 3), box=(slice(0, 6), slice(2, 7)))
    probability = predictor(Known(lambda x: seen.append(x.clone()) or x), canvas=(16, 16))(stack, EMPTY)
    assert probability.shape == (6, 7, 3)
    assert np.abs(probability[..., 1] - sigmoid(stack[..., 1])).max() < 1e-6
    shown = seen[0][0, 0].numpy()
    assert shown.shape == (16, 16)
    assert np.count_nonzero(shown != EMPTY) == 6 * 5
    # rows: content 0..6, so 5 rows of padding before; columns: content 2..7, so (2 + 7 - 16) // 2 = -4
    assert np.array_equal(shown[5:11, 4:11], stack[..., 1])


def test_without_a_canvas_the_networks_see_whole_slices_and_still_no_empty_ones():
    network, stack = Known(), stack_with([2, 5], shape=(40, 48, 9))
    probability = predictor(network, canvas=None)(stack, EMPTY)
    assert network.shown == [(2, 1, 40, 48)]
    assert np.abs(probability[..., [2, 5]] - sigmoid(stack[..., [2, 5]])).max() < 1e-6
    assert np.flatnonzero(probability.any(axis=(0, 1))).tolist() == [2, 5]


def test_whole_slices_are_padded_to_the_stride_and_unpadded():
    network, stack = Known(), stack_with([1], shape=(37, 48, 3))
    probability = predictor(network, canvas=None)(stack, EMPTY)
    assert network.shown == [(1, 1, 40, 48)]
    assert np.abs(probability[..., 1] - sigmoid(stack[..., 1])).max() < 1e-6


def test_nothing_in_the_stack_gives_zeros_without_any_network():
    network = Known()
    probability = predictor(network)(np.full((20, 20, 4), EMPTY, np.float32), EMPTY)
    assert not probability.any()
    assert network.shown == []


def test_several_outputs_become_shares_that_add_up_to_one():
    logits = torch.tensor([0.0, math.log(3), math.log(4)])[None, :, None, None]
    network = Known(lambda x: logits.expand(len(x), 3, *x.shape[2:]))
    (slices, window, shares), = predictor(network).batches(stack_with([4, 6]), EMPTY)  # fmt: skip
    assert slices.tolist() == [4, 6]
    assert window == (slice(4, 20), slice(14, 38))
    assert shares.shape == (2, 3, 16, 24)
    assert shares[1, :, 5, 7].tolist() == pytest.approx([1 / 8, 3 / 8, 4 / 8])


def test_members_vote_with_the_mean_of_their_probabilities_and_not_of_their_logits():
    probability = predictor(constant(0.2), constant(0.6), constant(0.97))(stack_with([3]), EMPTY)
    assert probability[12, 25, 3] == pytest.approx((0.2 + 0.6 + 0.97) / 3, abs=1e-6)


def test_a_mirrored_view_is_turned_back_before_it_counts():
    def move_right(images):
        return torch.roll(images, 1, dims=2) * 100

    stack = np.full((16, 24, 1), -1.0, np.float32)
    stack[5, 9, 0] = 1
    plain = predictor(Known(move_right))(stack, -1.0)
    assert np.argwhere(plain > 0.9).tolist() == [[6, 9, 0]]
    both = predictor(Known(move_right), mirror=True)(stack, -1.0)
    # the content's window is rows -3..13: moved right in the picture, moved left in its mirror image
    assert np.argwhere(both > 0.1).tolist() == [[4, 9, 0], [6, 9, 0]]
    assert both[4, 9, 0] == pytest.approx(0.5)
    assert both[6, 9, 0] == pytest.approx(0.5)


def test_the_mirror_turns_left_to_right_and_nothing_else():
    seen = []
    stack = stack_with([0])
    predictor(Known(lambda x: seen.append(x.clone()) or x), mirror=True)(stack, EMPTY)
    assert len(seen) == 2
    assert torch.equal(seen[1], seen[0].flip(2))


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_size_of_a_batch_does_not_matter(batch):
    stack = stack_with(range(9))
    usual = predictor(random_network())
    other = predictor(random_network())
    other.batch = batch
    assert np.allclose(usual(stack, EMPTY), other(stack, EMPTY), atol=1e-5)


def test_the_same_stack_gives_the_same_bits_on_a_cpu():
    stack = stack_with(range(9))
    options = {"canvas": (16, 24), "device": "cpu"}
    first, second = (Predictor([random_network(width=8)], **options)(stack, EMPTY) for _ in range(2))
    assert first.std() > 0
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_folding_batch_norms_keeps_the_function_and_the_original(architecture):
    network, x = random_network(architecture, 8), torch.randn(2, 1, 64, 96)
    before = network(x).detach()
    folded = fold_batch_norm(network)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert torch.allclose(folded(x), before, atol=1e-4 * float(before.abs().max()))
    assert torch.equal(network(x), before)
    assert float(before.std()) > 1e-3


class NormFirst(nn.Module):
    """A block whose batch norm comes before its convolution."""

    def __init__(self):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return self.conv1(self.bn1(x))


def test_a_batch_norm_is_folded_only_into_the_convolution_right_before_it():
    block = NormFirst()
    between = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)), block)
    for norm in (block.bn1, between[2][0]):
        norm.running_mean[:], norm.running_var[:] = 3, 5
    x = torch.randn(1, 2, 8, 8)
    expected, folded = between.eval()(x), fold_batch_norm(between)
    assert len([m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]) == 2
    assert torch.allclose(folded(x), expected)


def test_on_the_cpu_an_instance_norm_sees_one_picture_at_a_time_and_gives_the_same():
    torch.manual_seed(0)
    norm = nn.InstanceNorm2d(3, affine=True)
    norm.weight.data, norm.bias.data = torch.rand(3) + 0.5, torch.randn(3)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), norm, nn.Conv2d(3, 1, 1)).eval().requires_grad_(False)
    network.STRIDE = 1
    work = Predictor([network], (16, 20), "cpu", mirror=True, precision="full")
    assert work.batch == 1
    assert not any(isinstance(m, nn.InstanceNorm2d) for m in work.members[0].modules())
    pictures = torch.randn(2, 1, 16, 20)
    expected = (network(pictures).sigmoid() + network(pictures.flip(2)).sigmoid().flip(2)) / 2
    found = torch.cat([torch.from_numpy(work.vote(picture[None])) for picture in pictures])
    assert torch.allclose(found, expected, atol=1e-5)
    assert isinstance(network[1], nn.InstanceNorm2d)


class Cramped(Known):
    """Out of memory for more than so many slices at once."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error = most, error

    def forward(self, images):
        super().forward(images)
        if len(images) > self.most:
            raise self.error
        return images


NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=["cuda", "mps", "linux", "windows"])
def test_out_of_memory_halves_the_batch_and_loses_no_slice(error):
    stack, network, done = stack_with(range(9)), Cramped(2, error), []
    probability = predictor(network)(stack, EMPTY, done.append)
    assert [shape[0] for shape in network.shown] == [4, 2, 2, 2, 2, 1]
    assert np.array_equal(probability, predictor(Known())(stack, EMPTY))
    assert done == pytest.approx([2 / 9, 4 / 9, 6 / 9, 8 / 9, 1])


def test_a_real_allocation_that_fails_counts_as_out_of_memory():
    with pytest.raises(RuntimeError) as failed:
        torch.empty(10**15)
    assert is_out_of_memory(failed.value)


def test_a_cpu_without_memory_for_one_slice_says_so_in_the_end():
    with pytest.raises(torch.OutOfMemoryError):
        predictor(Cramped(0, torch.OutOfMemoryError("out of memory")))(stack_with([1]), EMPTY)


def test_another_error_is_not_taken_for_a_lack_of_memory():
    network = Cramped(2, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        predictor(network)(stack_with(range(9)), EMPTY)
    assert len(network.shown) == 1


def test_a_device_without_memory_for_one_slice_hands_over_to_the_cpu_and_says_so(monkeypatch):
    stack, work = stack_with(range(9)), predictor(Known())
    vote, tried = work.vote, []

    def vote_where_there_is_memory(images, cancelled=None):
        tried.append((work.device.type, len(images)))
        if work.device.type == "mps":
            raise RuntimeError("MPS backend out of memory")
        return vote(images, cancelled)

    monkeypatch.setattr(work, "vote", vote_where_there_is_memory)
    work.device, work.batch = torch.device("mps"), 4
    probability = work(stack, EMPTY)
    assert tried == [("mps", 4), ("mps", 2), ("mps", 1), ("cpu", 4), ("cpu", 4), ("cpu", 1)]
    assert work.warnings == ["The mps device ran out of memory; the CPU was used instead."]
    assert np.array_equal(probability, predictor(Known())(stack, EMPTY))


def test_cancel_is_asked_before_every_network_and_stops_there():
    networks = [Known(), Known(), Known()]
    asked = iter([False, False, True])
    with pytest.raises(Cancelled) as cancelled:
        predictor(*networks)(stack_with(range(9)), EMPTY, cancelled=lambda: next(asked))
    assert [len(network.shown) for network in networks] == [1, 1, 0]
    assert cancelled.value.exit_status == 130


def test_progress_never_falls_and_ends_at_one():
    done = []
    predictor(Known())(stack_with(range(20), shape=(40, 48, 23)), EMPTY, done.append)
    assert done == pytest.approx([4 / 20, 8 / 20, 12 / 20, 16 / 20, 1])


def test_memory_does_not_grow_with_the_slices_but_for_one_byte_a_voxel():
    """The bytes say where there is content; what the networks need is one batch, however tall the stack."""

    def peak(slices):
        stack = np.ones((64, 64, slices), np.float32)
        work = predictor(Known(), canvas=(64, 64))
        tracemalloc.start()
        for _ in work.batches(stack, 0.0):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert max(shape[0] for shape in work.members[0].shown) == BATCH["cpu"]
        return highest - stack.size

    small, large = peak(40), peak(400)
    assert large < small + 20_000
    assert small < 4 * 8 * 64 * 64 * 4


@pytest.mark.parametrize("name", ["tpu", "cpu:first", "gpu", ""])
def test_a_device_that_does_not_exist_is_refused(name):
    with pytest.raises(InputError, match="Unknown device"):
        choose_device(name)


def test_a_device_that_this_machine_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(InputError, match=f"no usable {name} device"):
            choose_device(name)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


def test_auto_takes_the_fastest_device_there_is(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device().type == "cuda"
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match="no usable cuda:2 device"):
        choose_device("cuda:2")


@pytest.mark.parametrize(("tiles", "narrow"), [(True, torch.bfloat16), (False, None)])
def test_a_cpu_computes_in_bfloat16_only_where_it_has_tiles_for_it(monkeypatch, tiles, narrow):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert csvd.inference.reduced_precision(torch.device("cpu")) is narrow


@requires_models
@requires_sample
@pytest.mark.skipif(
    csvd.inference.reduced_precision(torch.device("cpu")) is None, reason="this CPU has no narrow arithmetic"
)
def test_narrow_arithmetic_keeps_the_mask():
    stack, background = sample_slices()
    bundle = load_bundle("wmh-seunet")
    narrow, full = (
        Predictor(bundle.networks(1), bundle.canvas, "cpu", precision=precision)(stack, background) >= 0.5
        for precision in ("auto", "full")
    )
    assert full.any()
    assert dice(narrow, full) >= 0.995
