"""Brain, ventricles and the places where lesions can lie, from any sequence: FLAIR, T1, SWI or CT.

One contrast-randomised network (trained on synthetic images only, after Billot et al., Med Image Anal 2023) labels
every axial slice, of which it also sees neighbours; the outline of the ventricles is then moved to where their fluid
ends. This file turns the probabilities into masks on whatever grid is asked for. No atlas, no registration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import ndimage

from .bundle import Bundle, load_bundle
from .errors import InputError
from .image import Grid, Image, axial_grid, resample
from .inference import Predictor, Progress
from .preprocessing import foreground_scaled
from .ventricles import by_brightness, without_small_pieces

MODEL = "anatomy"
TISSUE = ("white_matter", "cortex", "deep_grey", "brain_stem", "cerebellum")
VENTRICLES = ("lateral_ventricles", "third_ventricle", "fourth_ventricle")
LESION_BEARING = ("white_matter", "deep_grey", "brain_stem")
GROUPS = {
    "tissue": TISSUE,
    "brain": TISSUE + VENTRICLES,
    "intracranial": (*TISSUE, *VENTRICLES, "csf"),
    "lateral_ventricles": ("lateral_ventricles",),
    "lesion_bearing": LESION_BEARING,
}
# Probability from which a voxel is inside. The Dice loss draws the thin outer fluid too thick: on synthetic scans of
# six of the heads that the network learned from, .5 gave 2 to 3 % too much on average, .6 between -.2 and 1.2 % and .7
# 1 to 2 % too little. docs/anatomy.md has other heads.
OUTLINE = {"intracranial": 0.6}
LEAST_BRAIN_ML = 80.0  # choice: a tenth of a small brain; less is no brain image, or the network did not see one
PARTIAL_BRAIN_ML = 700.0  # choice: below the smallest adult brains (about 900 mL), so part of it is not in the picture
JUXTACORTICAL_MM = 2.0  # choice: how far a lesion may reach from white matter or deep grey into the cortex


def steps_beside(spacing_mm: float, beside_mm: float) -> int:
    """How many slices away those lie that are nearest to ``beside_mm`` off, at least one."""
    return max(1, round(beside_mm / spacing_mm))


@dataclass(frozen=True)
class Anatomy:
    """Anatomy of one head on its axial working ``grid``.

    ``labels`` is uint8 (R, A, S), an index into ``names``; ``shares`` holds, for every group of ``GROUPS``, its summed
    probability as uint8 0..255, so that outlines stay smooth on any grid.
    """

    grid: Grid
    names: tuple[str, ...]
    labels: np.ndarray
    shares: dict[str, np.ndarray]
    model: dict = field(default_factory=dict)  # provenance of the bundle

    def share(self, group: str, grid: Grid) -> np.ndarray:
        """Probability 0..1 of ``group`` on ``grid``, float32."""
        cleaned = np.where(self.kept[group], self.shares[group], 0).astype(np.float32)
        return resample(cleaned, self.grid, grid) / np.float32(255)

    def mask(self, group: str, grid: Grid) -> np.ndarray:
        """``group`` as a boolean mask on ``grid``."""
        mask = self.share(group, grid) > OUTLINE.get(group, 0.5)
        return mask | self.mask("brain", grid) if group == "intracranial" else mask

    def labelled(self, name: str, grid: Grid) -> np.ndarray:
        """Where ``name`` is the likeliest label of all, bool on ``grid``."""
        return resample(self.labels == self.names.index(name), self.grid, grid, order=0)

    def lesion_share(self, grid: Grid) -> np.ndarray:
        """1 where a lesion can lie, 0 where it cannot, soft between, float32 on ``grid``.

        White matter, deep grey and brain stem and what is within ``JUXTACORTICAL_MM`` of them in the slice plane.
        """
        radius = max(1, round(JUXTACORTICAL_MM / self.grid.spacing_mm[0]))
        disc = ndimage.generate_binary_structure(2, 1)[..., None]
        near = ndimage.binary_dilation(self.shares["lesion_bearing"] > 127, disc, iterations=radius)
        near &= self.kept["brain"]
        return resample(near.astype(np.float32), self.grid, grid)

    @property
    def brain_ml(self) -> float:
        return float(np.count_nonzero(self.kept["brain"] & (self.shares["brain"] > 127)) * self.grid.voxel_volume_ml)

    @cached_property
    def kept(self) -> dict[str, np.ndarray]:
        """Where each group is believed: the main piece of the head, without islands in the neck or the scalp."""
        head = largest_piece(self.shares["intracranial"] > 127)
        around = ndimage.binary_dilation(head)
        ventricles = without_small_pieces((self.shares["lateral_ventricles"] > 127) & head, self.grid)
        return dict.fromkeys(GROUPS, around) | {"lateral_ventricles": ndimage.binary_dilation(ventricles)}


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest 6-connected piece of a mask, its holes filled in every slice."""
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    return np.stack([ndimage.binary_fill_holes(mask[..., k]) for k in range(mask.shape[2])], axis=2)


def find_anatomy(
    image: Image,
    model: str | Bundle = MODEL,
    device: str = "auto",
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    within: np.ndarray | None = None,
) -> tuple[Anatomy, list[str]]:
    """Label the anatomy of ``image`` (any sequence) and say what is doubtful.

    ``within``, bool on the image's voxels, is where anatomy can be, if that is known: inside the skull of a CT.
    Raises InputError when there is no brain in it, ModelError, Cancelled.
    """
    bundle = (model if isinstance(model, Bundle) else load_bundle(model)).require("anatomy")
    grid = axial_grid(image.grid, bundle.in_plane_mm)
    stack = foreground_scaled(resample(image.voxels, image.grid, grid))
    apart = steps_beside(grid.spacing_mm[2], bundle.beside_mm)
    predictor = Predictor(bundle.networks(), bundle.canvas, device, slices=bundle.slices, apart=apart)
    names = tuple(bundle.card["labels"])
    groups = {group: [names.index(name) for name in parts] for group, parts in GROUPS.items()}
    labels = np.zeros(stack.shape, np.uint8)
    shares = {group: np.zeros(stack.shape, np.uint8) for group in GROUPS}
    for slices, window, probability in predictor.batches(stack, 0.0, progress, cancelled):
        where = (*window, slices)
        labels[where] = probability.argmax(1).transpose(1, 2, 0)
        for group, parts in groups.items():
            shares[group][where] = np.rint(probability[:, parts].sum(1) * 255).clip(0, 255).transpose(1, 2, 0)
    if within is not None:
        possible = resample(within, image.grid, grid)
        labels[possible < 0.5] = names.index("background")
        shares = {group: (share * possible).astype(np.uint8) for group, share in shares.items()}
    ventricles, tissue = (shares[group] / np.float32(255) for group in ("lateral_ventricles", "tissue"))
    shares["lateral_ventricles"] = np.rint(255 * by_brightness(ventricles, tissue, stack, grid)).astype(np.uint8)
    anatomy = Anatomy(grid, names, labels, shares, bundle.provenance)
    warnings = list(predictor.warnings)
    if anatomy.brain_ml < LEAST_BRAIN_ML:
        raise InputError(
            f"{image.source or 'The image'} shows no brain that could be recognised "
            f"({anatomy.brain_ml:.0f} mL). Check that it is a head scan and that its orientation is right."
        )
    if anatomy.brain_ml < PARTIAL_BRAIN_ML:
        warnings.append(
            f"Only {anatomy.brain_ml:.0f} mL of brain were found: part of the head may be outside the picture, "
            "and volumes speak of what is inside."
        )
    return anatomy, warnings
