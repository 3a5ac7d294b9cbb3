"""Physics of a noncontrast head CT, as functions on tensors: attenuation of tissues, beam hardening, noise, table.

Images are (R, A) in Hounsfield units (HU). Sources of ranges: white and grey matter, fluid, blood, bone, fat, infarcts,
leukoaraiosis and noise from the attenuation reported in 12880-024-01340-2 (leukoaraiosis 17.5, SD 4.7; acute infarct
18.9, SD 6.4; old infarct 11.9, SD 5.9) and measured on a public CT template (white 31.8, grey 39.3, ventricle 11.9);
the elderly one of ``docs/synthetic_ct.md`` has more contrast. What has no source is called a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from .heads import BRAIN, CODE, TISSUES, Head
from .synthesis import blur

AIR_HU, LARGEST_HU = -1000.0, 3071.0  # 12 stored bits of CT, -1024 to 3071
WHITE_HU, GREY_HU, FLUID_HU, VENTRICLE_HU = (25, 33), (34, 46), (0, 12), (5, 12)
# Grey above white, whence the 46 of grey: 7.5 in the one template and 12 in the other, partial volume and all; choice.
CONTRAST_HU = (4, 16)
BLOOD_HU, CALCIUM_HU, BONE_HU = (40, 80), (80, 300), (800, 1700)
SOFT_HU = (0, 60)  # fluid to blood: between these the gain acts
ACUTE_HU, OLD_HU = (16, 24), (5, 14)
BACKGROUNDS = (-1000, -1024, -2000, -3024, 0)  # what scanners and converters write outside the reconstructed circle
BACKGROUND_SHARES = (0.35, 0.2, 0.1, 0.15, 0.2)  # choice
SKULL_MM = 2  # choice: the maps were made from MR and have holes in the skull; bone lies at least this thick on fluid
BONY, OUTER = ("bone", "marrow"), ("air", "skin", "soft_tissue")
COARSE_MM, ANGLES = 3.3, 72  # beam hardening is smooth: choice, fine enough for a petrous bone
BONE_LEVEL = 150.0  # HU from which a voxel hardens the beam as bone does
REFERENCE_MM = 5.0  # the slice thickness for which noise is given


@dataclass(frozen=True)
class Scanner:
    """One scanner with its settings; all slices of a scan share it."""

    kernel_mm: float  # SD of the point spread of a soft-tissue kernel: FWHM 0.9 to 1.9 mm
    sharpen: float  # edge enhancement, 0 for none
    noise_hu: float  # SD in a slice of 5 mm
    grain_mm: float  # correlation length of the noise
    hardening: (
        float  # residual beam hardening: error of a projection over (cm of bone)^2, after the scanner's correction
    )
    glow_hu: float  # cupping: excess next to the skull
    starvation_hu: float  # SD of streaks along the lateral rays through both petrous bones
    background: float
    circle_mm: float  # radius of the reconstructed circle
    cut: bool  # negative values written as 0
    gain: float  # of the differences between soft tissues: tube voltage and calibration; choice
    offset_hu: float  # error of the calibration: tissue means differ by 9 to 10 HU (SD) between patients of a template
    holder: tuple[float, ...]  # gap, shell thickness, shell HU, foam HU, table distance, table HU


def draw_scanner(rng: np.random.Generator, noise_hu: tuple[float, float]) -> Scanner:
    u = rng.uniform
    return Scanner(
        kernel_mm=u(0.4, 0.8),
        sharpen=u(0.2, 0.6) if rng.random() < 0.2 else 0.0,
        noise_hu=u(*noise_hu),
        grain_mm=u(0.35, 0.7),
        hardening=u(0, 1) ** 2 * 0.01,
        glow_hu=u(0, 6),
        starvation_hu=u(0, 2),
        background=float(rng.choice(BACKGROUNDS, p=BACKGROUND_SHARES)),
        circle_mm=u(108, 128),
        cut=rng.random() < 0.25,
        gain=u(0.85, 1.3),
        offset_hu=float(np.clip(rng.normal(0, 5), -12, 12)),
        holder=(u(4, 14), u(2, 4), u(-150, 250), u(-990, -900), u(15, 60), u(-300, 150)),
    )


def tissue_hu(uniform: Callable[[float, float], float]) -> dict[str, float]:
    """Attenuation of every tissue of one patient on one scanner, HU; grey matter is always above white."""
    u = uniform
    white = u(*WHITE_HU)
    grey = float(np.clip(white + u(*CONTRAST_HU), *GREY_HU))
    fluid = u(*FLUID_HU)
    ventricle = float(np.clip(fluid + u(-2, 5), *VENTRICLE_HU))
    hu = dict.fromkeys(TISSUES, AIR_HU)
    return hu | {
        "white_matter": white,
        "lesion": white,
        "septum": white,
        "vessel": u(0.6, 1.0) * white,
        "cortex": grey,
        "caudate": grey + u(-1, 1),
        "putamen": grey + u(-1, 1),
        "pallidum": grey + u(-2, 3),
        "thalamus": grey + u(-3, 0),
        "hippocampus": grey + u(-2, 0),
        "ventral_diencephalon": 0.5 * (white + grey) + u(-1, 1),
        "brain_stem": white + u(0, 3),
        "cerebellar_white_matter": white + u(-1, 2),
        "cerebellar_cortex": grey + u(-3, 1),
        "lateral_ventricle": ventricle,
        "third_ventricle": ventricle,
        "fourth_ventricle": ventricle,
        "csf": fluid,
        "choroid_plexus": u(20, 45),
        "artery": u(*BLOOD_HU),
        "eye": u(0, 20),
        "soft_tissue": u(20, 60),
        "mucosa": u(-50, 50),
        "skin": u(-100, 60),
        "bone": u(*BONE_HU),
        "marrow": u(250, 800),
    }


def with_skull(head: Head) -> Head:
    """The same head with a closed skull: what lies on its fluid, and the air that is embedded in bone, is bone.

    Dura and vessels between parts of the brain stay as they are: more than half of what is around them is brain.
    """
    tissue = head.tissue
    inside, bony, outer, air = (
        torch.isin(tissue, torch.tensor(codes, device=tissue.device, dtype=tissue.dtype))
        for codes in ([*BRAIN, CODE["csf"]], [CODE[t] for t in BONY], [CODE[t] for t in OUTER], [CODE["air"]])
    )
    near = (box_mean(inside, 2 * SKULL_MM + 1) > 0) & (box_mean(inside, 13) < 0.55)
    closed = (near & outer) | ((box_mean(bony, 7) > 0.25) & air)
    return replace(head, tissue=torch.where(closed, torch.full_like(tissue, CODE["bone"]), tissue))


def box_mean(mask: torch.Tensor, width: int) -> torch.Tensor:
    """Share of a mask (X, Y, Z) in a cube of ``width`` voxels around every voxel."""
    share = mask[None].float()
    for axis in range(3):
        size, pad = [1, 1, 1], [0, 0, 0]
        size[axis], pad[axis] = width, width // 2
        share = F.avg_pool3d(share, size, 1, pad)
    return share[0]


# What the scanner does


def rotated(images: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Square images (n, N, N), each turned by its angle in radians; 0 comes in from outside."""
    cos, sin, zero = torch.cos(angles), torch.sin(angles), torch.zeros_like(angles)
    turn = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(turn, [len(images), 1, *images.shape[1:]], align_corners=False)
    return F.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def beam_hardening(hu: torch.Tensor, pixel_mm: float, strength: float) -> torch.Tensor:
    """Artefact in HU of an image (R, A): dark bars between dense bones, and their counterpart beside them.

    Every projection is too small by ``strength`` times the square of its path through bone in cm of water, the second
    order of polyenergetic attenuation (Joseph and Spital, J Comput Assist Tomogr 1978); the error is filtered and
    projected back as the data are. The calibration on water takes the median of soft tissue away.
    """
    step = max(1, round(COARSE_MM / pixel_mm))
    bone = F.avg_pool2d((hu - BONE_LEVEL).clamp(min=0)[None, None] / 1000, step, ceil_mode=True)[0, 0]
    side = int(np.ceil(1.42 * max(bone.shape))) + 1
    low = [(side - n) // 2 for n in bone.shape]
    pad = (low[1], side - bone.shape[1] - low[1], low[0], side - bone.shape[0] - low[0])
    square = F.pad(bone, pad)
    angles = torch.arange(ANGLES, device=hu.device) * (np.pi / ANGLES)
    cm = step * pixel_mm / 10
    paths = rotated(square.expand(ANGLES, -1, -1), angles).sum(1) * cm
    ramp = torch.fft.rfftfreq(2 * side, cm).to(hu.device)
    error = torch.fft.irfft(torch.fft.rfft(-strength * paths**2, 2 * side) * ramp, 2 * side)[:, :side]
    back = rotated(error[:, None].expand(-1, side, -1), -angles).sum(0) * (np.pi / ANGLES) * 1000
    back = back[low[0] : low[0] + bone.shape[0], low[1] : low[1] + bone.shape[1]]
    back = F.interpolate(back[None, None], scale_factor=float(step), mode="bicubic", align_corners=False)[0, 0]
    back = back[: hu.shape[0], : hu.shape[1]]
    soft = back[(hu > -50) & (hu < BONE_LEVEL)]
    return back - soft.median() if len(soft) else back


def grain(shape: tuple[int, int], length: float, generator: torch.Generator) -> torch.Tensor:
    """Noise of unit SD with the band of frequencies that filtered back-projection leaves; ``length`` in pixels."""
    white = torch.randn(shape, generator=generator, device=generator.device)
    band = blur(white, length) - 0.7 * blur(white, 2.5 * length)
    return band / band.std()


def streaks(hu: torch.Tensor, pixel_mm: float, generator: torch.Generator) -> torch.Tensor:
    """Photon starvation: noise constant along lateral rays, of unit SD where 6 cm of bone lie on one (choice)."""
    cm = ((hu - BONE_LEVEL).clamp(min=0) / 1000).sum(0) * pixel_mm / 10
    noise = torch.randn(hu.shape[1], generator=generator, device=generator.device)
    return (noise * (cm / 6).clamp(max=1.5) ** 2).expand(hu.shape)


def coordinates(shape: tuple[int, int], pixel_mm: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """mm towards right and anterior of every pixel from the middle of the slice, (R, 1) and (1, A)."""
    right, anterior = ((torch.arange(n, device=device) - (n - 1) / 2) * pixel_mm for n in shape)
    return right[:, None], anterior[None]


def head_box(head: torch.Tensor, pixel_mm: float) -> tuple[float, float, float] | None:
    """Middle along R, middle along A and half the length along A, in mm, of a head's share of pixels (R, A)."""
    where = (head > 0.5).nonzero()
    if not len(where):
        return None
    low, high = where.min(0).values.float(), where.max(0).values.float()
    middle = ((low + high) / 2 - (torch.tensor(head.shape, device=head.device) - 1) / 2) * pixel_mm
    return float(middle[0]), float(middle[1]), float((high - low)[1] / 2 * pixel_mm)


def add_table(hu: torch.Tensor, head: torch.Tensor, box: tuple, scanner: Scanner, pixel_mm: float) -> torch.Tensor:
    """Head holder and table behind the head, in air only: a padded shell around the back, and a plate below it."""
    gap, thick, shell_hu, foam_hu, below, table_hu = scanner.holder
    right, anterior = coordinates(tuple(hu.shape), pixel_mm, hu.device)
    middle_right, middle, half = box
    radius = ((right - middle_right) ** 2 + (anterior - middle) ** 2).sqrt() - half
    behind = anterior < middle - 0.35 * half
    foam = behind & (radius > 0) & (radius < gap)
    shell = behind & (radius >= gap) & (radius < gap + thick)
    plate = anterior + half - middle + gap + thick + below
    plate = (plate < 0) & (plate > -thick) & (right.abs() < 200)
    for where, value in ((plate, table_hu), (foam, foam_hu), (shell, shell_hu)):
        hu = torch.where(where & (head < 0.02), torch.full_like(hu, value), hu)
    return hu


def expose(
    hu: torch.Tensor, scanner: Scanner, thickness_mm: float, pixel_mm: float, finer: int, generator: torch.Generator
) -> torch.Tensor:
    """A slice of mean attenuation as reconstructed: hardened, blurred, ``finer`` pixels for each, noisy: (R, A)."""
    hu = hu.clamp(max=LARGEST_HU)
    hu = hu + beam_hardening(hu, pixel_mm, scanner.hardening)
    hu = hu + scanner.glow_hu * blur((hu > BONE_LEVEL).float(), 6 / pixel_mm) * (hu < BONE_LEVEL)
    if scanner.starvation_hu:
        hu = hu + scanner.starvation_hu * streaks(hu, pixel_mm, generator)
    if finer > 1:
        hu = F.interpolate(hu[None, None], scale_factor=finer, mode="bicubic", align_corners=False)[0, 0]
    pixel_mm = pixel_mm / finer
    hu = blur(hu, scanner.kernel_mm / pixel_mm)
    if scanner.sharpen:
        hu = hu + (scanner.sharpen * (hu - blur(hu, 1.2 / pixel_mm))).clamp(-25, 25)  # choice: no dark rim in the skull
    if scanner.noise_hu:
        right, anterior = coordinates(tuple(hu.shape), pixel_mm, hu.device)
        level = 1.1 - 0.3 * ((right**2 + anterior**2).sqrt() / 90).clamp(max=1)  # choice: rays through the middle
        sd = scanner.noise_hu * (REFERENCE_MM / thickness_mm) ** 0.5
        hu = hu + sd * level * grain(tuple(hu.shape), scanner.grain_mm / pixel_mm, generator)
    return hu + (scanner.gain - 1) * (hu.clamp(*SOFT_HU) - np.mean(SOFT_HU)) + scanner.offset_hu


def stored(hu: torch.Tensor, scanner: Scanner, pixel_mm: float) -> torch.Tensor:
    """What is written to the file: whole HU, a background outside the circle, negative values perhaps cut."""
    right, anterior = coordinates(tuple(hu.shape), pixel_mm, hu.device)
    hu = hu.round().clamp(-1024, LARGEST_HU)
    if scanner.background != AIR_HU:
        hu = torch.where(right**2 + anterior**2 > scanner.circle_mm**2, scanner.background, hu)
    return hu.clamp(min=0) if scanner.cut else hu
