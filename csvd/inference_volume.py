"""VolumePredictor: a whole volume -> probabilities, by networks that see in 3D, on whatever device there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from .errors import Cancelled
from .inference import CPU_INSTEAD, Progress, choose_device, is_out_of_memory, reduced_precision

MOST_VOXELS = 4_000_000  # of a window: choice; microbleed-unet3d takes .9 GB for so many on a CPU
AXES = {"S": 2, "R": 3, "A": 4}  # of what the networks see
OVERLAP = 16  # slices that two windows share: choice, two voxels of the coarsest of four levels


class VolumePredictor:
    """Runs 3D networks over the content of a volume and averages their probabilities.

    Parameters
    ----------
    members
        Networks of one architecture; every output channel is a question of its own (sigmoid).
    along
        Of ``AXES``: the members also see the volume mirrored along each of these.
    slab
        How many neighbouring slices the members see averaged, at every slice. They see only as many slices at once as
        do not overlap, so the volume is shown that often.
    device, mirror, precision
        As of ``inference.Predictor``; ``mirror`` also shows every view left-right mirrored.
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        device: str = "auto",
        mirror: bool = False,
        precision: str = "auto",
        along: Sequence[str] = (),
        slab: int = 1,
    ):
        self.precision, self.strides, self.slab = precision, members[0].strides, slab
        views = [frozenset(), *(frozenset([AXES[axis]]) for axis in along)]
        turned = [view ^ {AXES["R"]} for view in views] if mirror else []
        self.views = [sorted(view) for view in dict.fromkeys(views + turned)]
        self.warnings: list[str] = []
        self.members = [member.to(memory_format=torch.channels_last_3d) for member in members]
        self.use(choose_device(device))

    def use(self, device: torch.device) -> None:
        self.device = device
        self.dtype = reduced_precision(device) if self.precision == "auto" else None
        self.members = [member.to(device) for member in self.members]

    def __call__(
        self,
        volume: np.ndarray,
        background: float,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        """Probabilities (M, R, A, S) of a volume (R, A, S); 0 outside the box of what is not ``background``.

        Raises Cancelled.
        """
        channels = self.members[0].head.out_channels
        probability = np.zeros((channels, *volume.shape), np.float32)
        box = next(iter(ndimage.find_objects((volume != background).astype(np.uint8))), None)
        if box is None:
            return probability
        try:
            found = self.at_every_slice(volume[box], background, progress, cancelled)
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
            self.warnings.append(CPU_INSTEAD.format(self.device.type))
            self.use(torch.device("cpu"))
            found = self.at_every_slice(volume[box], background, progress, cancelled)
        probability[(slice(None), *box)] = found
        return probability

    def at_every_slice(
        self,
        volume: np.ndarray,
        background: float,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> np.ndarray:
        """Probabilities (M, R, A, S): of every ``slab``-th slice at once, from each of the first ones on."""
        seen = averaged(volume, background, self.slab)
        found = np.empty((self.members[0].head.out_channels, *volume.shape), np.float32)
        for first in range(min(self.slab, volume.shape[2])):
            own = slice(first, None, self.slab)
            image = torch.from_numpy(np.ascontiguousarray(seen[..., own].transpose(2, 0, 1)))[None, None]
            told = progress and (lambda done, first=first: progress((first + done) / self.slab))
            found[..., own] = self.vote(image, background, told, cancelled)[0].cpu().numpy().transpose(0, 2, 3, 1)
        return found

    @torch.inference_mode()
    def vote(
        self,
        image: torch.Tensor,
        background: float,
        progress: Progress | None,
        cancelled: Callable[[], bool] | None,
    ) -> torch.Tensor:
        """Mean probability of the members, (1, 1, S, R, A) -> (1, M, S, R, A)."""
        from monai.inferers import sliding_window_inference

        window = self.window(tuple(image.shape[2:]))
        several = image.shape[2] > window[0]  # of few slices the one window may be no longer than what two would share
        windows, done = -(-(image.shape[2] - OVERLAP) // (window[0] - OVERLAP)) if several else 1, 0

        def predict(part: torch.Tensor) -> torch.Tensor:
            nonlocal done
            total = 0
            with torch.autocast(self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None):
                for member in self.members:
                    for flip in self.views:
                        if cancelled and cancelled():
                            raise Cancelled("Cancelled; nothing was written.")
                        total = total + member(part.flip(flip)).float().sigmoid().flip(flip)
            done += 1
            if progress:
                progress(min(done / windows, 1.0))
            return total / (len(self.members) * len(self.views))

        overlap = OVERLAP / window[0] if several else 0.0
        return sliding_window_inference(
            image.to(self.device), window, 1, predict, overlap=overlap, mode="gaussian", cval=background
        )

    def window(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Whole slices (S, R, A), and as many as ``MOST_VOXELS`` allow; windows are of one size."""
        step, *in_plane = self.strides
        sides = [-(-n // stride) * stride for n, stride in zip(shape[1:], in_plane, strict=True)]
        most = max(MOST_VOXELS // (sides[0] * sides[1]), 2 * OVERLAP)
        count = max(-(-(shape[0] - OVERLAP) // (most - OVERLAP)), 1)
        slices = -(-(shape[0] + (count - 1) * OVERLAP) // count)
        return -(-slices // step) * step, *sides


def averaged(volume: np.ndarray, background: float, count: int) -> np.ndarray:
    """Means of ``count`` slices of a volume (R, A, S) around every slice, of what is not ``background``.

    Of an even count, half of the slices at either end counts.
    """
    if count == 1:
        return volume
    weights = np.convolve(np.ones(count), [1.0] if count % 2 else [0.5, 0.5])
    content = volume != background
    total, share = (
        ndimage.convolve1d(values.astype(np.float32), weights, mode="constant")
        for values in (np.where(content, volume, 0), content)
    )
    return np.divide(total, share, out=np.full_like(volume, background), where=content)
