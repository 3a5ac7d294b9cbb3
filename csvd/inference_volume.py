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
    ):
        self.precision, self.strides = precision, members[0].strides
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
        image = torch.from_numpy(np.ascontiguousarray(volume[box].transpose(2, 0, 1)))[None, None]
        try:
            found = self.vote(image, background, progress, cancelled)
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
            self.warnings.append(CPU_INSTEAD.format(self.device.type))
            self.use(torch.device("cpu"))
            found = self.vote(image, background, progress, cancelled)
        probability[(slice(None), *box)] = found[0].cpu().numpy().transpose(0, 2, 3, 1)
        return probability

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
        windows, done = max(-(-(image.shape[2] - OVERLAP) // (window[0] - OVERLAP)), 1), 0

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

        return sliding_window_inference(
            image.to(self.device), window, 1, predict, overlap=OVERLAP / window[0], mode="gaussian", cval=background
        )

    def window(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Whole slices (S, R, A), and as many as ``MOST_VOXELS`` allow; windows are of one size."""
        step, *in_plane = self.strides
        sides = [-(-n // stride) * stride for n, stride in zip(shape[1:], in_plane, strict=True)]
        most = max(MOST_VOXELS // (sides[0] * sides[1]), 2 * OVERLAP)
        count = max(-(-(shape[0] - OVERLAP) // (most - OVERLAP)), 1)
        slices = -(-(shape[0] + (count - 1) * OVERLAP) // count)
        return -(-slices // step) * step, *sides
