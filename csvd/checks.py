"""Is this a FLAIR of a head? Refuse what cannot be one; warn about what is doubtful.

The constants about contrast were measured on 14 FLAIR, 9 T1 and one T2 scan (Lesjak et al. 2016 and 2017, a stroke
case and two healthy controls, whole heads and skull-stripped brains, 0.6 to 4 mm) and set in the gap between the
groups, nearer to the other group than to FLAIR: a warning that is missing costs less than one that is wrong. Where
no measurement is named, a limit is a choice.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from csvd.errors import InputError
from csvd.grid import Grid, blocks, world_axes
from csvd.image import Image

SPACING_MM = (0.2, 10.0)
# Choices: the smallest adult brain is wider than 80 mm; no head coil has a field of view beyond 400 mm; below 25 mm
# of stacked slices the ventricles are not in the scan.
IN_PLANE_EXTENT_MM = (80.0, 400.0)
STACK_EXTENT_MM = (25.0, 400.0)
FEWEST_SLICES, FEW_SLICES = 3, 12
THICK_SLICE_MM = 7.5
# A choice: brain and ventricles of an adult, base to vertex, span more than this.
SHORT_COVERAGE_MM = 80.0
# On the measured scans at most 10 cm2 of head touch a side, and 117 cm2 the top (a T1 that ends below the vertex).
LARGEST_CUT_CM2 = {"left": 30.0, "right": 30.0, "back": 30.0, "front": 30.0, "top": 140.0}
# A choice, a tenth of an adult brain: less tissue than this is not a head.
SMALLEST_HEAD_ML = 120.0

# Air on CT is -1000 HU. N4 and spline resampling leave MR at most a few percent of negative voxels, and small ones.
AIR_HU, AIR_SHARE = -500.0, 0.02
# A stripped brain on CT: 20-50 HU, nothing beyond -150..200 HU, and more skewed (-1.1 in the scct template) than any
# MR measured (-.48 and more).
BRAIN_HU, BRAIN_RANGE_HU, CT_SKEW = (20.0, 50.0), (-150.0, 200.0), -0.6
# Label maps: neighbours agree in 83 to 87 % of voxels; 8-bit FLAIR in 5 to 15 %.
MOST_LABELS, LABEL_AGREEMENT = 1024, 0.6
FEWEST_GREYS = 8

WORKING_MM = 3.0
# Below Otsu's threshold, so that dark brain far from the coil belongs to the head.
TISSUE = 0.7
# The inner head is deeper than this share of the deepest point: brain, without scalp and skull.
DEPTH = 0.3
FIELD_MM = 20.0
CSF, FLUID_BRIGHT = 0.6, 1.6
# Share of the inner head brighter than 1.6 times its surroundings: FLAIR at most .004, T2 .18.
T2_BRIGHT_SHARE = 0.08
# (mode - mean) / SD of brain: white matter is the bright and larger peak on T1 (.60 to .72), one peak on FLAIR
# (-.21 to .04).
T1_MODE_SKEW = 0.4
# SD of brain over local level: .11 to .15 on FLAIR, lesions, cortex and partial volume included.
LOW_CONTRAST = 0.03


def check_flair(image: Image) -> list[str]:
    """Raise InputError where ``image`` cannot be a FLAIR of a head; return sentences about what is doubtful.

    Doubts about the file's header are in ``image.warnings`` and not repeated here.
    """
    name = image.source or "The image"
    head = require_head(image, name, "FLAIR")
    return [*doubts_about_slices(image.grid), *doubts_about_coverage(head), *_doubts_about_contrast(head)]


def require_head(image: Image, name: str, wanted: str) -> "Head":
    """The head in an MR image; raises InputError where there is none. ``wanted`` is the sequence to give."""
    require_volume(image, name, wanted)
    _require_mr(image, name, wanted)
    head = Head.find(image)
    if head.volume_ml < SMALLEST_HEAD_ML:
        raise InputError(
            f"{name} shows no head: only {head.volume_ml:.0f} mL are brighter than the background. Give the "
            f"{wanted} of this head."
        )
    if _is_stripped_ct(image.voxels, head):
        raise InputError(_ct(name, wanted))
    return head


def require_volume(image: Image, name: str, wanted: str) -> None:
    """Raise InputError where ``image`` cannot be a scan of a head, whatever made it; ``wanted`` is what to give."""
    if image.voxels.ndim != 3:
        raise InputError(f"{name} has {image.voxels.ndim} dimensions, not 3. Give one {wanted} volume.")
    _require_head_sized(image.grid, name, wanted)
    _require_grey_values(image.voxels, name, wanted)


def _require_head_sized(grid: Grid, name: str, wanted: str) -> None:
    axis = grid.slice_axis
    spacing_mm, extent_mm = grid.spacing_mm, grid.extent_mm
    if grid.shape[axis] < FEWEST_SLICES:
        slices = "1 slice" if grid.shape[axis] == 1 else f"{grid.shape[axis]} slices"
        raise InputError(f"{name} has {slices}; at least {FEWEST_SLICES} are needed. Give the whole {wanted} volume.")
    low, high = SPACING_MM
    if not all(low <= round(mm, 3) <= high for mm in spacing_mm):  # as it is told
        sizes = " x ".join(f"{mm:.3g}" for mm in spacing_mm)
        raise InputError(
            f"{name} has voxels of {sizes} mm, outside {low:g}-{high:g} mm: its header is wrong or it is no head scan. "
            "Export it again from the scanner."
        )
    for along, mm in enumerate(extent_mm):
        low, high = STACK_EXTENT_MM if along == axis else IN_PLANE_EXTENT_MM
        if not low <= mm <= high:
            what = "Its slices cover" if along == axis else "In plane it covers"
            raise InputError(
                f"{name} cannot be a whole head. {what} {mm:.0f} mm, outside {low:g}-{high:g} mm: give the original, "
                f"uncropped {wanted}."
            )


def _require_grey_values(voxels: np.ndarray, name: str, wanted: str) -> None:
    if voxels.dtype.kind == "f":
        bad = sum(int(np.count_nonzero(~np.isfinite(voxels[:, :, k]))) for k in range(voxels.shape[2]))
        if bad:
            raise InputError(
                f"{name} has {bad} voxels that are not numbers (NaN or infinite). Replace them by 0 or export it again."
            )
    elif voxels.dtype.kind not in "iub":
        raise InputError(f"{name} holds {voxels.dtype} values, not plain intensities. Export the image itself.")
    lowest, highest = voxels.min(), voxels.max()
    if lowest == highest:
        raise InputError(f"{name} is empty: every voxel is {lowest:g}. Export the scan again.")
    if _is_label_map(voxels):
        raise InputError(f"{name} is a mask or label map, not a scan. Give the {wanted} itself.")


def _is_label_map(voxels: np.ndarray) -> bool:
    """Few different values, in large even patches."""
    some = voxels[:, :, :: max(1, voxels.shape[2] // 32)]
    distinct, counts = np.unique(some, return_counts=True)
    if len(distinct) < FEWEST_GREYS:
        return True
    if len(distinct) > MOST_LABELS:
        return False
    tissue = some != distinct[counts.argmax()]
    agreement = []
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        pairs = tissue[here] | tissue[there]
        agreement.append(np.mean(some[here][pairs] == some[there][pairs]) if pairs.any() else 0.0)
    return bool(max(agreement) > LABEL_AGREEMENT)


def _require_mr(image: Image, name: str, wanted: str) -> None:
    if image.modality not in ("", "MR", "OT", "SC"):
        raise InputError(f"{name} is a DICOM image of modality {image.modality}, not MR. Give the {wanted} series.")
    if image.voxels.dtype.kind != "u" and np.mean(image.voxels < AIR_HU) > AIR_SHARE:
        raise InputError(_ct(name, wanted))


def _is_stripped_ct(voxels: np.ndarray, head: "Head") -> bool:
    level = float(np.median(head.inner))
    low, high = BRAIN_RANGE_HU
    plausible = BRAIN_HU[0] <= level <= BRAIN_HU[1] and low <= voxels.min() < 0 and voxels.max() <= high
    return bool(plausible and head.mode_skew < CT_SKEW)


def _ct(name: str, wanted: str) -> str:
    return f"{name} looks like CT (Hounsfield units), not {wanted}. Give the {wanted} of this head."


@dataclass(frozen=True)
class Head:
    """The head at about 3 mm: where it is, and the brightness of its inner part over the local level."""

    mask: np.ndarray
    grid: Grid
    inner: np.ndarray
    relative: np.ndarray

    @classmethod
    def find(cls, image: Image) -> "Head":
        coarse, grid = _coarse(image)
        mask = _largest_solid(coarse > TISSUE * _otsu(coarse))
        padded = np.pad(mask, 1)
        depth_mm = ndimage.distance_transform_edt(padded, sampling=grid.spacing_mm)[1:-1, 1:-1, 1:-1]
        core = mask & (depth_mm > DEPTH * depth_mm.max())
        if not core.any():
            return cls(mask, grid, np.zeros(1), np.ones(1))
        inner = coarse[core]
        level = np.median(inner)
        level = max(float(np.median(inner[inner >= CSF * level])), np.finfo(np.float32).tiny)  # much may be dark fluid
        brain = core & (coarse > CSF * level) & (coarse < FLUID_BRIGHT * level)
        sigma = [FIELD_MM / mm for mm in grid.spacing_mm]
        weight = ndimage.gaussian_filter(brain.astype(np.float32), sigma)
        local = ndimage.gaussian_filter(np.where(brain, coarse, 0), sigma) / np.maximum(weight, 1e-6)
        return cls(mask, grid, inner, inner / np.where(local > 0, local, level)[core])

    @property
    def volume_ml(self) -> float:
        return float(self.mask.sum() * self.grid.voxel_volume_ml)

    @property
    def brain(self) -> np.ndarray:
        """Relative brightness without fluid, dark or bright."""
        return self.relative[(self.relative > CSF) & (self.relative < 1.5)]

    @property
    def mode_skew(self) -> float:
        """Pearson's first skewness, (mode - mean) / SD, of the brain's relative brightness; 0 where there is none."""
        brain = self.brain
        if brain.size < 100 or brain.std() == 0:
            return 0.0
        counts, edges = np.histogram(brain, np.arange(CSF, 1.505, 0.01))
        mode = edges[ndimage.gaussian_filter1d(counts.astype(float), 3).argmax()] + 0.005
        return float((mode - brain.mean()) / brain.std())


def _coarse(image: Image) -> tuple[np.ndarray, Grid]:
    """Means over blocks of voxels of about 3 mm."""
    means, block = blocks(image.voxels, image.spacing_mm, WORKING_MM)
    affine = image.affine.copy()
    affine[:3, :3] *= block
    return means, Grid(means.shape, affine)


def _otsu(values: np.ndarray) -> float:
    """Otsu 1979: the threshold that separates two classes best; scalp fat and air cavities below 0 do not pull it."""
    highest = np.percentile(values, 99.5)
    counts, edges = np.histogram(np.clip(values, 0, highest if highest > 0 else values.max()), 128)
    centres = (edges[1:] + edges[:-1]) / 2
    below, moment = np.cumsum(counts), np.cumsum(counts * centres)
    total, all_moment = below[-1], moment[-1]
    # Without the last class, which leaves nothing above: a rounding error over 0 would win.
    below, moment = below[:-1], moment[:-1]
    with np.errstate(all="ignore"):
        between = (all_moment * below / total - moment) ** 2 / (below * (total - below))
    return float(centres[np.nanargmax(between)])


def _largest_solid(mask: np.ndarray) -> np.ndarray:
    """The largest piece, with its sulci closed and its holes filled."""
    # Padded with its own edge, so that a head cut off by the image keeps its cut face.
    labels, count = ndimage.label(ndimage.binary_opening(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1, 1:-1])
    if not count:
        return np.zeros_like(mask)
    largest = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    inside = tuple(slice(8, 8 + n) for n in mask.shape)
    solid = largest | ndimage.binary_closing(np.pad(largest, 8), iterations=5)[inside]
    for axis in range(3):
        for plane in np.moveaxis(solid, axis, 0):
            plane |= ndimage.binary_fill_holes(plane)
    return solid


def doubts_about_slices(grid: Grid) -> list[str]:
    axis = grid.slice_axis
    doubts = []
    if grid.spacing_mm[axis] > THICK_SLICE_MM:
        doubts.append(
            f"The slices are {grid.spacing_mm[axis]:.1f} mm apart: small lesions are missed and volumes are coarse; "
            "prefer a scan with slices of 5 mm or less."
        )
    if grid.shape[axis] < FEW_SLICES:
        doubts.append(f"The scan has only {grid.shape[axis]} slices: volumes hold for that part of the brain alone.")
    return doubts


def doubts_about_coverage(head: Head) -> list[str]:
    doubts = []
    up = world_axes(head.grid)[2]
    occupied = np.flatnonzero(head.mask.any(axis=tuple({0, 1, 2} - {up})))
    height_mm = (np.ptp(occupied) + 1) * head.grid.spacing_mm[up]
    if height_mm < SHORT_COVERAGE_MM:
        doubts.append(
            f"The scan shows only {height_mm:.0f} mm of the head from below to above: the volumes are partial."
        )
    cut = [side for side, area_cm2 in _cut_faces_cm2(head).items() if area_cm2 > LARGEST_CUT_CM2[side]]
    if cut:
        doubts.append(f"The head is cut off at the {' and '.join(cut)}: lesions outside the image are not measured.")
    return doubts


def _cut_faces_cm2(head: Head) -> dict[str, float]:
    """Area of the head on each outer face of the image but the lower one, where the neck leaves it."""
    areas = {}
    sides = (("left", "right"), ("back", "front"), ("bottom", "top"))
    for world, axis in enumerate(world_axes(head.grid)):
        face_cm2 = np.prod(np.delete(head.grid.spacing_mm, axis)) / 100
        ends = (0, -1) if head.grid.affine[world, axis] > 0 else (-1, 0)
        for side, end in zip(sides[world], ends, strict=True):
            areas[side] = float(head.mask.take(end, axis).sum() * face_cm2)
    return {side: areas[side] for side in LARGEST_CUT_CM2}


def _doubts_about_contrast(head: Head) -> list[str]:
    relative = head.relative
    bright, dark = np.mean(relative > FLUID_BRIGHT), np.mean(relative < CSF)
    if bright > T2_BRIGHT_SHARE and bright > dark:
        return ["Fluid is bright, as on T2: check that this is a FLAIR (fluid suppressed); the result is doubtful."]
    if head.brain.size and head.brain.std() < LOW_CONTRAST:
        return ["The brain has almost no contrast: check the scan for damage or wrong scaling; lesions may be missed."]
    if head.mode_skew > T1_MODE_SKEW:
        return ["White matter is brighter than cortex, as on T1: check that this is a FLAIR; the result is doubtful."]
    return []
