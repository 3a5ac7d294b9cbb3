"""Predictor: a stack of prepared slices -> probabilities, by an ensemble, on whatever device there is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .errors import Cancelled, InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
BATCH = {"cpu": 4, "cuda": 32, "mps": 16}  # choice: the rate no longer rises above these
# A block of this size, freed at once, makes glibc keep the smaller ones that come back to it (mallopt(3): the threshold
# follows freed blocks up to 32 MB); else each layer of a network gets memory that the kernel must clear anew.
KEPT_BYTES = 31 * 2**20
CPU_INSTEAD = "The {} device ran out of memory; the CPU was used instead."

Progress = Callable[[float], None]


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` takes CUDA, then MPS, then the CPU. Raises InputError for a device this machine does not have."""
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if count[device]))
    kind, _, number = name.partition(":")
    if kind not in count or (number and not number.isdecimal()):
        raise InputError(f"Unknown device {name!r}; choose one of {', '.join(DEVICES)}.")
    if int(number or 0) >= count[kind]:
        raise InputError(f"This machine has no usable {name} device; choose cpu or auto.")
    return torch.device(name)


def reduced_precision(device: torch.device) -> torch.dtype | None:
    """The narrow type whose masks equal those of fp32 (``make bench`` measures it), if the hardware has one."""
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and getattr(torch.cpu, "_is_amx_tile_supported", bool)():  # AVX-512 alone is slower
        return torch.bfloat16
    return None


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy whose batch norms are folded into the convolutions before them: the same function, sooner done."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for (holder, name), (next_holder, next_name) in neighbours(module):
            convolution, norm = getattr(holder, name), getattr(next_holder, next_name)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(holder, name, fuse_conv_bn_eval(convolution, norm))
                setattr(next_holder, next_name, nn.Identity())
    return network


def one_by_one(network: nn.Module) -> nn.Module:
    """A copy for one picture at a time, whose instance norms are batch norms by the statistics of that picture.

    The same function, sooner done: on the CPU an instance norm is none of channels last, and copies there and back.
    """
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, nn.InstanceNorm2d):
                norm = nn.BatchNorm2d(layer.num_features, layer.eps, track_running_stats=False)
                norm.load_state_dict(layer.state_dict())
                setattr(module, name, norm)
    return network


Place = tuple[nn.Module, str]  # a layer is that attribute of that module


def neighbours(module: nn.Module) -> Iterator[tuple[Place, Place]]:
    """Pairs of layers of ``module`` of which the second is given what the first returns, and nobody else is.

    They follow each other in a Sequential, or are called conv1 and bn1, conv2 and bn2 and so on and stand in this
    order, which is how ResNets are written.
    """
    if isinstance(module, nn.Sequential):
        yield from pairwise(places(module))
        return
    for first, second in pairwise(name for name, _ in module.named_children()):
        if first.startswith("conv") and second == first.replace("conv", "bn"):
            yield (module, first), (module, second)


def places(block: nn.Sequential) -> Iterator[Place]:
    """Where the layers of a Sequential stand, in the order in which they run; its own Sequentials are opened."""
    for name, layer in block.named_children():
        if isinstance(layer, nn.Sequential):
            yield from places(layer)
        else:
            yield block, name


def is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an error of its own; MPS, the CPU on Windows and the CPU elsewhere each say it in their words."""
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def content_window(content: np.ndarray, canvas: tuple[int, int], stride: int) -> tuple[slice, slice]:
    """Window of a 2D boolean projection: centred on the content, at least ``canvas``, sides multiples of ``stride``.

    It may reach beyond the array (negative start): the predictor pads. Networks with global gates were trained on
    ``canvas``, so a tighter crop would change what they see.
    """
    window = []
    for axis, least in enumerate(canvas):
        found = np.flatnonzero(content.any(axis=1 - axis))
        low, high = (int(found[0]), int(found[-1]) + 1) if found.size else (0, 1)
        side = max(least, high - low)
        side = -(-side // stride) * stride
        start = (low + high - side) // 2
        window.append(slice(start, start + side))
    return tuple(window)


class Predictor:
    """Runs the members of a bundle over a stack of slices and averages their probabilities (soft vote).

    Parameters
    ----------
    members
        Networks with one output channel (sigmoid) or several; all of one architecture.
    independent
        Whether several channels are questions of their own (sigmoid each), or one with several answers (softmax).
    canvas
        Smallest window (R, A) in pixels that the networks see, that of their training; None shows them whole slices.
    device, mirror
        ``auto``, ``cpu``, ``cuda`` or ``mps``; ``mirror`` also predicts every slice left-right mirrored.
    precision
        ``auto`` (narrow where the mask does not change) or ``full``.
    slices
        How many the networks see at once, as channels: that in the middle, which is predicted, and its neighbours. At
        either end of the stack the last slice stands for those beyond.
    apart
        How many slices away each neighbour is from the next.
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        canvas: tuple[int, int] | None,
        device: str = "auto",
        mirror: bool = False,
        precision: str = "auto",
        independent: bool = False,
        slices: int = 1,
        apart: int = 1,
    ):
        self.canvas, self.mirror, self.precision, self.independent = canvas, mirror, precision, independent
        self.slices, self.apart = slices, apart
        self.stride = members[0].STRIDE
        self.warnings: list[str] = []
        self.members = [fold_batch_norm(m).to(memory_format=torch.channels_last) for m in members]
        self.use(choose_device(device))

    def use(self, device: torch.device) -> None:
        self.device = device
        self.batch = BATCH[device.type]
        self.dtype = reduced_precision(device) if self.precision == "auto" else None
        self.members = [m.to(device) for m in self.members]
        if device.type != "cpu":
            return
        torch.empty(KEPT_BYTES, dtype=torch.uint8)
        if any(isinstance(m, nn.InstanceNorm2d) for m in self.members[0].modules()):
            self.members, self.batch = [one_by_one(m) for m in self.members], 1

    def __call__(
        self,
        stack: np.ndarray,
        background: float,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        """Probability of the single class of every voxel of ``stack`` (R, A, S); 0 where nothing was predicted.

        ``background`` is the value of empty voxels, used to find and to pad the content. Raises Cancelled.
        """
        probability = np.zeros(stack.shape, np.float32)
        for slices, window, batch in self.batches(stack, background, progress, cancelled):
            probability[(*window, slices)] = batch[:, 0].transpose(1, 2, 0)
        return probability

    def batches(
        self,
        stack: np.ndarray,
        background: float,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Iterator[tuple[np.ndarray, tuple[slice, slice], np.ndarray]]:
        """Yield (slice indices (B,), window into (R, A), probabilities (B, C, r, a)) for the slices with content."""
        content = stack != background
        filled = np.flatnonzero(content.any(axis=(0, 1)))
        if filled.size == 0:
            return
        shown = content.any(axis=2) if self.canvas else np.ones(stack.shape[:2], bool)
        window = content_window(shown, self.canvas or (1, 1), self.stride)
        inner = tuple(slice(max(w.start, 0), min(w.stop, n)) for w, n in zip(window, stack.shape, strict=False))
        offset = tuple(i.start - w.start for i, w in zip(inner, window, strict=True))
        place = tuple(slice(o, o + i.stop - i.start) for o, i in zip(offset, inner, strict=True))
        done = 0
        while done < filled.size:
            slices = filled[done : done + self.batch]
            images = np.full((len(slices), self.slices, *(w.stop - w.start for w in window)), background, np.float32)
            for channel in range(self.slices):
                near = (slices + self.apart * (channel - self.slices // 2)).clip(0, stack.shape[2] - 1)
                images[(slice(None), channel, *place)] = stack[(*inner, near)].transpose(2, 0, 1)
            try:
                probability = self.vote(torch.from_numpy(images), cancelled)
            except RuntimeError as error:
                if not is_out_of_memory(error) or not self.shrink():
                    raise
                continue
            yield slices, inner, probability[(slice(None), slice(None), *place)]
            done += len(slices)
            if progress:
                progress(done / filled.size)

    @torch.inference_mode()
    def vote(self, images: torch.Tensor, cancelled: Callable[[], bool] | None = None) -> np.ndarray:
        """Mean probability of the members, (B, slices, r, a) -> (B, C, r, a)."""
        images = images.to(self.device).contiguous(memory_format=torch.channels_last)
        views = [images, images.flip(2)] if self.mirror else [images]
        total = None
        with torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None):
            for member in self.members:
                for i, view in enumerate(views):
                    if cancelled and cancelled():
                        raise Cancelled("Cancelled; nothing was written.")
                    logits = member(view).float()
                    probability = logits.sigmoid() if self.independent or logits.shape[1] == 1 else logits.softmax(1)
                    probability = probability.flip(2) if i else probability
                    total = probability if total is None else total.add_(probability)
        return (total / (len(self.members) * len(views))).cpu().numpy()

    def shrink(self) -> bool:
        """After running out of memory: halve the batch, at one slice go to the CPU; False when neither can be done."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.batch > 1:
            self.batch //= 2
            return True
        if self.device.type == "cpu":
            return False
        self.warnings.append(CPU_INSTEAD.format(self.device.type))
        self.use(torch.device("cpu"))
        return True
