"""Synthetic FLAIR, T1 and SWI of one patient with the four markers of cerebral small vessel disease, and their mimics.

White matter hyperintensities grow as in ``synthesis.py``. Microbleeds are round voids on SWI, lacunes are cavities of 3
to 15 mm, perivascular spaces are tubes narrower than 3 mm (STRIVE-2). What looks like them is drawn and is no target:
veins of all directions, calcified plexus, pineal body and pallidum, air beside the skull base and dark sulci on SWI;
sulci, ventricle edges and perivascular spaces for lacunes; dark lesions and infarcts on T1. Shapes, depths and
frequencies are choices where no source is named, as no published settings exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from csvd.image import Image

from .heads import CODE, STEP_MM, Head
from .patients import Patient, PatientGenerator, Stack, together, whole_height
from .sample import by_slice
from .synthesis import UNKNOWN, Settings, Slab, blur, interpolate, lengths, sample

SEQUENCES = {"flair": ("wmh",), "swi": ("microbleed",), "t1": ("lacune", "perivascular")}
MARKERS = tuple(marker for markers in SEQUENCES.values() for marker in markers)
# Regions by MARS as far as the label maps tell them; a microbleed is lobar more often than deep or infratentorial.
BASAL_GANGLIA = [CODE[t] for t in ("putamen", "pallidum", "caudate")]
DEEP_GREY = [*BASAL_GANGLIA, CODE["thalamus"]]
INFRATENTORIAL = [CODE[t] for t in ("brain_stem", "cerebellar_white_matter", "cerebellar_cortex")]
SUPRATENTORIAL_WHITE = [CODE["white_matter"], CODE["lesion"]]
OUTLINE = 0.5  # share of a voxel from which it belongs to a marker
TRACE = 0.1  # share of a voxel from which a marker may be seen in it: choice
PIAL_MM = 1.5  # choice: half of a cortex, so that both banks of a sulcus leave their middle visible
MASK_POWER = 4  # times the phase mask is multiplied (Haacke et al., Magn Reson Med 2004)


@dataclass(frozen=True)
class BurdenSettings(Settings):
    """Slices of the three sequences; pixels fine enough for a microbleed of 2 mm."""

    shape: tuple[int, int] = (224, 288)
    pixel_mm: float = 0.75
    # Nearer to what docs/synthetic.md measures on real FLAIRs than the default, which the WMH networks learned from.
    lesion_contrast: tuple[float, float] = (1.2, 1.85)
    cortex: tuple[float, float] = (1.08, 1.55)
    ribbon: float = 0.6
    grainy: float = 0.6
    grain: tuple[float, float] = (0.5, 1.1)
    target_fraction: float = 0.42
    edge_mm: tuple[float, float] = (0.2, 0.65)
    flair_mm: tuple[float, float] = (1.0, 6.0)  # slice thickness
    swi_mm: tuple[float, float] = (1.0, 3.0)
    # Choice: the blur of pixels of .5 to 1 mm, with which SWI is acquired, and of no coarser ones. Width at half height
    # is 2.35 SD.
    swi_blur_mm: tuple[float, float] = (0.2, 0.45)
    t1_mm: tuple[float, float] = (0.8, 2.0)
    often: dict[str, float] = field(  # mean number in a slice or, of whole patients, in a part of the head
        default_factory=lambda: {"microbleed": 4.0, "lacune": 2.0, "basal": 10.0, "centrum": 15.0}
    )
    none: float = 0.2  # share of slices without any microbleed, lacune or perivascular space
    noise: float = 0.5  # of the default, which is twice what nine real T1 and a gradient echo have
    # Phase, over pi, of a voxel that is all vein or bleed: choice, as with sharper, thinner and more veins it gives the
    # dark voxels of the one real SWI (docs/synthetic_burden.md). The share of scans that are a magnitude alone, as
    # T2*-weighted ones are.
    phase: tuple[float, float] = (0.1, 0.5)
    magnitude: float = 0.0
    slices: int = 1  # that a network sees at once: the one in the middle, and as many neighbours to either side


@dataclass(frozen=True)
class Markers:
    """Share of every point that is of each marker, and its depth in an infarct in mm: (N,) each."""

    wmh: torch.Tensor
    microbleed: torch.Tensor
    lacune: torch.Tensor
    perivascular: torch.Tensor
    infarct: torch.Tensor

    def __iter__(self):
        return iter(vars(self).values())


@dataclass(frozen=True)
class Sequence3D:
    """One synthetic scan, int16 voxels, its true markers and brain as bool, all on one grid.

    ``traces`` are the voxels of which a marker takes ``TRACE`` or more, where ``truth`` asks for half.
    """

    image: Image
    truth: dict[str, Image]
    traces: dict[str, Image]
    brain: Image


class BurdenGenerator(PatientGenerator):
    """Draws slices of one sequence with its markers, and whole patients with all three sequences."""

    def __init__(self, heads, shapes, shape_box, settings: BurdenSettings, seed: int, device="cpu", scans=()):
        super().__init__(heads, shapes, shape_box, settings, seed, device, scans)
        self.is_inside = self.is_brain + self.is_csf
        self.inner_share: dict[str, torch.Tensor] = {}  # of every head that was drawn from
        self.is_basal, self.is_deep_grey, self.is_infratentorial, self.is_hemisphere = (
            torch.zeros_like(self.is_air).index_fill(0, torch.tensor(codes, device=self.device), 1)
            for codes in (BASAL_GANGLIA, DEEP_GREY, INFRATENTORIAL, SUPRATENTORIAL_WHITE)
        )

    # Draws

    def slice_of(self, sequence: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices of ``flair``, ``swi`` or ``t1`` as ``brain_only`` leaves them, (S, R, A), and markers, (M, R, A).

        The markers are those of the slice in the middle; what this sequence does not show is ``UNKNOWN``, and so is
        what is too thin to be outlined.
        """
        while True:
            settings = replace(self.settings, thickness_mm=getattr(self.settings, f"{sequence}_mm"), thin=0.0)
            self.settings, kept = settings, self.settings
            slab = self.lay_slab(self.is_inside, self.heads, kept.slices)
            self.settings = kept
            brains = by_slice(slab, self.is_brain[slab.tissue], kept.slices)
            middle = kept.slices // 2
            if (brains[middle] > 0.5).sum() * kept.pixel_mm**2 >= 800:
                break
        markers = self.grow_markers(slab, self.density(kept.slices))
        planes = self.acquired(self.signal(sequence, slab, markers, kept.slices), sequence)
        targets = torch.full((len(MARKERS), *brains[middle].shape), UNKNOWN, device=self.device)
        for name in SEQUENCES[sequence]:
            share = by_slice(slab, getattr(markers, name), kept.slices)[middle]
            target = (share > kept.target_fraction).float() if name == "wmh" else outlined(share)
            targets[MARKERS.index(name)] = target
        level = planes[middle][brains[middle] > 0.5].median()
        pairs = self.alike(zip(planes, brains, strict=True))
        seen = torch.stack([self.brain_only(plane, brain, level) for plane, brain in pairs])
        return seen, torch.where((targets == 1) & (seen[middle] == 0), UNKNOWN, targets)

    def torn_slice(self, sequence: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices with holes, (S, R, A), and the middle one whole, (R, A), to mend: so an encoder learns heads.

        Half of all squares of 16 pixels are blank, as in masked auto-encoders (He et al., CVPR 2022), which blank more.
        """
        whole, _ = self.slice_of(sequence)
        squares = torch.from_numpy(self.rng.random((1, 1, *(n // 16 for n in whole.shape[1:]))) < 0.5).float()
        holes = F.interpolate(squares.to(self.device), size=whole.shape[1:], mode="nearest")[0, 0]
        return whole * (1 - holes), whole[len(whole) // 2]

    def patient_scans(self, head: Head, stacks: dict[str, Stack], density: float = 4.0) -> dict[str, Sequence3D]:
        """FLAIR, T1 and SWI of one patient, each with its own slices, and lain down anew for each but the first.

        ``density`` is how many times a slice's markers the whole head has.
        """
        patient: Patient = self.draw_patient(head, 0.0, whole_height(head))
        moves = [np.eye(4)] + [np.linalg.inv(self.draw_move() @ np.eye(4)) for _ in list(stacks)[1:]]
        slabs = [self.lay(patient, stack, move) for stack, move in zip(stacks.values(), moves, strict=True)]
        counts = self.density(density)
        drawn = together(lambda slab: self.grow_markers(slab, counts), slabs)
        scans = {}
        for (sequence, stack), slab, values in zip(stacks.items(), slabs, drawn, strict=True):
            scans[sequence] = self.as_scan(sequence, slab, stack, Markers(*values))
        return scans

    # Markers

    def density(self, factor: float) -> dict[str, int]:
        """How many of each small marker are drawn; most slices of a patient hold none, some hold many."""
        rng = self.rng
        if rng.random() < self.settings.none:
            return dict.fromkeys(("microbleed", "lacune", "basal", "centrum"), 0)
        return {
            name: int(rng.poisson(mean * factor * rng.exponential())) if rng.random() < 0.75 else 0
            for name, mean in self.settings.often.items()
        }

    def grow_markers(self, slab: Slab, counts: dict[str, int]) -> Markers:
        """All markers of a slab; where two meet, a microbleed wins over a lacune and both over the others."""
        infarct = self.grow_infarct(slab)
        healthy = (infarct < -4).float()
        microbleed = self.grow_microbleeds(slab, counts["microbleed"]) * healthy
        lacune = self.grow_lacunes(slab, counts["lacune"]) * healthy * (1 - microbleed)
        tubes = self.grow_perivascular(slab, counts["basal"], counts["centrum"]) * healthy * (1 - microbleed)
        wmh = self.grow_lesions(slab) * healthy * (1 - lacune)
        return Markers(wmh, microbleed, lacune, tubes * (1 - lacune), infarct)

    def centres(self, slab: Slab, home: torch.Tensor, count: int) -> torch.Tensor:
        """``count`` points of the slab where ``home`` (N,) is more than 0, chosen by their weight: (3, count)."""
        where = home.nonzero()[:, 0]
        if not len(where) or not count:
            return slab.points[:, :0]
        pick = where[torch.from_numpy(self.rng.integers(len(where), size=count)).to(self.device)]
        jitter = torch.from_numpy(self.rng.uniform(-0.5, 0.5, (3, count)).astype(np.float32)).to(self.device)
        return slab.points[:, pick] + jitter

    def near(self, slab: Slab, centre: torch.Tensor, reach: float) -> torch.Tensor:
        """Indices of the points within ``reach`` mm of a centre (3,), so that small things cost little."""
        here = ((slab.points[0] - centre[0]).abs() < reach).nonzero()[:, 0]
        for axis in (1, 2):  # of the few that are left
            here = here[(slab.points[axis, here] - centre[axis]).abs() < reach]
        return here

    def grow_microbleeds(self, slab: Slab, count: int) -> torch.Tensor:
        """Round bleeds of 2 to 10 mm, mostly about 3: lobar, deep and infratentorial: (N,)."""
        tissue = slab.tissue
        cortex = sample(slab.head.cortex_mm, slab.points).float() * STEP_MM
        homes = [
            self.is_hemisphere[tissue] * (cortex < 12) + (tissue == CODE["cortex"]),
            self.is_deep_grey[tissue] + self.is_hemisphere[tissue] * (cortex > 12),
            self.is_infratentorial[tissue],
        ]
        depth = torch.full(tissue.shape, -9.0, device=self.device)
        for region in self.rng.choice(3, size=count, p=(0.5, 0.3, 0.2)):
            for centre in self.centres(slab, homes[region], 1).T:
                radius = float(np.clip(np.exp(self.rng.normal(np.log(3.0), 0.4)), 2, 10)) / 2
                here = self.near(slab, centre, 1.5 * radius + 2)
                axes = torch.from_numpy(self.rng.uniform(0.85, 1.2, (3, 1)).astype(np.float32)).to(self.device)
                away = lengths((slab.points[:, here] - centre[:, None]) * axes)
                depth[here] = torch.maximum(depth[here], radius - away)
        return torch.sigmoid(depth / self.uniform(0.12, 0.3))

    def grow_lacunes(self, slab: Slab, count: int) -> torch.Tensor:
        """Cavities of 3 to 15 mm, ovoid and a little ragged, where perforating arteries end: (N,)."""
        tissue = slab.tissue
        cortex = sample(slab.head.cortex_mm, slab.points).float() * STEP_MM
        deep_white = self.is_hemisphere[tissue] * (cortex > 6)
        home = self.is_deep_grey[tissue] + deep_white + (tissue == CODE["brain_stem"])
        ragged = 1 + self.uniform(0.05, 0.25) * self.noise(slab.points, self.uniform(2, 4), self.rng)
        depth = torch.full(tissue.shape, -9.0, device=self.device)
        for centre in self.centres(slab, home, count).T:
            radius = float(np.clip(np.exp(self.rng.normal(np.log(6.0), 0.4)), 3.2, 15)) / 2
            here = self.near(slab, centre, 2 * radius + 2)
            away = lengths(self.turned(slab.points[:, here] - centre[:, None], self.rng.uniform(0.7, 1.35, 3)))
            depth[here] = torch.maximum(depth[here], radius * ragged[here] - away)
        return torch.sigmoid(depth / self.uniform(0.15, 0.4)) * self.is_brain[tissue]

    def turned(self, offsets: torch.Tensor, stretch: np.ndarray) -> torch.Tensor:
        """Offsets (3, N) seen along random axes, each multiplied by its ``stretch``."""
        axes, _ = np.linalg.qr(self.rng.standard_normal((3, 3)))
        return torch.from_numpy((np.diag(stretch) @ axes).astype(np.float32)).to(self.device) @ offsets

    def grow_perivascular(self, slab: Slab, basal: int, centrum: int) -> torch.Tensor:
        """Tubes: in the basal ganglia rising from the base, in the centrum semiovale radial to the ventricles: (N,)."""
        tissue, head = slab.tissue, slab.head
        cortex = sample(head.cortex_mm, slab.points).float() * STEP_MM
        homes = ((self.is_basal[tissue], basal), (self.is_hemisphere[tissue] * (cortex > 3), centrum))
        depth = torch.full(tissue.shape, -9.0, device=self.device)
        thick = float(np.exp(self.rng.normal(0, 0.15)))  # of all tubes of one patient
        for (home, count), rising in zip(homes, (True, False), strict=True):
            for centre in self.centres(slab, home, count).T:
                along = np.array([0, 0, 1.0]) if rising else self.outwards(head, centre)
                self.draw_tube(slab, depth, centre, along, self.uniform(3, 20) / 2, thick)
        return torch.sigmoid(depth / 0.15) * (self.is_hemisphere + self.is_deep_grey)[tissue].clamp(max=1)

    def outwards(self, head: Head, centre: torch.Tensor) -> np.ndarray:
        """Direction from the middle of the ventricles' body to a point, mostly within the axial plane."""
        away = (centre.cpu() - head.centre).numpy() * [1, 0.6, 0.5]
        return away / max(float(np.linalg.norm(away)), 1e-3)

    def draw_tube(
        self, slab: Slab, depth: torch.Tensor, centre: torch.Tensor, along: np.ndarray, half_mm: float, thick: float
    ) -> None:
        """Raise ``depth`` (mm inside, (N,)) by a bent tube of .8 to 2.8 mm width around ``centre``."""
        along = along + self.rng.normal(0, 0.3, 3)
        along = torch.from_numpy((along / np.linalg.norm(along)).astype(np.float32)).to(self.device)
        radius = float(np.clip(np.exp(self.rng.normal(np.log(1.5), 0.3)) * thick, 0.8, 2.8)) / 2
        bend = torch.from_numpy(self.rng.normal(0, 0.08, 3).astype(np.float32)).to(self.device)
        here = self.near(slab, centre, half_mm + radius + 2)
        offset = slab.points[:, here] - centre[:, None]
        position = along @ offset
        ends = (position.abs() - half_mm).clamp(min=0)
        inside = position.clamp(-half_mm, half_mm)
        across = offset - along[:, None] * position - bend[:, None] * (inside**2 / half_mm)
        depth[here] = torch.maximum(depth[here], radius - (across.square().sum(0) + ends**2).sqrt())

    def veins(
        self, slab: Slab, radius_mm: float, length_mm: float,
        surface: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """Share of each point that is a vein: curves of all directions, or on a ``surface``: (N,)."""
        away = self.noise.from_curves(slab.points, length_mm, radius_mm + 1, self.rng, surface)
        return torch.sigmoid((radius_mm - away) / 0.2)

    def pial_surface(self, head: Head, level: float) -> Callable[[torch.Tensor], torch.Tensor]:
        """The surface that follows sulci and the walls of the ventricles, as ``SmoothNoise.from_curves`` asks for it.

        It is where the share of brain other than cortex within a Gaussian of ``PIAL_MM`` is ``level``: at .15 outside
        the cortex or in the middle of a sulcus, and inside a ventricle.
        """
        if head.name not in self.inner_share:
            inner = (self.is_brain[head.tissue.long()] > 0) & (head.tissue != CODE["cortex"]) & (head.ventricle_mm > 0)
            share = ndimage.gaussian_filter(inner.cpu().numpy().astype(np.float32), PIAL_MM)
            self.inner_share[head.name] = torch.from_numpy((255 * share).astype(np.uint8)).to(self.device)
        share = self.inner_share[head.name]
        steepest = 1 / (PIAL_MM * np.sqrt(2 * np.pi))  # of the share, per mm
        return lambda points: (interpolate(share, points) / 255 - level) / steepest

    # Signals

    def signal(self, sequence: str, slab: Slab, markers: Markers, slices: int) -> torch.Tensor:
        """What there is to acquire of ``flair``, ``swi`` or ``t1``: (S, R, A)."""
        if sequence == "swi":
            return self.swi(slab, markers, slices)
        return by_slice(slab, (self.burden_flair if sequence == "flair" else self.t1)(slab, markers), slices)

    def burden_flair(self, slab: Slab, markers: Markers) -> torch.Tensor:
        """FLAIR, white matter at 1: lacunes are dark, most with a bright rim of 1 to 2 mm (STRIVE-2): (N,)."""
        u = self.uniform
        image = self.show_infarct(self.flair_signal(slab, markers.wmh), markers.infarct)
        rim = torch.stack([blur(plane, u(0.8, 1.6) / self.settings.pixel_mm) for plane in slab.fill(markers.lacune)])
        rim = (2 * rim[slab.keep]).clamp(max=1) * (1 - markers.lacune) * self.is_brain[slab.tissue]
        image = image * (1 + (self.rng.random() < 0.7) * u(0.1, 0.5) * rim)
        image = image * (1 - markers.lacune) + markers.lacune * u(0.15, 0.6)
        image = image * (1 - markers.perivascular * u(0, 0.6))
        return image * (1 - markers.microbleed * u(0, 0.4))

    def t1(self, slab: Slab, markers: Markers) -> torch.Tensor:
        """T1, fluid dark: (N,). Lesions are a little dark, lacunes and perivascular spaces as dark as fluid can be."""
        u = self.uniform
        image = self.any_signal(slab, markers.wmh, "t1")
        fluid = u(0.1, 0.35)
        inside = torch.sigmoid(markers.infarct / u(0.5, 1.5)) * self.is_inside[slab.tissue]
        image = image * (1 - inside) + inside * u(0.2, 0.7)
        image = image * (1 - markers.lacune) + markers.lacune * fluid * u(0.8, 1.6)
        image = image + markers.perivascular * u(0.6, 1.0) * (fluid - image)
        return image * (1 - markers.microbleed * u(0, 0.5))

    def swi(self, slab: Slab, markers: Markers, slices: int) -> torch.Tensor:
        """Magnitude of a gradient echo times the mask of its phase, as SWI is made (Haacke et al. 2004): (S, R, A).

        The mask darkens what is paramagnetic, veins and bleeds. It works on voxels, so that it makes black what the
        thickness of a slice leaves faint. Calcium has a phase of the other sign, and air loses signal without any.
        """
        magnitude, iron = self.gradient_echo(slab, markers)
        phase = self.uniform(*self.settings.phase) * (self.rng.random() >= self.settings.magnitude)
        share = self.blurred(by_slice(slab, iron, slices), np.mean(self.settings.swi_blur_mm))
        return by_slice(slab, magnitude, slices) * (1 - phase * share) ** MASK_POWER

    def gradient_echo(self, slab: Slab, markers: Markers) -> tuple[torch.Tensor, torch.Tensor]:
        """T2*-weighted magnitude with its veins, iron, calcium and air, and the share that is vein or bleed: (N,)."""
        rng, u, points, tissue = self.rng, self.uniform, slab.points, slab.tissue
        image = self.any_signal(slab, markers.wmh, "t2star")
        level = image[self.is_brain[tissue] > 0].median()
        image = image * (1 - (tissue == CODE["pallidum"]) * u(0, 0.6)) * (1 - (tissue == CODE["putamen"]) * u(0, 0.35))
        image = image + markers.lacune * (u(0.5, 1.8) * level - image)
        image = image + markers.perivascular * u(0, 0.6) * (u(0.9, 1.6) * level - image)
        cavity = torch.sigmoid(markers.infarct / u(0.5, 1.5)) * self.is_inside[tissue]
        image = image + cavity * (u(0.5, 1.6) * level - image)
        inside = self.is_inside[tissue]  # a vein that ended where cortex does would be a bleed to any reader
        left = torch.ones_like(image)  # of the signal, beside veins and bleeds
        for _ in range(int(rng.integers(2, 7))):
            left = left * (1 - self.veins(slab, u(0.2, 0.4), u(4, 9)) * inside * u(0.3, 0.95))
        for _ in range(int(rng.integers(6, 15))):  # wide ones follow sulci over centimetres, which makes these dark
            pia = self.pial_surface(slab.head, u(0.1, 0.25))
            left = left * (1 - self.veins(slab, u(0.2, 0.55), u(5, 16), pia) * inside * u(0.5, 0.95))
        if rng.random() < 0.6:  # medullary veins: straight and radial to the ventricles
            depth = torch.full(tissue.shape, -9.0, device=self.device)
            ventricle = sample(slab.head.ventricle_mm, points).float() * STEP_MM
            for centre in self.centres(slab, self.is_hemisphere[tissue] * (ventricle < 18), int(rng.integers(3, 40))).T:
                self.draw_tube(slab, depth, centre, self.outwards(slab.head, centre), u(5, 20) / 2, u(0.45, 0.8))
            left = left * (1 - torch.sigmoid(depth / 0.2) * self.is_brain[tissue] * u(0.2, 0.8))
        for name, often in (("choroid_plexus", 0.6), ("pallidum", 0.3)):  # calcium
            if rng.random() < often:
                fleck = torch.sigmoid(6 * (self.noise(points, u(1.2, 3.0), rng) - u(0.4, 1.8)))
                image = image * (1 - (tissue == CODE[name]) * fleck * u(0.4, 1.0))
        if rng.random() < 0.6:  # air beside the base of the skull takes the signal of what lies on it
            low = slab.head.brain_box[2][0]
            lost = torch.sigmoid(2 * (self.noise(points, u(8, 16), rng) - u(0.2, 1.5)))
            image = image * (1 - lost * torch.sigmoid((low + u(10, 40) - points[2]) / 4) * u(0.5, 1.0))
        halo = self.blurred(slab.fill(markers.microbleed), 1.2)
        image = image * (1 + u(0, 0.3) * halo[slab.keep] * (1 - markers.microbleed))  # the lobe beside a dipole
        left = left * (1 - markers.microbleed * u(0.5, 0.95))
        return (image * left).clamp(min=0), 1 - left

    # Several slices

    def blurred(self, planes: torch.Tensor, sd_mm: float) -> torch.Tensor:
        """(S, R, A), each in its plane."""
        return torch.stack([blur(plane, sd_mm / self.settings.pixel_mm) for plane in planes])

    def acquired(self, planes: torch.Tensor, sequence: str = "flair") -> list[torch.Tensor]:
        """(S, R, A) as one scanner acquires them; the noise itself goes on from slice to slice."""
        kept = self.settings
        if sequence == "swi":
            self.settings = replace(kept, blur_mm=kept.swi_blur_mm, coarse=0.0)
        slices = [self.acquire(plane, kept.noise) for plane in self.alike(planes)]
        self.settings = kept
        return slices

    # Whole scans

    def least_share(self, marker: str) -> float:
        """Share of a voxel of a scan from which it belongs to a marker."""
        return OUTLINE

    def as_scan(self, sequence: str, slab: Slab, stack: Stack, markers: Markers) -> Sequence3D:
        kept, self.settings = self.settings, replace(self.settings, pixel_mm=stack.pixel_mm)
        signal = self.signal(sequence, slab, markers, stack.shape[2])
        slices = torch.stack(self.acquired(signal, sequence), 2).cpu().numpy()
        self.settings = kept
        voxels = np.rint(slices * 300).clip(0, 32767).astype(np.int16)

        def voxels_of(values: torch.Tensor, least: float) -> Image:
            return Image((by_slice(slab, values, stack.shape[2]) > least).permute(1, 2, 0).cpu().numpy(), stack.affine)

        truth = {name: voxels_of(getattr(markers, name), self.least_share(name)) for name in MARKERS}
        traces = {name: voxels_of(getattr(markers, name), TRACE) for name in MARKERS}
        brain = voxels_of(self.is_brain[slab.tissue], OUTLINE)
        return Sequence3D(Image(voxels, stack.affine), truth, traces, brain)


def outlined(share: torch.Tensor) -> torch.Tensor:
    """1 where a marker fills half of a pixel (R, A), and UNKNOWN where a spot of it nowhere does: seen, or not."""
    spots = torch.from_numpy(ndimage.label((share > TRACE).cpu().numpy(), np.ones((3, 3)))[0]).to(share.device)
    faint = (spots > 0) & ~torch.isin(spots, spots[share > OUTLINE])
    return torch.where(faint, UNKNOWN, (share > OUTLINE).float())
