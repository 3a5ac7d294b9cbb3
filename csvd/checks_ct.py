"""Is this a noncontrast CT of a head? Refuse what cannot be one; warn about what is doubtful.

Limits without a named source are choices; those about attenuation were looked at on synthetic head CTs and on the
elderly template of docs/synthetic_ct.md, with room on both sides: a warning that is missing costs less than one that is
wrong.
"""

from __future__ import annotations

import numpy as np

from csvd.checks import SMALLEST_HEAD_ML, doubts_about_slices, require_volume
from csvd.errors import InputError
from csvd.grid import blocks, world_axes
from csvd.head_ct import HeadCT, distance_mm, head_in, in_air, in_plane_mm
from csvd.image import Image

WORKING_MM = 3.0
AIR_HU, AIR_SHARE = -500.0, 0.02
BRAIN_HU = (10.0, 60.0)  # median within the skull: fluid 0 to 12, brain 25 to 41 HU, an error of 10 HU either way
USUAL_HU = (20.0, 45.0)  # the same as scanners in good order give it: synthetic heads 26 to 37, the template 29 HU
RAW_HU, RAW_SHARE = 1024.0, 0.05  # what scanners add to HU before they store them; brain is more of a scan than that
# An 8-bit MR of a whole head has bright scalp around a brain of 10 to 60 too, but nothing like cortical bone, which is
# above 1000 HU, and in slices of 5 mm somewhere still above this. A choice.
SOLID_BONE_HU = 500.0
# A stripped brain: hardly anything is as bright as bone, but a rim of the skull may have been left.
STRIPPED_HIGH_HU, STRIPPED_SHARE, STRIPPED_SKULL_ML = 100.0, 0.05, 40.0
CUT_SHARE, CUT_HU = 0.05, 1000.0  # so many voxels at one highest value below this: a window was burnt in
SHORT_COVERAGE_MM = 80.0  # as for FLAIR: brain and ventricles of an adult span more
LARGEST_CUT_CM2 = {"left": 5.0, "right": 5.0, "back": 5.0, "front": 5.0, "top": 40.0}  # of the intracranial space
# Vessels with contrast medium are 100 to 400 HU, in sulci and fissures as well. Blood that has left them is at most 90
# HU; calcified plexus and pineal lie deeper, a calcified falx has few mL; nearer to the skull and in the lower part of
# the scan partial volume with bone looks like all of these.
VESSEL_HU, VESSEL_DEPTH_MM, CALCIFIED_ML, BASE_SHARE = (100.0, 400.0), (6.0, 25.0), 6.0, 0.4
NOISE_HU, REFERENCE_MM = 6.0, 5.0  # SD in 5 mm: networks learn from 2 to 4 HU, leukoaraiosis differs by 5 to 15 HU


def check_ct(image: Image) -> list[str]:
    """Raise InputError where ``image`` cannot be a head CT in HU; return sentences about what is doubtful.

    Doubts about the file's header are in ``image.warnings`` and not repeated here.
    """
    name = image.source or "The image"
    require_volume(image, name, "CT")
    if image.modality not in ("", "CT", "OT", "SC"):
        raise InputError(f"{name} is a DICOM image of modality {image.modality}, not CT. Give the CT series.")
    _require_whole_range(image.voxels, name)
    head = _coarse_head(image)
    _require_head(head, image, name)
    return [
        *doubts_about_slices(image.grid),
        *_doubts_about_coverage(head),
        *_doubts_about_attenuation(head, image),
    ]


def _coarse_head(image: Image) -> HeadCT:
    means, block = blocks(in_air(image.voxels), image.spacing_mm, WORKING_MM)
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((np.array(block) - 1) / 2)
    affine[:3, :3] *= block
    return head_in(Image(means, affine, image.source))


def _require_whole_range(voxels: np.ndarray, name: str) -> None:
    low, high = BRAIN_HU
    if voxels.min() >= 0 and np.mean((voxels > RAW_HU + low) & (voxels < RAW_HU + high)) > RAW_SHARE:
        raise InputError(
            f"{name} holds stored values and no Hounsfield units: its rescaling was lost. Export it again, or take "
            f"{RAW_HU:g} away."
        )
    highest = voxels.max()
    body = voxels > max(0, voxels.min())
    if 0 < highest < CUT_HU and np.count_nonzero(voxels == highest) > CUT_SHARE * np.count_nonzero(body):
        raise InputError(
            f"{name} is cut at {highest:g}: it was exported with a window, and bone cannot be told from blood. Export "
            "the CT in Hounsfield units."
        )


def _require_head(head: HeadCT, image: Image, name: str) -> None:
    """Raise InputError unless there is a brain in HU, in a skull or stripped."""
    cavity_ml = np.count_nonzero(head.cavity) * head.image.voxel_volume_ml
    if cavity_ml < SMALLEST_HEAD_ML:
        raise InputError(f"{name} shows no head: only {cavity_ml:.0f} mL are denser than air. Give a CT of the head.")
    brain_hu = head.brain_hu
    has_air = image.voxels.dtype.kind != "u" and np.mean(image.voxels < AIR_HU) > AIR_SHARE
    low, high = BRAIN_HU
    bright = np.mean(head.image.voxels[head.cavity] > STRIPPED_HIGH_HU)
    stripped = head.skull_ml < STRIPPED_SKULL_ML and bright < STRIPPED_SHARE
    in_skull = head.closed and image.voxels.max() > SOLID_BONE_HU
    if low <= brain_hu <= high and (in_skull or stripped):
        return
    if has_air:
        raise InputError(
            f"{name} shows no brain in a skull: it looks like a CT of another part of the body, or of too small a "
            "part of the head. Give a CT of the whole head."
        )
    raise InputError(
        f"{name} is no head CT in Hounsfield units: what should be brain is at {brain_hu:.0f}, not {low:g} to "
        f"{high:g} HU, or there is no skull around it. Give the CT, not MR."
    )


def _doubts_about_coverage(head: HeadCT) -> list[str]:
    doubts = []
    grid, axes = head.image.grid, world_axes(head.image.grid)
    occupied = np.flatnonzero(head.cavity.any(axis=tuple({0, 1, 2} - {axes[2]})))
    height_mm = (np.ptp(occupied) + 1) * grid.spacing_mm[axes[2]]
    if height_mm < SHORT_COVERAGE_MM:
        doubts.append(f"The scan shows only {height_mm:.0f} mm of the brain from below to above: volumes are partial.")
    cut = []
    for world, sides in enumerate((("left", "right"), ("back", "front"), ("bottom", "top"))):
        face_cm2 = np.prod(np.delete(grid.spacing_mm, axes[world])) / 100
        ends = (0, -1) if grid.affine[world, axes[world]] > 0 else (-1, 0)
        for side, end in zip(sides, ends, strict=True):
            area_cm2 = np.count_nonzero(head.cavity.take(end, axes[world])) * face_cm2
            cut += [side] if area_cm2 > LARGEST_CUT_CM2.get(side, np.inf) else []
    if cut:
        doubts.append(f"The brain is cut off at the {' and '.join(cut)}: what lies outside the image is not measured.")
    return doubts


def _doubts_about_attenuation(head: HeadCT, image: Image) -> list[str]:
    doubts = []
    low, high = USUAL_HU
    if not low <= head.brain_hu <= high:
        doubts.append(
            f"The brain's median attenuation is {head.brain_hu:.0f} HU, where {low:g} to {high:g} HU are usual: the "
            "calibration is off, or contrast medium was given; the result is doubtful."
        )
    if not head.closed:
        doubts.append("No skull is in the scan: it was stripped, and the brain mask is what that left.")
    depth_mm = _on(image, _depth_mm(head))
    inner = depth_mm > VESSEL_DEPTH_MM[0]
    vessels = inner & (depth_mm < VESSEL_DEPTH_MM[1]) & _above_base(inner, image)
    vessels &= (image.voxels > VESSEL_HU[0]) & (image.voxels < VESSEL_HU[1])
    vessels_ml = np.count_nonzero(vessels) * image.voxel_volume_ml
    if vessels_ml > CALCIFIED_ML:
        doubts.append(
            f"{vessels_ml:.0f} mL in and around the cortex are brighter than {VESSEL_HU[0]:g} HU, as vessels with "
            "contrast medium are: check that this is a noncontrast CT; the result is doubtful."
        )
    noise_hu = _noise_hu(image, inner)
    if noise_hu > NOISE_HU:
        doubts.append(
            f"The scan is noisy: {noise_hu:.0f} HU (SD) in slices of {REFERENCE_MM:g} mm, where leukoaraiosis is 5 to "
            "15 HU darker than white matter; the result is doubtful."
        )
    return doubts


def _depth_mm(head: HeadCT) -> np.ndarray:
    """Distance to what is not intracranial, within each slice; 0 outside."""
    axis, pixel_mm = world_axes(head.image.grid)[2], in_plane_mm(head.image)
    planes = [distance_mm(plane, pixel_mm) for plane in np.moveaxis(head.cavity, axis, 0)]
    return np.moveaxis(np.stack(planes), 0, axis)


def _above_base(inner: np.ndarray, image: Image) -> np.ndarray:
    """The upper slices that ``inner`` has, where no bone reaches into the brain: broadcasts to its shape."""
    up = world_axes(image.grid)[2]
    has = np.flatnonzero(inner.any(axis=tuple({0, 1, 2} - {up})))
    height = np.arange(inner.shape[up]) if image.affine[2, up] > 0 else np.arange(inner.shape[up])[::-1]
    low, high = (height[has].min(), height[has].max()) if len(has) else (0, 0)
    return (height >= low + BASE_SHARE * (high - low)).reshape([-1 if n == up else 1 for n in range(3)])


def _on(image: Image, coarse: np.ndarray) -> np.ndarray:
    """Values on the voxels of ``_coarse_head`` on those of ``image``."""
    sizes = zip(image.voxels.shape, image.spacing_mm, coarse.shape, strict=True)
    index = [np.minimum(np.arange(n) // max(1, round(WORKING_MM / mm)), m - 1) for n, mm, m in sizes]
    return coarse[np.ix_(*index)]


def _noise_hu(image: Image, inner: np.ndarray) -> float:
    """SD of the noise in slices of 5 mm, HU, from differences of pixels 2 mm apart, which tissue hardly touches."""
    axis = world_axes(image.grid)[2]
    across = next(n for n in range(3) if n != axis)
    step = max(1, round(2 / image.spacing_mm[across]))
    low = [slice(None)] * 3
    high = list(low)
    low[across], high[across] = slice(None, -step), slice(step, None)
    both = inner[tuple(low)] & inner[tuple(high)]
    if not both.any():
        return 0.0
    change = image.voxels[tuple(high)][both].astype(np.float32) - image.voxels[tuple(low)][both]
    sd = 1.4826 * np.median(np.abs(change)) / np.sqrt(2)  # of a normal distribution, from its median
    return float(sd * min(1.0, image.spacing_mm[axis] / REFERENCE_MM) ** 0.5)
