"""Synthetic FLAIR, T1 and SWI with their markers for networks that see in 3D, one sequence of a patient at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from csvd.grid import axial_grid, box_grid
from csvd.image import resample
from csvd.measure.strive import candidate_voxels, find_candidates
from csvd.pipelines.walk import without_gaps
from csvd.sequences import SEQUENCES as MARKERS_OF

from .blocks import Blocks, BlockSettings, Slab3D
from .burden import OUTLINE, BurdenGenerator, BurdenSettings, Sequence3D
from .ct import nod
from .patients import Stack, whole_height
from .sample import by_slice
from .synthesis import UNKNOWN

FAINT = 0.2  # share of a voxel from which a marker that has no outline in it may be seen there: choice
LEAST_BRAIN = 1000  # voxels: choice; a slab with less lies beside the brain


@dataclass(frozen=True)
class VolumeSettings(BlockSettings, BurdenSettings):
    """Slabs of scans. Ranges are choices."""

    # Of a block, in plane and along slices; None: the scan's own slices.
    voxel_mm: tuple[float, float | None] = (0.8, 1.6)
    wide_mm: tuple[float, float] = (176.0, 216.0)  # of a slab, which covers every brain in plane
    scan_pixel_mm: tuple[float, float] = (0.5, 1.0)
    gap: tuple[float, float] = (1.0, 1.2)  # distance of slices over their thickness
    gaps_mm: float = 0.0  # filled in the mask of the brain, as the pipeline does (csvd.pipelines.walk.without_gaps)
    # Drawn in a head, many more than in most patients, as blocks with markers are wanted.
    mean_count: dict[str, float] | None = None
    real: float = 0.0  # share of slabs that are laid through real unlabelled FLAIRs, where there are any
    real_mm: tuple[float, float] = (3.0, 7.0)  # thickness of their slices, of which the scans have 3 to 4


class VolumeGenerator(Blocks, BurdenGenerator):
    """Draws blocks of scans of one sequence."""

    settings: VolumeSettings

    def least_share(self, marker: str) -> float:
        """Hyperintensities are outlined as generously as experts do."""
        return self.settings.target_fraction if marker == "wmh" else super().least_share(marker)

    def density(self, factor: float) -> dict[str, int]:
        """As of patients, but with ``mean_count`` of the markers that it names."""
        means = self.settings.mean_count or {}
        return super().density(factor) | {name: int(self.rng.poisson(mean)) for name, mean in means.items()}

    def slab(self, sequence: str) -> Slab3D:
        """Another scan of the sequence."""
        if self.scans and self.rng.random() < self.settings.real:
            return self.real_slab()
        scan, brain = self.stripped_scan(sequence)
        source, settings = scan.image.grid, self.settings
        in_plane_mm, slice_mm = settings.voxel_mm
        grid = box_grid(source, in_plane_mm, slice_mm) if slice_mm else axial_grid(source, in_plane_mm)
        seen = resample(brain, source, grid)
        targets = []
        for marker in MARKERS_OF[sequence]:
            if marker == "wmh":  # of any size
                targets.append(resample(scan.truth[marker].voxels.astype(np.float32), source, grid) > 0.5)
                continue
            truth, traces = measurable(marker, scan)
            share = resample(truth.astype(np.float32), source, grid)
            faint = (share > FAINT) | (resample(traces.astype(np.float32), source, grid) > 0.5)
            targets.append(np.where(share > OUTLINE, 1, np.where(faint, UNKNOWN, 0)))
        return self.as_slab(seen.transpose(2, 0, 1), np.stack(targets).transpose(0, 3, 1, 2))

    def real_slab(self) -> Slab3D:
        """Slices of another thickness through a real FLAIR, upright as they are, with lesions pasted in."""
        settings, rng = self.settings, self.rng
        thickness = self.uniform(*settings.real_mm)
        shape = (*(int(mm / settings.voxel_mm[0]) for mm in settings.wide_mm), int(settings.high_mm / thickness))
        stack = Stack(shape, settings.voxel_mm[0], thickness, thickness, nod(0))
        head = self.scans[int(rng.integers(len(self.scans)))]
        upright = np.diag(np.exp(rng.normal(0, settings.size_sd, 3)) * [rng.choice((-1, 1)), 1, 1])
        patient = self.draw_patient(head, 0.0, whole_height(head))
        patient = replace(patient, matrix=torch.from_numpy(upright.astype(np.float32)).to(self.device))
        slab = self.lay(patient, stack)
        image, pasted, found = (by_slice(slab, values, shape[2]) for values in self.pasted_signal(slab))
        brains = by_slice(slab, self.is_brain[slab.tissue], shape[2])
        seen = self.stripped(torch.stack(self.acquired(image)), brains, stack)
        return self.as_slab(seen, self.real_target(pasted, found)[None].cpu().numpy())

    def stripped(self, voxels: torch.Tensor, brain: torch.Tensor, stack: Stack) -> np.ndarray:
        """Slices (S, R, A) as ``brain_only`` leaves them; ``brain`` is the share of each voxel."""
        level = voxels[brain > 0.5].median()
        spacing_mm = (stack.spacing_mm, stack.pixel_mm, stack.pixel_mm)
        inside = (brain > 0.5).cpu().numpy()
        gaps = without_gaps(inside, spacing_mm, self.settings.gaps_mm) & ~inside
        brain = brain.masked_fill(torch.from_numpy(gaps).to(brain.device), 1)
        planes = self.alike(zip(voxels, brain, strict=True))
        return torch.stack([self.brain_only(*plane, level) for plane in planes]).cpu().numpy()

    def stripped_scan(self, sequence: str) -> tuple[Sequence3D, np.ndarray]:
        """A scan of another patient, a slab of the head, and its brain (R, A, S) as ``brain_only`` leaves it."""
        settings, rng, u = self.settings, self.rng, self.uniform
        thickness, pixel = u(*getattr(settings, f"{sequence}_mm")), u(*settings.scan_pixel_mm)
        spacing = thickness * u(*settings.gap)
        slices = int(min(settings.most_slices, settings.high_mm / spacing))
        spare = max(settings.high_mm - slices * spacing, 0) / 2
        shape = (*(int(mm / pixel) for mm in settings.wide_mm), slices)
        stack = Stack(shape, pixel, thickness, spacing, nod(0), centre_mm=(0.0, 0.0, u(-spare, spare)))
        head = self.heads[int(rng.integers(len(self.heads)))]
        scan = self.patient_scans(head, {sequence: stack})[sequence]
        voxels, brain = (
            torch.from_numpy(part.voxels.astype(np.float32)).permute(2, 0, 1).to(self.device)
            for part in (scan.image, scan.brain)
        )
        if brain.sum() < LEAST_BRAIN:
            return self.stripped_scan(sequence)
        return scan, self.stripped(voxels, brain, stack).transpose(1, 2, 0)


def measurable(marker: str, scan: Sequence3D) -> tuple[np.ndarray, np.ndarray]:
    """Markers that count by their sizes, and traces of those that do not: bool on the scan's voxels."""
    name = marker.removesuffix("_space")
    truth, traces = scan.truth[name].voxels, scan.traces[name].voxels
    affine = scan.image.affine
    drawn = find_candidates(marker, truth, truth.astype(np.float32), affine)
    counted = np.zeros(truth.shape, bool)
    for lesion, where in zip(drawn, candidate_voxels(truth, affine), strict=True):
        counted.flat[where] = lesion.counts
    return counted, traces & ~counted
