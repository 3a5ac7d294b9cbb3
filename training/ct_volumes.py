"""Synthetic CTs with their leukoaraiosis for networks that see in 3D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from csvd.pipelines.ct import levelled

from .blocks import Blocks, BlockSettings, Slab3D
from .ct import CTGenerator, CTSettings, from_ventricles, nod, thin_rims
from .ct_physics import AIR_HU
from .patients import Stack, whole_height
from .sample import by_slice
from .synthesis import UNKNOWN


@dataclass(frozen=True)
class CTVolumeSettings(BlockSettings, CTSettings):
    """Slabs of CTs, upright as slanted ones are brought; blocks have their voxels."""

    block: tuple[int, int, int] = (16, 96, 96)
    high_mm: float = 150.0
    most_slices: int = 50
    # Slices lie this share of their thickness apart: those brought upright or averaged hold some of their neighbours.
    apart: tuple[float, float] = (1.0, 1.0)
    white_hu: float | None = None  # to which the median of white matter is brought, as in use; None: as scanned


class CTVolumeGenerator(Blocks, CTGenerator):
    """Draws blocks of the brains of whole CTs."""

    settings: CTVolumeSettings
    OUTSIDE = AIR_HU

    def neighbours(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices beside each other, (S, R, A), and the leukoaraiosis of the one in the middle, (R, A)."""
        seen, targets = self.block()
        return seen[0], targets[0, len(seen[0]) // 2]

    def slab(self) -> Slab3D:
        """Another scan of another patient."""
        s = self.settings
        thickness = self.uniform(*s.thickness_mm)
        spacing = thickness * self.uniform(*s.apart)
        slices = min(s.most_slices, int(s.high_mm / spacing))
        head = self.heads[int(self.rng.integers(len(self.heads)))]
        patient = self.draw_patient(head, 0.0, whole_height(head))
        stack = Stack((*s.shape, slices), s.pixel_mm, thickness, spacing, nod(0))
        slab = self.lay(patient, stack)
        lesion, infarct = self.disease(slab)
        hu = self.attenuation(slab, lesion, infarct, stack.pixel_mm)
        share, brain, white, from_ventricles_mm = (
            by_slice(slab, values, slices)
            for values in (
                lesion, self.is_brain[slab.tissue], self.is_white[slab.tissue], from_ventricles(slab)
            )
        )  # fmt: skip
        planes = zip(self.reconstructed(slab, hu, stack), brain, strict=True)
        seen = torch.stack([self.strip(*plane) for plane in self.alike(planes)])
        seen = levelled(seen.numpy(force=True), (white > 0.5).numpy(force=True), s.white_hu)
        target = share > s.target_fraction
        rims = thin_rims(target, from_ventricles_mm, s.rim_mm)
        targets = torch.where(rims, UNKNOWN, target.float())
        return self.as_slab(seen, targets[None].numpy(force=True).astype(np.int8))
