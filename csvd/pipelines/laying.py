"""Anatomy for every sequence of one head: found once, on the sequence that shows it best, and carried to the others.

The head is rigid, so the anatomy is not resampled: its grid is moved to where the head lies in the other scan. Brains
found on both say where to look and whether the two fit; where that is doubtful a sequence keeps its own anatomy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..anatomy import Anatomy, find_anatomy
from ..errors import Cancelled, InputError
from ..image import Grid, Image, resample
from ..registration import Registration, cubic_grid, mutual_information, register
from ..sequences import TITLES

BEST = ("t1", "flair", "swi")  # T1 tells grey from white matter best, SWI worst
ANATOMY_SHARE = 0.5  # of the work; the rest is registration
# Choice: of the brain on a sequence that the anatomy of another may leave uncovered; a vertex cut off is more.
UNCOVERED = 0.03
# Little of a T1 explains an SWI, or a FLAIR of low contrast, and the anatomy network draws the brain of an SWI too
# wide, so that a right registration may be doubted for too little information or for brains that overlap too little.
# Of one head, though, information falls steeply when the images are shifted by SHIFT_MM. On 24 synthetic pairs of one
# head, 16 that were found to .2 to 1.4 mm fall to a 1.7th to 3.6th and one of 2.8 mm to a 2.0th, one of 1.4 mm to a
# 1.2th, and those of 3 mm and more to a 1.3th at most; 15 of 16 pairs of two heads to a .6th to 1.2th, and one, whose
# brains overlap with a Dice of .88, to a 2.1th: that two patients were mixed up is found mostly, not always.
SHIFT_MM, LEAST_SHARPNESS, LEAST_DICE = 8.0, 1.7, 0.8
WORKING_MM, RIM_MM = 2.0, 4.0  # choice: the rim of the brain is left out, where outlines alone would agree


@dataclass(frozen=True)
class Laid:
    """Anatomy in the world of one sequence, and in ``told`` where it comes from, for the provenance."""

    anatomy: Anatomy
    told: dict


def lay_sequences(
    given: dict[str, Image],
    device: str,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[dict[str, Laid], list[str]]:
    """The anatomy of every given sequence, by its name, and sentences about what is doubtful.

    Raises InputError where a sequence shows no brain, ModelError, Cancelled.
    """
    order = [name for name in BEST if name in given]
    found, doubts = {}, []
    for number, name in enumerate(order):
        step = None
        if progress:

            def step(done: float, number: int = number) -> None:
                progress(ANATOMY_SHARE * (number + done) / len(order))

        found[name], told = find_anatomy(given[name], device=device, progress=step, cancelled=cancelled)
        doubts += [f"{TITLES[name]}: {text}" for text in told]
    leader = order[0]
    laid = {leader: Laid(found[leader], {"from": TITLES[leader]})}
    for number, name in enumerate(order[1:], start=1):
        if cancelled and cancelled():
            raise Cancelled("Cancelled; nothing was written.")
        laid[name], told = carried(given[leader], given[name], found[leader], found[name], leader, name)
        doubts += told
        if progress:
            progress(ANATOMY_SHARE + (1 - ANATOMY_SHARE) * number / (len(order) - 1))
    return laid, doubts


def carried(
    fixed: Image, moving: Image, anatomy: Anatomy, own: Anatomy, leader: str, name: str
) -> tuple[Laid, list[str]]:
    """The anatomy of ``fixed`` in the world of ``moving``, or that sequence's ``own`` and a sentence that says why."""
    titles = f"{TITLES[name]} could not be laid over the {TITLES[leader]}"
    facts = {}
    brain = anatomy.mask("brain", fixed.grid)
    try:
        masks = {"fixed_mask": brain, "moving_mask": own.mask("brain", moving.grid)}
        found = register(fixed, moving, **masks, surroundings=name == "swi")  # whose own brain is drawn too wide
    except InputError as error:
        reason = str(error)
    else:
        facts = {
            "matrix": found.matrix.round(6).tolist(),
            "mask_dice": found.quality.mask_dice,
            "information": found.quality.information,
        }
        moved = replace(anatomy, grid=Grid(anatomy.grid.shape, found.matrix @ anatomy.grid.affine))
        reason = " ".join(found.quality.doubts)
        if reason and found.quality.mask_dice >= LEAST_DICE:
            facts["sharpness"] = sharpness(fixed, moving, brain, found)
        if not reason or facts.get("sharpness", 0) >= LEAST_SHARPNESS:
            outside = uncovered(own, moved.grid)
            if outside <= UNCOVERED:
                return Laid(moved, {"from": TITLES[leader], **facts}), []
            reason = f"The {TITLES[leader]} shows only {1 - outside:.0%} of the brain on the {TITLES[name]}."
    doubt = f"The {titles} ({reason.rstrip('.')}): check that both are of one patient; each has its own anatomy."
    return Laid(own, {"from": TITLES[name], **facts, "doubts": reason}), [doubt]


def sharpness(fixed: Image, moving: Image, brain: np.ndarray, found: Registration) -> float:
    """Mutual information inside ``brain``, bool on ``fixed``, over the most there is ``SHIFT_MM`` along any axis."""
    grid, other = cubic_grid(fixed.grid, WORKING_MM), cubic_grid(moving.grid, WORKING_MM)
    inside = resample(brain, fixed.grid, grid) > 0.5
    inside = ndimage.distance_transform_edt(inside, sampling=WORKING_MM) > RIM_MM
    if not inside.any():
        return 0.0
    values, moved = resample(fixed.voxels, fixed.grid, grid)[inside], resample(moving.voxels, moving.grid, other)
    points = found.points(np.argwhere(inside) @ grid.affine[:3, :3].T + grid.affine[:3, 3])
    back = np.linalg.inv(other.affine)

    def information(shift_mm: np.ndarray) -> float:
        at = (points + shift_mm) @ back[:3, :3].T + back[:3, 3]
        pair = (values, ndimage.map_coordinates(moved, at.T, order=1))
        return mutual_information(*(one.clip(*np.percentile(one, (1, 99))) for one in pair))[0]

    shifts = SHIFT_MM * np.concatenate([np.eye(3), -np.eye(3)])
    return information(np.zeros(3)) / max(max(map(information, shifts)), 1e-9)


def uncovered(own: Anatomy, grid: Grid) -> float:
    """Share of the brain of ``own`` that lies outside ``grid``."""
    brain = own.mask("brain", own.grid)
    covered = resample(np.ones(grid.shape, bool), grid, own.grid, order=0)
    return float(np.count_nonzero(brain & ~covered) / max(np.count_nonzero(brain), 1))
