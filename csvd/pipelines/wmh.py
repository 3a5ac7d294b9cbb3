"""White matter hyperintensities on FLAIR, after Kim et al. (AJNR Am J Neuroradiol 2024).

1. Check the scan. 2. Find brain and ventricles. 3. Resample the slices, take the brain out and scale it by its peak.
4. Let five SE-UNets vote; in the default bundle a 3D U-Net votes with them. 5. Drop folds of cortex and what no vote
was sure of, threshold the mean. 6. Split at 10 mm from the lateral ventricles, measure, grade, say how sure the vote
was.

Where we leave the paper: slices are resampled to a fixed pixel size and not to 256x256, so that lesions keep their size
whatever the field of view; the brain comes from our anatomy network and not from a grey level of 30; its median stands
for the histogram's peak; a lesion must lie where white matter, deep grey or brain stem is near, outside the ventricles,
and away from them it must be brighter than this scan's own cortex; the threshold is the bundle's.

The networks of other papers take the same walk with their own step 3, which their bundle's card describes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from ..anatomy import Anatomy, find_anatomy
from ..bundle import Bundle
from ..checks import check_flair
from ..errors import InputError
from ..image import Grid, Image, axial_grid, cropped_grid, resample, resized_grid
from ..inference import Predictor
from ..inference_volume import VolumePredictor
from ..measure.clusters import Clusters
from ..measure.zones import ventricle_distance
from ..preprocessing import BACKGROUNDS, SCALINGS
from ..result import Result
from .walk import ANATOMY_WORK, Progress, checked_bundle, how_made, part, stripped_brain, times_s, votes

MODEL = "wmh-hybrid"
PERIVENTRICULAR_MM = 10.0  # Kim 2024; their alternative is 7.5 mm
# Choices, looked for on the real scans in docs/accuracy.md. A fold of cortex cut lengthwise is an island in white
# matter, as bright as the brightest tenth of cortex (the thin rest shares its voxels with fluid); lesions are brighter.
CORTEX_PERCENTILE, ABOVE_CORTEX = 90, 1.05
NO_CORTEX_MM = 5.0  # no fold of cortex comes this near to a lateral ventricle
COIL_MM = 20.0  # brightness is compared with that of the tissue around, since coils make the rim of the head brighter
FLUID = 0.4  # of the brain's median: darker voxels are fluid
# Choice, as above: somewhere in a lesion the mean probability reaches this, or what the card says; its rim may be less.
SURE = 0.8
FAINT = 0.1  # candidates down to here are judged, so that a lower threshold brings no dropped fold back


def segment_wmh(
    flair: Image,
    model: str | Bundle = MODEL,
    *,
    threshold: float | None = None,
    pv_distance_mm: float = PERIVENTRICULAR_MM,
    pv_rule: str = "voxel",
    device: str = "auto",
    mirror: bool = False,
    members: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Result:
    """Segment, split, measure and grade the white matter hyperintensities of one FLAIR.

    Parameters
    ----------
    flair
        A head FLAIR, any orientation and spacing; see ``checks.check_flair`` for what is refused.
    model
        Bundle or its id. ``members`` takes only its first networks (all when None; ``Bundle.voters``).
    threshold
        Of the mean probability, 0..1 exclusive; the bundle's own when None.
    pv_distance_mm, pv_rule
        Periventricular limit in mm and ``voxel`` or ``cluster``.
    device, mirror
        See ``inference.Predictor``.
    progress, cancelled
        Called with (0..1, what is being done), and asked between batches.

    Raises InputError, ModelError, Cancelled; nothing is kept then.
    """
    started = time.monotonic()
    bundle = checked_bundle(model, "wmh", members, threshold, pv_distance_mm)
    warnings = check_flair(flair)

    anatomy, doubts = find_anatomy(
        flair, device=device, progress=part(progress, 0, ANATOMY_WORK, "anatomy"), cancelled=cancelled
    )
    located = time.monotonic()

    probability, predictor, exceptions = outlined(
        flair, anatomy, bundle, members, device, mirror, part(progress, ANATOMY_WORK, 1, "lesions"), cancelled
    )
    predicted = time.monotonic()

    result = Result.from_probability(
        flair,
        probability,
        anatomy.mask("lateral_ventricles", flair.grid),
        anatomy.mask("intracranial", flair.grid),
        threshold=bundle.threshold if threshold is None else threshold,
        pv_distance_mm=pv_distance_mm,
        pv_rule=pv_rule,
        warnings=[*warnings, *doubts, *exceptions],
        **how_made(bundle, members, mirror, anatomy, predictor),
    )
    result.provenance["times_s"] = times_s(started, located, predicted, time.monotonic())
    return result


def outlined(
    flair: Image,
    anatomy: Anatomy,
    bundle: Bundle,
    members: int | None,
    device: str,
    mirror: bool,
    told: Callable[[float], None] | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[np.ndarray, Predictor | VolumePredictor, list[str]]:
    """Probability on the FLAIR's voxels, what predicted it, and sentences on what is not as published or went wrong."""
    grid, exceptions = slice_grid(flair, anatomy, bundle)
    head, brain = relative_slices(flair, anatomy, grid)
    probability, predictor, warnings = votes(
        bundle, members, lambda voter: network_slices(head, brain, voter), grid.spacing_mm[2], device, mirror, told,
        cancelled,
    )  # fmt: skip
    probability[cortex_folds(probability, brain, anatomy, grid, bundle.threshold)] = 0
    probability = unsure_below(probability, bundle.threshold, bundle.card.get("sure", SURE))
    return where_lesions_lie(probability, grid, flair, anatomy), predictor, [*exceptions, *warnings]


def where_lesions_lie(probability: np.ndarray, grid: Grid, flair: Image, anatomy: Anatomy) -> np.ndarray:
    """``probability`` from ``grid`` on the FLAIR's voxels, 0 in ventricles and where else no lesion can be."""
    probability = resample(probability, grid, flair.grid) * anatomy.lesion_share(flair.grid)
    probability[anatomy.mask("lateral_ventricles", flair.grid)] = 0
    return probability.clip(0, 1)


def slice_grid(flair: Image, anatomy: Anatomy, bundle: Bundle) -> tuple[Grid, list[str]]:
    """The grid on which the networks of ``bundle`` see the slices, and a sentence where it is not the published one.

    A centre crop that would cut off brain is not made: the slices are resized whole then, as smaller ones are.
    """
    if bundle.matrix is None:
        return axial_grid(flair.grid, bundle.in_plane_mm), []
    resized = resized_grid(flair.grid, bundle.matrix)
    cropped = cropped_grid(flair.grid, bundle.matrix) if bundle.rule == "crop_or_resize" else None
    if cropped is None:
        return resized, []
    covered = resample(np.ones(cropped.shape, bool), cropped, anatomy.grid, order=0)
    if (anatomy.mask("brain", anatomy.grid) & ~covered).any():
        pixels = " x ".join(map(str, bundle.matrix))
        return resized, [
            f"The middle {pixels} pixels of the slices, which {bundle.id} is made for, do not hold the whole brain: "
            f"the slices were resized to {pixels} instead."
        ]
    return cropped, []


def relative_slices(flair: Image, anatomy: Anatomy, grid: Grid, gaps_mm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Whole head and brain alone on ``grid``: float32, 1 is the brain's median, 4 the most; 0 outside the brain.

    ``gaps_mm`` is that of ``stripped_brain``.
    """
    voxels = resample(flair.voxels, flair.grid, grid)
    level = float(np.median(voxels[anatomy.mask("tissue", grid)]))
    if not level > 0:  # nan where no tissue was found
        raise InputError(
            f"{flair.source or 'The image'} has no signal in the brain. Give the image as the scanner made it."
        )
    head = (voxels / level).clip(0, 4).astype(np.float32)
    return head, np.where(stripped_brain(anatomy, grid, gaps_mm), head, np.float32(0))


def network_slices(head: np.ndarray, brain: np.ndarray, bundle: Bundle) -> np.ndarray:
    """Input of the networks, (R, A, S), from the output of ``relative_slices``; slices without brain are background."""
    seen = np.ascontiguousarray((brain if bundle.skull_strip else head).transpose(2, 0, 1))
    stack = SCALINGS[bundle.intensity](seen)
    stack[~brain.any(axis=(0, 1))] = BACKGROUNDS[bundle.intensity]
    return stack.transpose(1, 2, 0)


def cortex_folds(
    probability: np.ndarray, brain: np.ndarray, anatomy: Anatomy, grid: Grid, threshold: float
) -> np.ndarray:
    """Candidates of ``probability`` on ``grid`` that are folds of cortex and no lesions: bool.

    A candidate is a 26-connected cluster from ``threshold`` on, or one from ``FAINT`` on without any such core. It is
    a fold when it keeps ``NO_CORTEX_MM`` from the lateral ventricles and is on average, in ``brain`` (of
    ``relative_slices``), no brighter than ``ABOVE_CORTEX`` times the scan's thick cortex.
    """
    folds = np.zeros(probability.shape, bool)
    candidates = probability >= min(FAINT, threshold)
    cortex = anatomy.labelled("cortex", grid)
    cortex &= brain > 0
    if not (cortex.any() and candidates.any()):
        return folds
    brightness = over_local_level(brain, ~candidates, grid)
    brightest = ABOVE_CORTEX * np.percentile(brightness[cortex], CORTEX_PERCENTILE)
    distance_mm = ventricle_distance(anatomy.mask("lateral_ventricles", grid), grid.spacing_mm)
    for level in (threshold, FAINT):
        clusters = Clusters.of((probability >= level) & ~folds)
        fold = clusters.mean(brightness[clusters.index]) < brightest
        fold &= clusters.smallest(distance_mm[clusters.index]) >= NO_CORTEX_MM
        if level < threshold:
            fold &= clusters.largest(probability[clusters.index]) < threshold
        folds[clusters.voxels_of(fold)] = True
    return folds


def unsure_below(probability: np.ndarray, threshold: float, sure: float) -> np.ndarray:
    """``probability``, but clusters from ``threshold`` on that nowhere reach ``sure`` lie just below the threshold.

    Clusters are 26-connected. They come back, without holes, when a reader lowers the threshold.
    """
    clusters = Clusters.of(probability >= threshold)
    unsure = clusters.voxels_of(clusters.largest(probability[clusters.index]) < sure)
    lowered = probability.copy()
    lowered[unsure] = 0.99 * threshold
    return lowered


def over_local_level(relative: np.ndarray, normal: np.ndarray, grid: Grid) -> np.ndarray:
    """``relative`` over the mean of the ``normal`` tissue within about ``COIL_MM``, which leaves fluid out."""
    tissue = normal & (relative > FLUID)
    coarse = axial_grid(grid, COIL_MM / 4)
    sigma = COIL_MM / np.array(coarse.spacing_mm)
    level, share = (
        ndimage.gaussian_filter(resample(values, grid, coarse), sigma, truncate=2)
        for values in (np.where(tissue, relative, np.float32(0)), tissue.astype(np.float32))
    )
    return relative / resample(level / np.maximum(share, 1e-3), coarse, grid).clip(FLUID)
