"""Synthetic noncontrast head CT: slices to learn from, whole scans, and CT and FLAIR of one patient.

Slices are laid through a patient (``patients.py``), lesions grow as in the FLAIRs of ``synthesis.py``, every tissue
gets an attenuation, and ``ct_physics.py`` does the rest. Leukoaraiosis is white matter that is 5 to 15 HU darker, and
never as dark as fluid; infarcts, lacunes, sulci, plexus and table are not.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.spatial.transform import Rotation

from csvd.image import Image

from .ct_physics import (
    ACUTE_HU,
    AIR_HU,
    BLOOD_HU,
    CALCIUM_HU,
    OLD_HU,
    add_table,
    draw_scanner,
    expose,
    head_box,
    stored,
    tissue_hu,
    with_skull,
)
from .heads import CODE, STEP_MM, Head
from .patients import Patient, PatientGenerator, Stack, together, whole_height
from .sample import by_slice, scan
from .synthesis import UNKNOWN, Settings, Slab, blur, lengths, sample

DRAWN_MM = 0.8  # the maps are 1 mm: finer pixels are interpolated from slices drawn at about this size
FLAIR_WHITE = 300  # choice: grey value of white matter in a FLAIR that is written
# Leukoaraiosis is tissue: it stays above fluid by this share of the way from fluid to white matter at least. Means of
# 31.8 HU of white matter and 11.9 of ventricles (public CT template) and 17.5 of leukoaraiosis (BMC Med Imaging 2024,
# s12880-024-01340-2) give .28; a quarter is a choice just below, the only one that was tried.
ABOVE_FLUID = 0.25


@dataclass(frozen=True)
class CTSettings(Settings):
    """What CT recipes draw differently from another; pixels and slices are those of Ryu et al. (Brain Behav 2025)."""

    shape: tuple[int, int] = (224, 288)
    pixel_mm: float = 0.82
    thickness_mm: tuple[float, float] = (5.0, 5.0)
    thin: float = 0.0
    infarct: float = 0.25
    target_fraction: float = 0.42
    edge_mm: tuple[float, float] = (0.2, 0.65)
    leukoaraiosis_hu: tuple[float, float] = (5.0, 15.0)  # below white matter; see ABOVE_FLUID
    noise_hu: tuple[float, float] = (2.0, 4.0)  # SD in a slice of 5 mm
    stripped: float = 0.8  # share of slices with the brain alone
    tilted: float = 0.4  # share of scans with a tilted gantry
    gantry_deg: tuple[float, float] = (0.0, 25.0)
    rim_mm: float = 0.0  # a lesion that reaches no farther from the ventricles is neither learned nor unlearned


@dataclass(frozen=True)
class Scan:
    """One synthetic scan, int16 voxels, and its truth as bool, all on one grid."""

    image: Image
    lesion: Image
    brain: Image
    ventricles: Image


class CTGenerator(PatientGenerator):
    """Draws CT slices, whole scans, and pairs of CT and FLAIR; a seed repeats all of them on one device."""

    def __init__(self, heads, shapes, shape_box, settings: CTSettings, seed: int, device="cpu", scans=()):
        super().__init__(heads, shapes, shape_box, settings, seed, device, scans)
        self.closed: dict[int, Head] = {}  # heads with a skull, as they are drawn
        self.is_inside, self.is_head = self.is_brain + self.is_csf, 1 - self.is_air
        self.is_parenchyma = self.is_inside * (1 - self.is_fluid)
        ventricles = [CODE["lateral_ventricle"], CODE["choroid_plexus"]]
        self.is_ventricle = torch.zeros_like(self.is_air).index_fill(0, torch.tensor(ventricles, device=self.device), 1)

    # Draws

    def ct(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One CT slice in HU and its leukoaraiosis: two (R, A) tensors.

        Mostly the brain alone, in ``AIR_HU`` and within a mask as imperfect as in use; else the head on its table.
        """
        s, rng = self.settings, self.rng
        finer = finer_by(s.pixel_mm)
        while True:
            thickness = 1.0 if rng.random() < s.thin else self.uniform(*s.thickness_mm)
            gantry = self.draw_gantry()
            head = self.heads[rng.integers(len(self.heads))]
            patient = self.draw_patient(head, gantry, self.draw_height(head))
            stack = Stack((*(n // finer for n in s.shape), 1), s.pixel_mm * finer, thickness, thickness, nod(gantry))
            slab = self.lay(patient, stack)
            brain = slab.mean(self.is_brain[slab.tissue])
            if (brain > 0.5).sum() * stack.pixel_mm**2 >= 800:
                break
        lesion, infarct = self.disease(slab)
        hu = self.attenuation(slab, lesion, infarct, stack.pixel_mm)
        image = self.reconstructed(slab, hu, stack, finer)[0]
        if rng.random() < s.stripped:
            image = self.strip(image, enlarged(brain, finer))
        target = enlarged(slab.mean(lesion), finer) > s.target_fraction
        if not s.rim_mm:
            return image, target.float()
        rims = thin_rims(target, enlarged(slab.mean(from_ventricles(slab)), finer), s.rim_mm)
        return image, torch.where(rims, UNKNOWN, target.float())

    def volume(self, patient: Patient, stack: Stack) -> Scan:
        """A whole CT of ``patient`` with leukoaraiosis, on its table."""
        slab = self.lay(patient, stack)
        return self.ct_scan(slab, stack, *self.disease(slab))

    def pair(self, head: Head, ct: Stack, flair: Stack) -> tuple[Scan, Scan, np.ndarray]:
        """CT and FLAIR of one patient with the same lesions and infarcts, each with its own slices and position.

        The third value takes a point of the CT to the same point of the FLAIR: 4x4, RAS mm, rigid.
        """
        patient = self.draw_patient(head, 0.0, whole_height(head))
        moved = self.draw_move()
        ct_slab, flair_slab = self.lay(patient, ct), self.lay(patient, flair, np.linalg.inv(moved))
        of_ct, of_flair = together(self.disease, (ct_slab, flair_slab))
        return self.ct_scan(ct_slab, ct, *of_ct), self.flair_scan(flair_slab, flair, *of_flair), moved

    # Steps

    def draw_gantry(self) -> float:
        """Tilt of the gantry in degrees, forwards or backwards; 0 in most scans."""
        if self.rng.random() >= self.settings.tilted:
            return 0.0
        return self.uniform(*self.settings.gantry_deg) * float(self.rng.choice((-1, 1)))

    def as_drawn(self, head: Head) -> Head:
        if id(head) not in self.closed:
            self.closed[id(head)] = with_skull(head)
        return self.closed[id(head)]

    def disease(self, slab: Slab) -> tuple[torch.Tensor, torch.Tensor]:
        """Share of every point that is leukoaraiosis, and its depth in an infarct in mm: two (N,)."""
        infarct = self.on(slab, self.is_inside, self.grow_infarct, -9.0)
        return self.on(slab, self.is_white, self.grow_lesions, 0.0) * (infarct < -4), infarct

    def attenuation(self, slab: Slab, lesion: torch.Tensor, infarct: torch.Tensor, pixel_mm: float) -> torch.Tensor:
        """``hu_signal`` with the infarct: (N,)."""
        return self.show_infarct_hu(self.hu_signal(slab, lesion, pixel_mm), infarct, slab.tissue)

    def hu_signal(self, slab: Slab, lesion: torch.Tensor, pixel_mm: float) -> torch.Tensor:
        """Attenuation of every point before the scanner, HU: (N,); ``pixel_mm`` is that of the slab."""
        u, tissue = self.uniform, slab.tissue
        mean = tissue_hu(u)
        hu = torch.tensor(list(mean.values()), device=self.device)[tissue]
        inside = self.is_inside[tissue] > 0
        spread = torch.randn(tissue.shape, generator=self.torch_rng, device=self.device) * u(5, 40)
        hu = torch.where(
            inside, self.on(slab, self.is_inside, lambda part: self.brain_hu(part, mean), 0.0), hu + spread
        )
        darkest = (1 - ABOVE_FLUID) * (mean["white_matter"] - mean["lateral_ventricle"])
        return hu - min(u(*self.settings.leukoaraiosis_hu), darkest) * self.softened(slab, lesion, pixel_mm)

    def brain_hu(self, slab: Slab, mean: dict[str, float]) -> torch.Tensor:
        """Attenuation inside the skull without leukoaraiosis; every share and size below is a choice: (N,)."""
        rng, u, noise = self.rng, self.uniform, self.noise
        head, points, tissue = slab.head, slab.points, slab.tissue
        hu = torch.tensor(list(mean.values()), device=self.device)[tissue]
        hu = hu + self.is_parenchyma[tissue] * u(0, 0.8) * noise(points, u(6, 16), rng)
        if rng.random() < 0.7:  # closed sulci: the maps have fluid in every sulcus
            closed = torch.sigmoid(3 * (noise(points, u(6, 16), rng) - u(-2.5, 1.5)))
            if rng.random() < 0.5:  # their deep ends first
                closed = torch.maximum(closed, torch.sigmoid(20 * (u(0.6, 1.0) - self.eccentricity(head, points))))
            hu = hu + self.is_csf[tissue] * closed * u(0.4, 1.0) * (mean["cortex"] - hu)
        white = self.is_white[tissue]
        to_cortex = sample(head.cortex_mm, points).float() * STEP_MM
        if rng.random() < 0.5:  # white matter is a little darker the deeper it lies, in the old at least
            hu = hu - white * u(0, 3) * (1 - torch.exp(-to_cortex / u(3, 9)))
        if rng.random() < 0.5:  # grey fades into white matter
            hu = hu + white * (mean["cortex"] - hu) * u(0, 0.6) * torch.exp(-to_cortex / u(0.6, 2.0))
        if rng.random() < 0.6:  # vessels, dura and falx in the fluid around the brain
            vessel = torch.sigmoid(6 * (noise(points, u(1.5, 4), rng) - u(1.3, 2.3)))
            hu = hu + self.is_csf[tissue] * vessel * (u(*BLOOD_HU) - hu)
        if rng.random() < 0.7:  # the glomus of the plexus calcifies in flecks
            fleck = torch.sigmoid(6 * (noise(points, u(1.2, 2.5), rng) - u(0, 1.5)))
            hu = hu + (tissue == CODE["choroid_plexus"]) * fleck * (u(*CALCIUM_HU) - hu)
        if rng.random() < 0.65:
            hu = hu + self.pineal(slab) * (u(*CALCIUM_HU) - hu)
        if rng.random() < 0.1:  # the pallidum of the old
            fleck = torch.sigmoid(6 * (noise(points, u(1.2, 3), rng) - u(0, 1)))
            hu = hu + (tissue == CODE["pallidum"]) * fleck * (u(45, 150) - hu)
        if rng.random() < 0.25:  # lacunes and wide perivascular spaces: 3 to 15 mm of fluid (STRIVE-2)
            length = u(2, 5)
            cavity = torch.sigmoid((noise(points, length, rng) - u(2.2, 3.0)) * length / 0.4)
            deep = (to_cortex > 6) * self.is_parenchyma[tissue]
            hu = hu + deep * cavity * (u(*OLD_HU) - hu)
        return hu

    def pineal(self, slab: Slab) -> torch.Tensor:
        """Share of every point that is a calcified pineal body, which lies behind the third ventricle: (N,)."""
        third = (slab.head.tissue == CODE["third_ventricle"]).nonzero().float()
        if not len(third):
            return torch.zeros(slab.tissue.shape, device=self.device)
        back = third[third[:, 1] <= third[:, 1].min() + 2].mean(0)
        play = [self.uniform(-1, 1), self.uniform(-6, -2), self.uniform(-2, 3)]
        away = lengths(slab.points - (back + torch.tensor(play, device=self.device))[:, None])
        return torch.sigmoid((self.uniform(1, 3.5) - away) / 0.4)

    def softened(self, slab: Slab, lesion: torch.Tensor, pixel_mm: float) -> torch.Tensor:
        """The outline of ``lesion`` with the soft edges of leukoaraiosis, in white matter only: (N,).

        What is thin becomes faint. The blur is relative to the white matter around, so that a halo keeps its contrast
        beside the ventricle.
        """
        white = self.is_white[slab.tissue]
        pixels = self.uniform(0.5, 1.8) / pixel_mm  # choice
        smooth = torch.stack([blur(plane, pixels) for plane in slab.fill((lesion > 0.5).float())])
        around = torch.stack([blur(plane, pixels) for plane in slab.fill(white)])
        return (smooth / around.clamp(min=0.05))[slab.keep].clamp(0, 1) * white

    def show_infarct_hu(self, hu: torch.Tensor, depth: torch.Tensor, tissue: torch.Tensor) -> torch.Tensor:
        """Acute: grey and white matter alike and swollen, so that sulci close. Old: nearly fluid. Neither is target."""
        if depth.max() < 0:
            return hu
        share = torch.sigmoid(depth / self.uniform(0.5, 1.5)) * self.is_inside[tissue]
        if self.rng.random() < 0.5:
            swollen = self.is_parenchyma[tissue] + self.is_csf[tissue] * self.uniform(0.3, 1.0)
            return hu + share * swollen * (self.uniform(*ACUTE_HU) - hu)
        return hu + share * self.is_parenchyma[tissue] * (self.uniform(*OLD_HU) - hu)

    def reconstructed(self, slab: Slab, hu: torch.Tensor, stack: Stack, finer: int = 1) -> list[torch.Tensor]:
        """The slices as one scanner writes them, each (R, A) in HU, from the attenuation of every point."""
        slices = stack.shape[2]
        scanner = draw_scanner(self.rng, self.settings.noise_hu)
        heads = by_slice(slab, self.is_head[slab.tissue], slices)
        means = by_slice(slab, hu - AIR_HU, slices) + AIR_HU
        box = head_box(heads.amax(0), stack.pixel_mm)
        written = []
        for mean, head in zip(means, heads, strict=True):
            if box is not None:
                mean = add_table(mean, head, box, scanner, stack.pixel_mm)
            mean = expose(mean, scanner, stack.thickness_mm, stack.pixel_mm, finer, self.torch_rng)
            written.append(stored(mean, scanner, stack.pixel_mm / finer))
        return written

    def strip(self, hu: torch.Tensor, brain: torch.Tensor) -> torch.Tensor:
        """The brain alone, in air, as its mask comes out in use: tight, wide, or with a patch of skull."""
        u, pixel = self.uniform, self.settings.pixel_mm
        solid = (brain > 0.5).float()
        keep = brain > u(0.3, 0.7) if self.rng.random() < 0.3 else blur(solid, u(1.5, 4) / pixel) > u(0.15, 0.5)
        if self.rng.random() < 0.25:
            patches = torch.from_numpy(self.rng.standard_normal((1, 1, 8, 9)).astype(np.float32)).to(self.device)
            patches = F.interpolate(patches, size=hu.shape, mode="bicubic", align_corners=True)[0, 0]
            keep |= (patches > u(0.5, 1.5)) & (blur(solid, u(2, 5) / pixel) > 0.03)
        return torch.where(keep, hu, AIR_HU)

    def ct_scan(self, slab: Slab, stack: Stack, lesion: torch.Tensor, infarct: torch.Tensor) -> Scan:
        hu = self.attenuation(slab, lesion, infarct, stack.pixel_mm)
        slices = np.stack([plane.cpu().numpy() for plane in self.reconstructed(slab, hu, stack)], 2)
        return self.as_scan(slices.astype(np.int16), slab, stack, lesion)

    def flair_scan(self, slab: Slab, stack: Stack, lesion: torch.Tensor, infarct: torch.Tensor) -> Scan:
        source = self.with_pixel(stack.pixel_mm)
        signal = source.show_infarct(source.flair_signal(slab, lesion), infarct)
        slices = scan(source, slab, signal, stack.shape[2], int(self.rng.integers(2**31))).transpose(1, 2, 0)
        return self.as_scan(np.rint(slices * FLAIR_WHITE).astype(np.int16), slab, stack, lesion)

    def as_scan(self, voxels: np.ndarray, slab: Slab, stack: Stack, lesion: torch.Tensor) -> Scan:
        shares = (lesion, self.is_brain[slab.tissue], self.is_ventricle[slab.tissue])
        masks = (by_slice(slab, values, stack.shape[2]).permute(1, 2, 0).cpu().numpy() > 0.5 for values in shares)
        return Scan(*(Image(array, stack.affine) for array in (voxels, *masks)))

    def with_pixel(self, pixel_mm: float) -> CTGenerator:
        """The same generator, random numbers and all, for pixels of another size."""
        other = copy.copy(self)
        other.settings = replace(self.settings, pixel_mm=pixel_mm)
        return other


def finer_by(pixel_mm: float) -> int:
    """How many pixels stand for one of those that a slice is drawn at."""
    return max(1, int(DRAWN_MM / pixel_mm + 0.1))


def from_ventricles(slab: Slab) -> torch.Tensor:
    """Distance of every point from the lateral ventricles, mm: (N,)."""
    return sample(slab.head.ventricle_mm, slab.points).float() * STEP_MM


def thin_rims(lesion: torch.Tensor, from_ventricles_mm: torch.Tensor, limit_mm: float) -> torch.Tensor:
    """Lesions (8- or 26-connected) of a slice or a stack of which no voxel is farther from the ventricles than the
    limit: bool.
    """
    labels, count = ndimage.label(lesion.cpu().numpy(), np.ones((3,) * lesion.ndim))
    reach = ndimage.maximum(from_ventricles_mm.cpu().numpy(), labels, np.arange(count + 1))
    return torch.from_numpy((labels > 0) & (reach <= limit_mm)[labels]).to(lesion.device)


def nod(degrees: float) -> np.ndarray:
    """Rotation of slices about the axis to the right, 3x3."""
    return Rotation.from_euler("x", degrees, degrees=True).as_matrix()


def enlarged(share: torch.Tensor, by: int) -> torch.Tensor:
    """(R, A) with ``by`` pixels for each, linear between them."""
    return F.interpolate(share[None, None], scale_factor=by, mode="bilinear")[0, 0] if by > 1 else share
