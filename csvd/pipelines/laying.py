"""Anatomy for every sequence of one head: found once, on the sequence that shows it best, and carried to the others.

The head is rigid, so the anatomy is not resampled: its grid is moved to where the head lies in the other scan. Brains
found on both say where to look and whether the two fit; where that is doubtful a sequence keeps its own anatomy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..anatomy import Anatomy, find_anatomy
from ..errors import Cancelled, InputError
from ..image import Grid, Image, resample
from ..registration import register
from ..sequences import TITLES

BEST = ("t1", "flair", "swi")  # T1 tells grey from white matter best, SWI worst
ANATOMY_SHARE = 0.5  # of the work; the rest is registration
# Choice: of the brain on a sequence that the anatomy of another may leave uncovered; a vertex cut off is more.
UNCOVERED = 0.03


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
    try:
        found = register(
            fixed, moving, fixed_mask=anatomy.mask("brain", fixed.grid), moving_mask=own.mask("brain", moving.grid)
        )
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
        if not reason:
            outside = uncovered(own, moved.grid)
            if outside <= UNCOVERED:
                return Laid(moved, {"from": TITLES[leader], **facts}), []
            reason = f"The {TITLES[leader]} shows only {1 - outside:.0%} of the brain on the {TITLES[name]}."
    doubt = f"The {titles} ({reason.rstrip('.')}): check that both are of one patient; each has its own anatomy."
    return Laid(own, {"from": TITLES[name], **facts, "doubts": reason}), [doubt]


def uncovered(own: Anatomy, grid: Grid) -> float:
    """Share of the brain of ``own`` that lies outside ``grid``."""
    brain = own.mask("brain", own.grid)
    covered = resample(np.ones(grid.shape, bool), grid, own.grid, order=0)
    return float(np.count_nonzero(brain & ~covered) / max(np.count_nonzero(brain), 1))
