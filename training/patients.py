"""A head that is deformed as a whole, and slices of any scanner laid through it: several scans of one patient agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from .heads import Head
from .sample import BASE_SHARE
from .synthesis import MAX_SUBSLICES, Generator, Slab, sample

WARP_MM, WARP_POINTS = 130, 6  # the warp's grid of control points spans so far around the isocentre
MOVED_MM, TURNED_DEG = 8.0, 6.0  # SD; how a patient lies in another scanner


@dataclass(frozen=True)
class Stack:
    """Slices of one scan in the scanner's room, RAS mm around ``centre_mm``: ``shape`` (R, A, S).

    ``rotation`` turns the slices' axes. On a CT with a tilted gantry the table still moves along superior, so that the
    stack is sheared (``along_table``); ``spacing_mm`` is measured along that way.
    """

    shape: tuple[int, int, int]
    pixel_mm: float
    thickness_mm: float
    spacing_mm: float
    rotation: np.ndarray
    along_table: bool = False
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def affine(self) -> np.ndarray:
        """Voxel (R, A, S) to RAS mm, 4x4; sheared where the gantry is tilted."""
        affine = np.eye(4)
        affine[:3, :2] = self.rotation[:, :2] * self.pixel_mm
        affine[:3, 2] = (np.array([0, 0, 1]) if self.along_table else self.rotation[:, 2]) * self.spacing_mm
        affine[:3, 3] = self.centre_mm - affine[:3, :3] @ ((np.array(self.shape) - 1) / 2)
        return affine

    @property
    def planes(self) -> int:
        """Planes whose mean is a slice."""
        return int(np.clip(round(self.thickness_mm), 1, MAX_SUBSLICES))

    def points(self, device: torch.device) -> torch.Tensor:
        """RAS mm of every pixel of every plane: (3, S * planes, R, A)."""
        depths = (np.arange(self.planes) - (self.planes - 1) / 2) * (self.thickness_mm / self.planes)
        rows, columns, slices = (torch.arange(n, device=device, dtype=torch.float32) for n in self.shape)
        affine = torch.from_numpy(self.affine.astype(np.float32)).to(device)
        normal = torch.from_numpy(np.outer(self.rotation[:, 2], depths).astype(np.float32)).to(device)
        origin = affine[:3, 3, None, None] + affine[:3, 2, None, None] * slices[:, None] + normal[:, None]
        in_plane = affine[:3, 0, None, None] * rows[:, None] + affine[:3, 1, None, None] * columns
        return origin.reshape(3, -1, 1, 1) + in_plane[:, None]


@dataclass(frozen=True)
class Patient:
    """A deformed head: where points of the room, RAS mm, lie in the voxels of ``head``."""

    head: Head
    matrix: torch.Tensor  # (3, 3)
    centre: torch.Tensor  # (3,) voxel at the origin of the room
    warp: torch.Tensor  # (1, 3, z, y, x) mm, over a cube of +- WARP_MM

    def voxels(self, points: torch.Tensor) -> torch.Tensor:
        """(3, N) mm -> (3, N) voxels."""
        moved = F.grid_sample(
            self.warp, (points.T / WARP_MM)[None, None, None], align_corners=True, padding_mode="border"
        )
        return self.matrix @ (points + moved[0, :, 0, 0]) + self.centre[:, None]


class PatientGenerator(Generator):
    """Draws patients and lays slices through them."""

    def as_drawn(self, head: Head) -> Head:
        """The head as this generator's scanners see it."""
        return head

    def draw_height(self, head: Head) -> float:
        """Voxel height of a slice, as for FLAIR: from the whole brain, or mostly from above its base."""
        low, high = head.brain_box[2]
        if self.rng.random() < self.settings.low_slices:
            return self.uniform(low - 4, high + 2)
        return self.uniform(0.65 * low + 0.35 * high, high - 8)

    def draw_patient(self, head: Head, gantry_deg: float, height: float) -> Patient:
        """A head of some size and shape as it lies in the holder, voxel ``height`` of it at the isocentre.

        The gantry is tilted because the head is not straight, so most of its tilt is one of the head.
        """
        rng = self.rng
        head = self.as_drawn(head)
        nodding = rng.normal(0, 9) - self.uniform(0.4, 1.0) * gantry_deg
        angles = [nodding, rng.normal(0, 5), rng.normal(0, 7)]
        rotation = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        scale = np.diag(np.exp(rng.normal(0, self.settings.size_sd, 3)) * [rng.choice((-1, 1)), 1, 1])
        centre = head.centre + torch.tensor([self.uniform(-6, 6), self.uniform(-8, 8), 0])
        centre[2] = height
        warp = torch.from_numpy(rng.standard_normal((1, 3, *[WARP_POINTS] * 3)).astype(np.float32))
        warp = F.interpolate(warp, size=[5 * WARP_POINTS] * 3, mode="trilinear", align_corners=True)
        warp = F.avg_pool3d(warp, 7, 1, 3, count_include_pad=False) * self.uniform(0, 4)
        matrix = torch.from_numpy((rotation @ scale).astype(np.float32))
        return Patient(head, *(t.to(self.device) for t in (matrix, centre.float(), warp)))

    def draw_move(self) -> np.ndarray:
        """Where a patient lies in another scan: 4x4, RAS mm, rigid."""
        moved = np.eye(4)
        moved[:3, :3] = Rotation.from_euler("xyz", self.rng.normal(0, TURNED_DEG, 3), degrees=True).as_matrix()
        moved[:3, 3] = self.rng.normal(0, MOVED_MM, 3)
        return moved

    def lay(self, patient: Patient, stack: Stack, to_room: np.ndarray | None = None) -> Slab:
        """Every plane of a stack through a patient; ``to_room`` (4x4) carries the stack into the patient's room."""
        grid = stack.points(self.device)
        points = grid.reshape(3, -1)
        if to_room is not None:
            matrix = torch.from_numpy(to_room.astype(np.float32)).to(self.device)
            points = matrix[:3, :3] @ points + matrix[:3, 3:]
        points = patient.voxels(points)
        tissue = sample(patient.head.tissue, points).long()
        keep = self.is_air[tissue] == 0
        return Slab(patient.head, points[:, keep], tissue[keep], keep.reshape(grid.shape[1:]))

    def on(self, slab: Slab, flags: torch.Tensor, values_of, elsewhere: float) -> torch.Tensor:
        """``values_of`` the points whose tissue is flagged, ``elsewhere`` for the others: (N,)."""
        chosen = flags[slab.tissue] > 0
        values = torch.full(slab.tissue.shape, elsewhere, device=self.device)
        values[chosen] = values_of(Slab(slab.head, slab.points[:, chosen], slab.tissue[chosen], slab.keep)).float()
        return values


def together(draw: Callable[[Slab], Sequence[torch.Tensor]], slabs: Sequence[Slab]) -> list[tuple[torch.Tensor, ...]]:
    """What ``draw`` gives for the points of several slabs through one patient at once, for each of them: (N,) each."""
    points, tissue = (torch.cat([getattr(slab, key) for slab in slabs], -1) for key in ("points", "tissue"))
    drawn = draw(Slab(slabs[0].head, points, tissue, slabs[0].keep))
    return list(zip(*(values.split([len(slab.tissue) for slab in slabs]) for values in drawn), strict=True))


def whole_height(head: Head) -> float:
    """Voxel height of the middle slice of a scan of the whole head."""
    low, high = head.brain_box[2]
    return low + BASE_SHARE * (high - low)
