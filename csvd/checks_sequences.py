"""Are these the FLAIR, the T1 and the SWI of a head? Refuse what cannot be, warn about what is doubtful.

What is shared with the check of a single FLAIR stands in ``checks.py``. The limits about contrast lie between what was
measured there on 9 T1, 14 FLAIR and a T2. A whole-brain SWI was not at hand: its limits come from a crop of a gradient
echo, magnitude and phase (CLEARSWI.jl), and from synthetic ones, so only what no magnitude image can be is refused.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from .checks import (
    AIR_HU,
    CSF,
    FLUID_BRIGHT,
    LOW_CONTRAST,
    T1_MODE_SKEW,
    T2_BRIGHT_SHARE,
    Head,
    check_flair,
    doubts_about_coverage,
    doubts_about_slices,
    require_head,
    require_volume,
)
from .errors import InputError
from .image import Image
from .sequences import TITLES

# (mode - mean) / SD of brain, see checks.py: .60 to .72 on T1, -.21 to .04 on FLAIR.
NO_T1_MODE_SKEW = 0.15
# Of the voxels of a head, the share that equals its neighbour in the next slice: at most .09 on 24 scans, and
# (n - 1) / (n + 1) in a minimum over a window of n slices that moves slice by slice.
REPEATED_SHARE = 0.3
# SD over range of the corners of the field of view. In air a phase is any angle, which has 1 / sqrt(12) = .29; on a
# magnitude air and tissue have far less.
PHASE_SPREAD = 0.2
NEGATIVE_SHARE = 0.2  # choice: resampling makes a few negative voxels in air, a signed phase is negative in half a head
SWI_SLICE_MM = 5.0  # choice: microbleeds are 2 to 10 mm; thicker slices are those of a projection or of a T2* survey
# Of the inner head below .6 of its surroundings: .02 to .22 on T1 and FLAIR, where fluid is dark, up to .05 on
# synthetic SWI, through veins and iron. They overlap, so only some are told.
DARK_SHARE = 0.06
SAME = 0.999  # choice: correlation over all voxels from which two files hold one scan


def check_sequences(flair: Image | None = None, t1: Image | None = None, swi: Image | None = None) -> list[str]:
    """Raise InputError where a sequence cannot be what it is given as; return sentences about what is doubtful.

    Those of the files' headers are in ``Image.warnings`` and not repeated here.
    """
    given = {name: image for name, image in (("flair", flair), ("t1", t1), ("swi", swi)) if image is not None}
    if not given:
        raise InputError("No sequence was given. Give a FLAIR, a T1 or an SWI of the head, or several of them.")
    _require_different(given)
    checks = {"flair": check_flair, "t1": check_t1, "swi": check_swi}
    return [f"{TITLES[name]}: {doubt}" for name, image in given.items() for doubt in checks[name](image)]


def check_t1(image: Image) -> list[str]:
    """Raise InputError where ``image`` cannot be a T1 of a head; return sentences about what is doubtful."""
    name = image.source or "The image"
    head = require_head(image, name, "T1")
    if _fluid_is_bright(head):
        raise InputError(f"{name} has bright fluid, as on T2, and cannot be a T1. Give the T1 of this head.")
    skew = head.mode_skew
    if skew < NO_T1_MODE_SKEW and head.brain.std() >= LOW_CONTRAST:
        raise InputError(
            f"{name} cannot be a T1: white matter is not brighter than cortex. Give the T1 of this head, and check "
            "that no two sequences were swapped."
        )
    doubts = [*doubts_about_slices(image.grid), *doubts_about_coverage(head)]
    if skew < T1_MODE_SKEW:
        doubts.append("White matter is hardly brighter than cortex: check that this is a T1; the result is doubtful.")
    return doubts


def check_swi(image: Image) -> list[str]:
    """Raise InputError where ``image`` cannot be an SWI or T2* magnitude of a head; return what is doubtful.

    Refused are a phase image and a minimum-intensity projection (minIP) of overlapping slabs.
    """
    name = image.source or "The image"
    require_volume(image, name, "SWI")
    _require_magnitude(image, name)
    head = require_head(image, name, "SWI")
    if repeated_share(image) > REPEATED_SHARE:
        raise InputError(
            f"{name} repeats its voxels from slice to slice, as a minimum-intensity projection (minIP) does, in which "
            "veins hide microbleeds. Give the SWI itself, slice by slice."
        )
    doubts = [*doubts_about_slices(image.grid), *doubts_about_coverage(head)]
    slice_mm = image.spacing_mm[image.grid.slice_axis]
    if slice_mm >= SWI_SLICE_MM:
        doubts.append(
            f"The slices are {slice_mm:.1f} mm apart: check that this is no minimum-intensity projection (minIP); "
            "veins across thick slices look like microbleeds."
        )
    if head.mode_skew > T1_MODE_SKEW:
        doubts.append("White matter is brighter than cortex, as on T1: check that this is an SWI or T2* image.")
    elif max(DARK_SHARE, np.mean(head.relative > FLUID_BRIGHT)) < np.mean(head.relative < CSF):
        doubts.append("Fluid is dark, as on FLAIR: check that this is an SWI or T2* image; the result is doubtful.")
    return doubts


def repeated_share(image: Image) -> float:
    """Share of the brighter half of the voxels that equal the same voxel in the next slice."""
    slices = np.moveaxis(image.voxels, image.grid.slice_axis, 0)
    inside = slices[:-1] > np.median(slices[slices > slices.min()])
    return float(np.mean((slices[:-1] == slices[1:])[inside])) if inside.any() else 0.0


def _fluid_is_bright(head: Head) -> bool:
    bright = np.mean(head.relative > FLUID_BRIGHT)
    return bool(bright > T2_BRIGHT_SHARE and bright > np.mean(head.relative < CSF))


def _require_magnitude(image: Image, name: str) -> None:
    """Raise InputError for a phase image: negative in half of the head, or of any angle in air; CT is told later."""
    voxels = image.voxels
    ends = [np.r_[: n // 32 + 1, -(n // 32) - 1 : 0] for n in voxels.shape[:2]]
    corners = voxels[np.ix_(*ends)].astype(np.float64)
    low, high = np.percentile(voxels, (0.5, 99.5))
    half_negative = np.mean(voxels < 0) > NEGATIVE_SHARE and np.median(corners) > AIR_HU
    if half_negative or corners.std() > PHASE_SPREAD * (high - low):
        raise InputError(
            f"{name} looks like a phase image: it is half negative, or the air around the head has any value. Give the "
            "magnitude or the SWI made of it."
        )


def _require_different(given: dict[str, Image]) -> None:
    for (first, a), (second, b) in combinations(given.items(), 2):
        if _same(a, b):
            raise InputError(
                f"One scan was given as {TITLES[first]} and as {TITLES[second]}. Give each sequence once, in its place."
            )


def _same(a: Image, b: Image) -> bool:
    if a is b or (a.sha256 and a.sha256 == b.sha256):
        return True
    if not a.grid.matches(b.grid) or a.voxels.dtype.kind not in "iufb" or b.voxels.dtype.kind not in "iufb":
        return False
    x, y = (image.voxels[::2, ::2].ravel().astype(np.float64) for image in (a, b))
    return bool(np.array_equal(x, y) or (x.std() > 0 and y.std() > 0 and np.corrcoef(x, y)[0, 1] > SAME))
