"""Four markers of small vessel disease on FLAIR, T1 and SWI, after MO-UNet (Front Neurol 2025, 1540923).

1. Check the sequences that were given. 2. Find brain, ventricles and regions on the T1 and lay the others over it.
3. Scale the brain's slices of each sequence. 4. One encoder sees them; only the decoders of that sequence follow: white
matter hyperintensities on FLAIR, lacunes and perivascular spaces on T1, microbleeds on SWI. 5. Threshold each marker,
measure it on its own sequence's voxels, judge every candidate by STRIVE-2. 6. Add the scores up.

Where we leave the paper: a marker has networks of its own, where the card names some, that find it better than the
decoder: hyperintensities those of ``pipelines.wmh``, small foci one that sees in 3D; the sequence is said by the caller
and not by a mark painted into the slice; pixels have a fixed size, scaled by the brain's median; anatomy says where
each marker can lie; the Z-score is against a declared reference, since one patient has no cohort; a marker without its
sequence is missing and not 0.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..anatomy import Anatomy
from ..bundle import Bundle
from ..burden_result import WMH, BurdenResult, checked_pvs_threshold
from ..checks_sequences import check_sequences
from ..errors import InputError, ModelError
from ..focal_result import FocalResult
from ..grid import box_grid
from ..image import Grid, Image, axial_grid, resample
from ..inference import Predictor
from ..inference_volume import VolumePredictor
from ..measure.regions import Regions, microbleed_regions, perivascular_regions
from ..measure.scores import STAALS_PVS_ABOVE, ScoreInputs
from ..measure.strive import LACUNE, MICROBLEED, PERIVASCULAR_SPACE
from ..measure.touching import necks
from ..measure.zscore import Reference, read_reference
from ..midplane import find_midplane
from ..networks.mounet import Routed
from ..preprocessing import BACKGROUNDS
from ..result import Result, input_facts, run_facts
from ..sequences import SEQUENCE_OF, SEQUENCES, TITLES
from .laying import Laid, lay_sequences
from .mimics import LEVEL, dark_lines, not_enclosed, unlike_fluid
from .walk import Progress, checked_bundle, part, times_s
from .wmh import PERIVENTRICULAR_MM, cortex_folds, network_slices, outlined, relative_slices, where_lesions_lie

if TYPE_CHECKING:
    from torch import nn

MODEL = "burden-mounet"
ANATOMY_WORK = 0.5  # share of the progress bar: anatomy of every sequence, and laying them over one another
WIDEST_T1_MM = 1.2  # choice: the usual 3D T1 has 1 to 1.2 mm; larger voxels lose most perivascular spaces (under 3 mm)


def measure_burden(
    *,
    flair: Image | None = None,
    t1: Image | None = None,
    swi: Image | None = None,
    model: str | Bundle = MODEL,
    wmh_model: str | Bundle | None = None,
    own_decoders: bool = False,
    reference: str | os.PathLike | Reference | None = None,
    thresholds: Mapping[str, float] | None = None,
    siderosis: str | None = None,
    pvs_threshold: int = STAALS_PVS_ABOVE,
    pv_distance_mm: float = PERIVENTRICULAR_MM,
    pv_rule: str = "voxel",
    device: str = "auto",
    mirror: bool = False,
    members: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> BurdenResult:
    """Find, measure and score the four markers of one patient.

    Parameters
    ----------
    flair, t1, swi
        Sequences of one head, at least one, each of any orientation, spacing and position; see
        ``checks_sequences`` for what is refused.
    wmh_model
        Bundle, or its id, that outlines hyperintensities: one of ``pipelines.wmh``, or ``model``, whose own decoder
        does it then. None takes what the card of ``model`` names.
    own_decoders
        Whether the decoders of ``model`` find every marker, as published, and not the models that its card names for
        single markers; ``wmh_model`` still holds.
    reference
        What the Z-score is measured against: a ``Reference`` or the CSV that ``measure.zscore`` describes.
    thresholds
        Of the mean probability, by marker (``sequences.SEQUENCE_OF``), 0..1 exclusive; the bundle's own unless
        given.
    siderosis
        Superficial siderosis as a reader sees it: ``none``, ``focal`` or ``disseminated``; it is not measured.
    pvs_threshold
        The total score gives a point for more perivascular spaces than this in the basal ganglia.
    model, pv_distance_mm, pv_rule, device, mirror, members, progress, cancelled
        As in ``pipelines.wmh.segment_wmh``.

    Raises InputError, ModelError, Cancelled; nothing is kept then.
    """
    started = time.monotonic()
    given = {name: image for name, image in (("flair", flair), ("t1", t1), ("swi", swi)) if image is not None}
    warnings = check_sequences(**given)
    bundle = checked_bundle(model, "burden", members, None, pv_distance_mm)
    models = marker_models(bundle, given, wmh_model, own_decoders)
    own = {marker: m.threshold if marker == WMH else m.thresholds[marker] for marker, m in models.items()}
    limits = checked_thresholds(bundle.thresholds | own, thresholds)
    pvs_threshold = checked_pvs_threshold(pvs_threshold)
    ScoreInputs(superficial_siderosis=siderosis)
    if reference is not None and not isinstance(reference, Reference):
        reference = read_reference(reference)

    laid, doubts = lay_sequences(given, device, part(progress, 0, ANATOMY_WORK, "anatomy"), cancelled)
    located = time.monotonic()

    turns = list(walks(given, models))
    networks = bundle.networks(members) if any(model is None for _, _, model in turns) else []
    wmh, seen = None, {}
    zones = {"pv_distance_mm": pv_distance_mm, "pv_rule": pv_rule, "threshold": limits[WMH]}
    for number, (sequence, markers, model) in enumerate(turns):
        image, anatomy = given[sequence], laid[sequence].anatomy
        ends = (ANATOMY_WORK + (1 - ANATOMY_WORK) * n / len(turns) for n in (number, number + 1))
        run = (device, mirror, part(progress, *ends, TITLES[sequence]), cancelled)
        if model and markers == (WMH,):
            probability, predictor, exceptions = outlined(image, anatomy, model, None, *run)
            doubts += exceptions
            wmh = hyperintensities(image, probability, anatomy, zones)
        else:
            if model:
                found, predictor = seen_whole(markers, image, anatomy, model, *run)
            else:
                found, predictor = decoded(markers, image, anatomy, bundle, networks, *run)
            if WMH in found:
                probability, brain, grid = found[WMH]
                probability[cortex_folds(probability, brain, anatomy, grid, limits[WMH])] = 0
                wmh = hyperintensities(image, where_lesions_lie(probability, grid, image, anatomy), anatomy, zones)
            else:
                seen |= found
        doubts += predictor.warnings
    focal = {}
    for sequence, image in given.items():
        found = {marker: seen[marker] for marker in SEQUENCES[sequence] if marker in seen}
        if found:
            focal |= foci(image, found, laid[sequence], limits)
    predicted = time.monotonic()

    if t1 is not None and max(t1.spacing_mm) > WIDEST_T1_MM:
        doubts.append(
            f"The T1 has voxels of up to {max(t1.spacing_mm):.1f} mm: perivascular spaces are narrower than 3 mm, so "
            "that many are missed and their count is too low."
        )
    headers = [text for image in given.values() for text in image.warnings]
    result = BurdenResult(
        sequences=given,
        wmh=wmh,
        focal=focal,
        set_inputs={} if siderosis is None else {"superficial_siderosis": siderosis},
        pvs_threshold=pvs_threshold,
        reference=reference,
        warnings=list(dict.fromkeys([*headers, *warnings, *doubts])),
        parameters={"model": bundle.id, "members": members or bundle.members, "mirror": mirror},
        provenance={
            "marker": "burden",
            "input": {sequence: input_facts(image) for sequence, image in given.items()},
            "anatomy": {sequence: place.told for sequence, place in laid.items()},
            "models": [used.provenance for used in used_models(bundle, models)]
            + [next(iter(laid.values())).anatomy.model],
            "device": str(predictor.device),
            **run_facts(),
        },
    )
    result.provenance["times_s"] = times_s(started, located, predicted, time.monotonic())
    return result


class Seen(NamedTuple):
    """A marker's probability (R, A, S) on ``grid``, and the brain there (``relative_slices``)."""

    probability: np.ndarray
    brain: np.ndarray
    grid: Grid


def marker_models(
    bundle: Bundle,
    sequences: Iterable[str] = tuple(SEQUENCES),
    wmh_model: str | Bundle | None = None,
    own_decoders: bool = False,
) -> dict[str, Bundle]:
    """Bundles by the marker that they find instead of the decoders of ``bundle``. Raises ModelError."""
    chosen = {} if own_decoders else dict(bundle.card.get("marker_models", {}))
    if wmh_model:
        chosen[WMH] = wmh_model
    sequences, models = set(sequences), {}
    for marker, model in chosen.items():
        if SEQUENCE_OF[marker] in sequences and (model.id if isinstance(model, Bundle) else model) != bundle.id:
            other = checked_bundle(model, WMH if marker == WMH else "foci", None, None, PERIVENTRICULAR_MM)
            if marker != WMH and marker not in other.card["labels"]:
                labels = ", ".join(other.card["labels"])
                raise ModelError(f"{bundle.id} names {other.id} for {marker}, but that one finds {labels}.")
            models[marker] = other
    return models


def used_models(bundle: Bundle, models: Mapping[str, Bundle]) -> list[Bundle]:
    """Each once: ``bundle``, those of single markers, and those that vote with these."""
    voters = [voter for model in (bundle, *models.values()) for voter, _ in model.voters()]
    return list({voter.id: voter for voter in voters}.values())


def walks(
    sequences: Iterable[str], models: Mapping[str, Bundle]
) -> Iterator[tuple[str, tuple[str, ...], Bundle | None]]:
    """Every sequence with the markers that one model finds on it in one go; None stands for the decoders."""
    for sequence in (name for name in SEQUENCES if name in sequences):
        by_model: dict[str | None, list[str]] = {}
        for marker in SEQUENCES[sequence]:
            by_model.setdefault(models[marker].id if marker in models else None, []).append(marker)
        for markers in by_model.values():
            yield sequence, tuple(markers), models.get(markers[0])


def checked_thresholds(limits: dict[str, float], given: Mapping[str, float] | None) -> dict[str, float]:
    """``limits``, but what is ``given``. Raises InputError for an unknown marker or a number out of range."""
    for marker, threshold in (given or {}).items():
        if marker not in limits:
            raise InputError(f"A threshold was given for {marker!r}: use {', '.join(limits)}.")
        if not 0 < threshold < 1:
            raise InputError(f"The threshold of {marker} is {threshold:g}: give a number between 0 and 1.")
    return {**limits, **(given or {})}


def decoded(
    markers: Sequence[str],
    image: Image,
    anatomy: Anatomy,
    bundle: Bundle,
    networks: list[nn.Module],
    device: str,
    mirror: bool,
    told: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[dict[str, Seen], Predictor]:
    """Some markers of one sequence by the decoders of ``bundle``, and what predicted them."""
    decoders = [bundle.card["labels"].index(marker) for marker in markers]
    routed = [Routed(network, decoders) for network in networks]
    predictor = Predictor(routed, bundle.canvas, device, mirror, independent=True, slices=bundle.slices)
    grid = axial_grid(image.grid, bundle.in_plane_mm)
    head, brain = relative_slices(image, anatomy, grid)
    stack = network_slices(head, brain, bundle)
    probability = np.zeros((len(markers), *stack.shape), np.float32)
    for slices, window, batch in predictor.batches(stack, BACKGROUNDS[bundle.intensity], told, cancelled):
        probability[(slice(None), *window, slices)] = batch.transpose(1, 2, 3, 0)
    return {marker: Seen(p, brain, grid) for marker, p in zip(markers, probability, strict=True)}, predictor


def seen_whole(
    markers: Sequence[str],
    image: Image,
    anatomy: Anatomy,
    bundle: Bundle,
    device: str,
    mirror: bool,
    told: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[dict[str, Seen], VolumePredictor]:
    """As ``decoded``, by networks that see in 3D, on voxels of the size that they learned from."""
    predictor = VolumePredictor(bundle.networks(), device, mirror, along=bundle.mirrored_along)
    grid = box_grid(image.grid, bundle.in_plane_mm, bundle.slice_mm)
    head, brain = relative_slices(image, anatomy, grid, bundle.gaps_mm)
    volume = network_slices(head, brain, bundle)
    probability = predictor(volume, BACKGROUNDS[bundle.intensity], told, cancelled)
    by_label = dict(zip(bundle.card["labels"], probability, strict=True))
    return {marker: Seen(by_label[marker], brain, grid) for marker in markers}, predictor


def hyperintensities(image: Image, probability: np.ndarray, anatomy: Anatomy, zones: dict) -> Result:
    """The Result of the FLAIR, from a probability on its voxels."""
    brain = anatomy.mask("intracranial", image.grid)
    midplane = find_midplane(brain, image.grid)
    return Result.from_probability(
        image, probability, anatomy.mask("lateral_ventricles", image.grid), brain, **zones,
        parameters={"midplane": midplane} if midplane else {},
    )  # fmt: skip


def foci(image: Image, seen: dict[str, Seen], laid: Laid, limits: Mapping[str, float]) -> dict[str, FocalResult]:
    """The small markers of one sequence, which keep to where each can lie."""
    anatomy = laid.anatomy
    brain = anatomy.mask("intracranial", image.grid)
    midplane = find_midplane(brain, image.grid)
    maps = {}
    for marker, (p, relative, grid) in seen.items():
        if marker == LACUNE:  # may lie in what the anatomy network calls ventricle: it takes cavities for that
            tissue, ventricles = (anatomy.share(g, grid) > 0.5 for g in ("lesion_bearing", "lateral_ventricles"))
            p[not_enclosed(p, tissue, ventricles, grid) | unlike_fluid(p, relative, tissue, ventricles, grid)] = 0
        if marker == MICROBLEED:
            p[dark_lines(p, relative, grid)] = 0
        p = resample(p, grid, image.grid).clip(0, 1)
        if marker == PERIVASCULAR_SPACE:
            p *= anatomy.lesion_share(image.grid)
            p[anatomy.mask("lateral_ventricles", image.grid)] = 0
        p[~brain] = 0
        if marker == LACUNE:
            p[necks(marker, p >= LEVEL, image.affine)] = 0
        maps[marker] = p
    if LACUNE in maps and PERIVASCULAR_SPACE in maps:  # a space filled with fluid is one or the other
        tube = maps[PERIVASCULAR_SPACE] > maps[LACUNE]
        maps[LACUNE][tube] = 0
        maps[PERIVASCULAR_SPACE][~tube] = 0
    return {
        marker: FocalResult.from_probability(
            marker, image, p, brain=brain, regions=regions_of(marker, image, anatomy), midplane=midplane,
            threshold=limits[marker],
        )
        for marker, p in maps.items()
    }  # fmt: skip


def regions_of(marker: str, image: Image, anatomy: Anatomy) -> Regions:
    """The regions by which a marker is counted, found on the anatomy and carried to the voxels of ``image``."""
    rule = perivascular_regions if marker == PERIVASCULAR_SPACE else microbleed_regions
    found = rule(anatomy.labels, anatomy.names, anatomy.grid.spacing_mm, anatomy.grid.affine)
    return replace(found, labels=resample(found.labels, anatomy.grid, image.grid, order=0))
