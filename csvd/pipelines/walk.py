"""What the pipelines of every marker share: a call that can be right, the brain as networks see it, and progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

from ..anatomy import Anatomy
from ..bundle import Bundle, load_bundle
from ..errors import InputError
from ..image import Grid
from ..inference import Predictor
from ..inference_volume import VolumePredictor
from ..measure.zones import FARTHEST_MM
from ..preprocessing import BACKGROUNDS

BRAIN_EDGE_MM, BRAIN_EDGE = 3.0, 0.3  # choice, inside the range of imperfect masks drawn in training
ANATOMY_WORK = 0.25  # share of the progress bar

Progress = Callable[[float, str], None]


def checked_bundle(
    model: str | Bundle, task: str, members: int | None, threshold: float | None, pv_distance_mm: float
) -> Bundle:
    """The bundle of ``model``, once it and the other arguments can be used. Raises InputError and ModelError."""
    bundle = (model if isinstance(model, Bundle) else load_bundle(model)).require(task)
    if members is not None and not 1 <= members <= bundle.members:
        raise InputError(
            f"The model {bundle.id} has {bundle.members} members; choose 1 to {bundle.members}, not {members}."
        )
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"The threshold is {threshold:g}: give a number between 0 and 1.")
    if not 0 < pv_distance_mm < FARTHEST_MM:
        raise InputError(
            f"The periventricular distance is {pv_distance_mm:g} mm: give one above 0 and below {FARTHEST_MM:g} mm."
        )
    return bundle


def stripped_brain(anatomy: Anatomy, grid: Grid, gaps_mm: float = 0.0) -> np.ndarray:
    """The brain on ``grid`` as the networks learned to see it, with sulci and a narrow rim around it: bool.

    ``gaps_mm`` is that of `without_gaps`.
    """
    sigma = BRAIN_EDGE_MM / np.array(grid.spacing_mm[:2])
    brain = ndimage.gaussian_filter(anatomy.mask("brain", grid).astype(np.float32), (*sigma, 0)) > BRAIN_EDGE
    return without_gaps(brain, grid.spacing_mm, gaps_mm)


def without_gaps(brain: np.ndarray, spacing_mm: Sequence[float], gaps_mm: float) -> np.ndarray:
    """A mask of the brain, bool, with what it leaves open over less than ``gaps_mm``: wide sulci and fissures.

    A closing by a ball. Where the mask is blank a network sees the same black as in a void, a bleed for instance.
    """
    if not (gaps_mm and brain.any()):
        return brain
    reach_mm = gaps_mm / 2
    margin = [int(reach_mm / mm) + 2 for mm in spacing_mm]  # so that it may grow beyond the picture and shrink again
    wide = ndimage.distance_transform_edt(~np.pad(brain, [(n, n) for n in margin]), sampling=spacing_mm) <= reach_mm
    filled = ndimage.distance_transform_edt(wide, sampling=spacing_mm) > reach_mm
    return brain | filled[tuple(slice(n, -n) for n in margin)]


def votes(
    bundle: Bundle,
    members: int | None,
    seen_by: Callable[[Bundle], np.ndarray],
    spacing_mm: float,
    device: str,
    mirror: bool,
    told: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[np.ndarray, Predictor | VolumePredictor, list[str]]:
    """Mean probability of ``bundle.voters``, what predicted it last, and sentences on what went wrong.

    ``seen_by`` gives what a bundle's networks see, (R, A, S), in slices ``spacing_mm`` apart. However many networks it
    has, each bundle counts alike.
    """
    voters, probability, warnings = bundle.voters(members), np.float32(0), []
    for turn, (voter, count) in enumerate(voters):
        told_of = told and (lambda done, turn=turn: told((turn + done) / len(voters)))
        found, predictor = vote(voter, count, seen_by(voter), spacing_mm, device, mirror, told_of, cancelled)
        probability = probability + found / len(voters)
        warnings += predictor.warnings
    return probability, predictor, warnings


def vote(
    bundle: Bundle,
    members: int,
    stack: np.ndarray,
    spacing_mm: float,
    device: str,
    mirror: bool,
    told: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[np.ndarray, Predictor | VolumePredictor]:
    """Mean probability of the first ``members`` networks of a bundle on ``stack`` (R, A, S), and what predicted it."""
    networks, background = bundle.networks(members), BACKGROUNDS[bundle.intensity]
    if bundle.in_3d:
        slab = bundle.slices_averaged(spacing_mm)
        whole = VolumePredictor(networks, device, mirror, along=bundle.mirrored_along, slab=slab)
        return whole(stack, background, told, cancelled)[0], whole
    canvas = None if bundle.matrix else bundle.canvas
    predictor = Predictor(networks, canvas, device, mirror, slices=bundle.slices)
    return predictor(stack, background, told, cancelled), predictor


def how_made(
    bundle: Bundle, members: int | None, mirror: bool, anatomy: Anatomy, predictor: Predictor | VolumePredictor
) -> dict:
    """``parameters`` and ``provenance`` of the Result."""
    return {
        "parameters": {"model": bundle.id, "members": members or bundle.members, "mirror": mirror},
        "provenance": {
            "models": [*(voter.provenance for voter, _ in bundle.voters(members)), anatomy.model],
            "device": str(predictor.device),
        },
    }


def times_s(started: float, located: float, predicted: float, measured: float) -> dict[str, float]:
    """Seconds that each step took, from the clock at its end."""
    seconds = {"anatomy": located - started, "lesions": predicted - located, "measures": measured - predicted}
    return {step: round(value, 2) for step, value in seconds.items()}


def part(progress: Progress | None, start: float, end: float, what: str) -> Callable[[float], None] | None:
    """The stretch of a whole progress bar that one step fills."""
    return (lambda done: progress(start + (end - start) * done, what)) if progress else None
