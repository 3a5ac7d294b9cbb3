"""Leukoaraiosis on noncontrast head CT, after Ryu et al. (Brain Behav 2025;15(6):e70602).

1. Check the scan. 2. Bring slanted slices upright, average thin ones to 5 mm, take table and skull away, find brain and
ventricles. 3. Resample the slices to the pixels of the training, bring white matter to its level there, cut the brain
window. 4. Let nnU-Net's 2D network vote, on every slice with its neighbours, as it is and mirrored. 5. Threshold.
6. Split at 10 mm from the lateral ventricles, measure, grade.

Where we leave the paper: its window of -1000 to 1000 HU is 0 to 80 HU here (``preprocessing.hounsfield_window``); of
its z-score only the level is the scan's own; the brain comes from our anatomy network inside the skull; leukoaraiosis
must lie where white matter, deep grey or brain stem is near, or where ventricles are not as dark as fluid, never in
bone or what looks like an infarct, with mostly such tissue around it, and be clearly darker than the scan's own white
matter; the network saw synthetic CTs only, and sees the slices above and below as well; its slices are mirrored left to
right alone, since it never saw a head back to front, where nnU-Net mirrors along both axes. Every array of the Result
lies on the CT's own voxels, slanted or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from ..anatomy import Anatomy, find_anatomy
from ..bundle import Bundle
from ..checks_ct import check_ct
from ..head_ct import AIR_HU, BONE_HU, HeadCT, find_head
from ..image import Grid, Image, axial_grid, resample
from ..infarct import infarct_core, infarct_doubts
from ..marker import LEUKOARAIOSIS
from ..measure.clusters import Clusters, with_margin
from ..measure.zones import ventricle_distance
from ..midplane import find_midplane
from ..preprocessing import WINDOW_HU, hounsfield_window
from ..result import Result
from .walk import ANATOMY_WORK, Progress, checked_bundle, how_made, part, stripped_brain, times_s, votes

MODEL = "leukoaraiosis-nnunet"
# Choices, made on synthetic CTs of heads kept out of training (docs/accuracy_ct.md): within the ventricles a voxel is
# fluid up to a tenth of the way from their darkest fifth to white matter, smoothed against noise; a neighbour is, too.
FLUID_PERCENTILE, FLUID_SHARE, SMOOTH_MM = 20, 0.1, 1.0
# A lesion is so much darker than the scan's white matter on average: leukoaraiosis has 17.5 +- 4.7 HU (BMC Med Imaging
# 2024, s12880-024-01340-2), two SD above which are 5 below the 31.8 of white matter in a public CT template. The
# internal capsule is less dark, but looks so between grey nuclei.
DARKER_HU = 5.0
# A small lesion whose darkest tenth is more than FLUID_HU darker holds fluid, as of a horn, cistern or sulcus; the edge
# of a large one may. Leukoaraiosis is 5 to 15 HU darker (synthetic CTs draw it so). SMALL_ML is a choice: .75, 1 and
# 1.5 are one on the synthetic patients that choose, so it was taken when the effect of each on docs/accuracy_ct.md was
# seen.
FLUID_HU, SMALL_ML, DARKEST = 15.0, 1.0, 10
# It lies in white matter, deep grey or brain stem, or at a ventricle: at least AMONG_TISSUE of what is within SHELL_MM
# around it is such, which leaves out where cortex and sulci, as of the temporal lobe, share its voxels.
SHELL_MM, AMONG_TISSUE = 3.0, 0.6
PERIVENTRICULAR_MM = 10.0  # as on FLAIR: Kim et al., AJNR 2024
RIM_MM = 4.5  # caps and bands are no leukoaraiosis on CT, a lesion begins at 5 mm (ARWMC: Wahlund et al., Stroke 2001),
# of which half a millimetre is left to the outline of the ventricles: choice

# In thick slices a voxel over or under a ventricle is partly ventricle, and as dark as leukoaraiosis. It is dropped
# from lesions of which such voxels are more than OVER. Chosen on the eight synthetic patients of docs/accuracy_ct.md
# that choose and have more than 1.5 mL, in slices of 8 mm: Dice .570, volumes 7 % above those in 5 mm; at .2 .538 and
# 1 %, at .5 .575 and 8 %; .519 and -12 % with all such voxels dropped, .565 and 9 % with none. THICK_MM is a choice,
# half way to 8 mm.
OVER = 0.3
THICK_MM = 6.5


def segment_leukoaraiosis(
    ct: Image,
    model: str | Bundle = MODEL,
    *,
    threshold: float | None = None,
    pv_distance_mm: float = PERIVENTRICULAR_MM,
    pv_rule: str = "voxel",
    device: str = "auto",
    mirror: bool = True,
    members: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Result:
    """Segment, split, measure and grade the leukoaraiosis of one noncontrast head CT.

    Parameters
    ----------
    ct
        A head CT in HU, whole or skull-stripped, any orientation and spacing, slanted or not
        (``read_image(path, slanted=True)``); see ``checks_ct.check_ct`` for what is refused.
    model, members, threshold, pv_distance_mm, pv_rule, device, progress, cancelled
        As in ``pipelines.wmh.segment_wmh``.
    mirror
        Also predict every slice mirrored left to right. The uncertainty map is made of the mean of all votes.

    Raises InputError, ModelError, Cancelled; nothing is kept then.
    """
    started = time.monotonic()
    bundle = checked_bundle(model, LEUKOARAIOSIS.key, members, threshold, pv_distance_mm)
    warnings = check_ct(ct)

    head = find_head(ct, bundle.slice_mm)
    anatomy, doubts = find_anatomy(
        head.windowed, device=device, progress=part(progress, 0, ANATOMY_WORK, "anatomy"), cancelled=cancelled,
        within=head.cavity,
    )  # fmt: skip
    inside = head.intracranial(anatomy.mask("intracranial", head.image.grid))
    midplane = find_midplane(inside, head.image.grid)
    infarct = infarct_core(head, anatomy, midplane)
    located = time.monotonic()

    grid = axial_grid(head.image.grid, bundle.in_plane_mm)
    brain = brain_slices(head, anatomy, grid)

    def seen_by(voter: Bundle) -> np.ndarray:
        return hounsfield_window(levelled(brain, anatomy.labelled("white_matter", grid), voter.white_hu))

    probability, predictor, exceptions = votes(
        bundle, members, seen_by, grid.spacing_mm[2], device, mirror, part(progress, ANATOMY_WORK, 1, "lesions"),
        cancelled,
    )  # fmt: skip
    probability[resample(infarct, head.image.grid, grid, order=0)] = 0
    # Beside the ventricles leukoaraiosis is nearly as dark as they are and the anatomy network takes it for them: what
    # is not as dark as this scan's own fluid is left to the other network, and no ventricle where that finds a lesion.
    near = np.maximum(anatomy.lesion_share(grid), anatomy.share("lateral_ventricles", grid))
    probability = on_scan(probability * near, grid, head, ct)
    intracranial = without_bone(resample(inside, head.image.grid, ct.grid) > 0.5, ct)
    smooth = smoothed(head)
    probability[(resample(fluid(smooth, anatomy), smooth.grid, ct.grid) > 0.5) | ~intracranial] = 0
    probability[pale(probability >= bundle.threshold, head.image, anatomy, ct)] = 0
    ventricles = anatomy.mask("lateral_ventricles", ct.grid)
    bearing = (anatomy.share("lesion_bearing", ct.grid) > 0.5) | ventricles
    probability[superficial(probability >= bundle.threshold, bearing, ct)] = 0
    probability[with_fluid(probability >= bundle.threshold, smooth, anatomy, ct)] = 0
    if ct.spacing_mm[ct.grid.slice_axis] > THICK_MM:
        probability[over_or_under(probability >= bundle.threshold, ventricles, ct.grid)] = 0
    probability[rims(probability >= bundle.threshold, ventricles, ct)] = 0
    ventricles &= probability < bundle.threshold
    predicted = time.monotonic()

    made = how_made(bundle, members, mirror, anatomy, predictor)
    made["parameters"]["midplane"] = midplane
    result = Result.from_probability(
        ct,
        probability.clip(0, 1),
        ventricles,
        intracranial,
        threshold=bundle.threshold if threshold is None else threshold,
        pv_distance_mm=pv_distance_mm,
        pv_rule=pv_rule,
        warnings=[*warnings, *doubts, *infarct_doubts(infarct, head, midplane), *exceptions],
        marker=LEUKOARAIOSIS,
        **made,
    )
    result.provenance["times_s"] = times_s(started, located, predicted, time.monotonic())
    return result


def on_scan(probability: np.ndarray, grid: Grid, head: HeadCT, ct: Image) -> np.ndarray:
    """``probability`` from ``grid`` on the CT's voxels; a thin slice has that of the thick one it was averaged into.

    Between thick slices it would fall below any threshold above .5 too early, and volumes with it.
    """
    thick = head.image.grid
    if thick.shape[thick.slice_axis] == ct.grid.shape[thick.slice_axis]:
        return resample(probability, grid, ct.grid)
    return resample(resample(probability, grid, thick), thick, ct.grid, order=0)


def without_bone(intracranial: np.ndarray, ct: Image) -> np.ndarray:
    """``intracranial`` without the bone at its edge, which averaging and moving slices blur; calcium inside stays."""
    edge = intracranial & ~ndimage.binary_erosion(intracranial)
    return intracranial & ~(edge & (ct.voxels > BONE_HU))


def white_level(image: Image, anatomy: Anatomy) -> float:
    """Median of the white matter of ``image``; nan, than which nothing is darker or lighter, where it has none."""
    white = anatomy.labelled("white_matter", image.grid)
    return float(np.median(image.voxels[white])) if white.any() else np.nan


def pale(mask: np.ndarray, thick: Image, anatomy: Anatomy, ct: Image) -> tuple[np.ndarray, ...]:
    """Indices of the lesions (26-connected) of ``mask`` less than ``DARKER_HU`` darker than white matter in ``thick``.

    ``thick`` has the averaged slices: in thin ones whatever is outlined is darker than its surroundings by noise alone.
    """
    clusters, hu = Clusters.of(mask), resample(thick.voxels.clip(*WINDOW_HU), thick.grid, ct.grid)
    return clusters.voxels_of(clusters.mean(hu[clusters.index]) > white_level(thick, anatomy) - DARKER_HU)


def superficial(mask: np.ndarray, tissue: np.ndarray, ct: Image) -> np.ndarray:
    """Lesions (26-connected) of ``mask`` around which less than ``AMONG_TISSUE`` is ``tissue`` (bool): bool."""
    found = np.zeros(mask.shape, bool)
    for around, lesion in with_margin(mask, ct.spacing_mm, SHELL_MM):
        away_mm = ndimage.distance_transform_edt(~lesion, sampling=ct.spacing_mm)
        shell = (away_mm <= SHELL_MM) & ~mask[around]
        if shell.any() and tissue[around][shell].mean() < AMONG_TISSUE:
            found[around] |= lesion
    return found


def with_fluid(mask: np.ndarray, smooth: Image, anatomy: Anatomy, ct: Image) -> tuple[np.ndarray, ...]:
    """Indices of the lesions (26-connected) of ``mask`` below ``SMALL_ML`` that hold fluid in ``smooth``."""
    clusters, hu = Clusters.of(mask), resample(smooth.voxels, smooth.grid, ct.grid)
    small = clusters.voxels * ct.voxel_volume_ml < SMALL_ML
    each = np.split(hu[clusters.index], clusters.first[1:]) if clusters.count else []
    darkest = np.array([np.percentile(values, DARKEST) for values in each])
    return clusters.voxels_of(small & (darkest < white_level(smooth, anatomy) - FLUID_HU))


def over_or_under(mask: np.ndarray, ventricles: np.ndarray, grid: Grid) -> tuple[np.ndarray, ...]:
    """Indices of the voxels of ``mask`` at the places of ``ventricles`` in the slices next to them, of those lesions
    (26-connected) of which they are more than ``OVER``.
    """
    through = np.zeros((3, 3, 3), bool)
    through.swapaxes(0, grid.slice_axis)[:, 1, 1] = True
    clusters = Clusters.of(mask)
    over = (ndimage.binary_dilation(ventricles, through) & ~ventricles)[clusters.index]
    over &= (clusters.mean(over) > OVER)[clusters.label - 1]
    return tuple(coordinate[over] for coordinate in clusters.index)


def rims(mask: np.ndarray, ventricles: np.ndarray, ct: Image) -> tuple[np.ndarray, ...]:
    """Indices of the lesions (26-connected) of ``mask`` that reach no farther than ``RIM_MM`` from the ventricles."""
    clusters = Clusters.of(mask)
    distance_mm = ventricle_distance(ventricles, ct.spacing_mm, slant_mm=ct.grid.slant_mm)
    return clusters.voxels_of(clusters.largest(distance_mm[clusters.index]) <= RIM_MM)


def fluid(smooth: Image, anatomy: Anatomy) -> np.ndarray:
    """Where the lateral ventricles are as dark as their darkest fifth, nearly, and a pixel beside it: bool on
    ``smooth``, which ``smoothed`` gives.
    """
    grid, hu = smooth.grid, smooth.voxels
    ventricles, level = anatomy.mask("lateral_ventricles", grid), white_level(smooth, anatomy)
    if np.isnan(level) or not ventricles.any():
        return ventricles
    darkest = np.percentile(hu[ventricles], FLUID_PERCENTILE)
    dark = ventricles & (hu < darkest + FLUID_SHARE * (level - darkest))
    neighbours = ndimage.generate_binary_structure(3, 1)
    neighbours.swapaxes(0, grid.slice_axis)[[0, 2]] = False  # in the slice only
    return ndimage.binary_dilation(dark, neighbours) & ventricles


def smoothed(head: HeadCT) -> Image:
    """``head.image`` in the brain window, float32, smoothed within its slices against noise."""
    grid = head.image.grid
    in_plane = [0.0 if axis == grid.slice_axis else SMOOTH_MM / mm for axis, mm in enumerate(grid.spacing_mm)]
    return head.image.like(ndimage.gaussian_filter(head.image.voxels.clip(*WINDOW_HU).astype(np.float32), in_plane))


def brain_slices(head: HeadCT, anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """The brain alone on ``grid`` in HU, float32 (R, A, S), in air as in training; no bone."""
    hu = resample(head.image.voxels, head.image.grid, grid, outside=AIR_HU)
    brain = stripped_brain(anatomy, grid) & (resample(head.cavity, head.image.grid, grid) > 0.5)
    return np.where(brain, hu, np.float32(AIR_HU))


def levelled(hu: np.ndarray, white: np.ndarray, white_hu: float | None) -> np.ndarray:
    """``hu`` of a brain in air, moved as a whole so that the median of its ``white`` matter is ``white_hu``.

    Scanners and kilovolts differ by several HU, which is as much as leukoaraiosis differs from white matter. Grey
    matter is no measure of the level: how much denser it is differs as well.
    """
    brain = hu > AIR_HU
    if white_hu is None or not (brain & white).any():
        return hu
    return np.where(brain, hu + (np.float32(white_hu) - np.median(hu[brain & white])), hu)
