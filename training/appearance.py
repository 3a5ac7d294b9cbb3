"""What a FLAIR slice looks like, in numbers: the same measures for synthetic and for real slices.

A slice is (R, A), 1 mm pixels, intensity over the brain median as the lesion networks see it. Tissues come from the
anatomy network on both sides, so its errors are on both sides. Normal white matter is white matter ``INNER_MM`` from
other tissue and ``CLEAR_MM`` from lesions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

LEAST_WHITE_MM2 = 2000  # choice: slices above the base of the brain, where the lesions are
LEAST_MM2 = 300  # choice: of a tissue, for a stable median and a noise level to 5 %
LEAST_LESION_MM2 = 60  # choice: smaller lesions have no inside at 1 mm
INNER_MM, CLEAR_MM = 2, 3  # choice: out of the partial volume of the border, and of the halo that experts leave out
SULCUS_MM, FLUID = 8, 0.6  # choice: wider gaps are no sulci; darker than this share of the brain median is fluid
LOCAL_MM = 6.0  # choice: texture is what is left when waves longer than about this are taken off
LAGS_MM = np.arange(13)
EDGE_MM = np.arange(-4, 6.5, 0.5)  # signed distance to the lesion's outline, positive outside
LAPLACE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
EIGHT = np.ones((3, 3), bool)
BRAIN = ("white_matter", "cortex", "deep_grey", "brain_stem", "cerebellum")
QUANTILES = (5, 25, 75, 95, 99)


@dataclass(frozen=True)
class Slice:
    """``labels`` index ``names``; ``lesion`` is bool, and ``known`` where it is a reference and no model's answer."""

    image: np.ndarray
    labels: np.ndarray
    names: Sequence[str]
    lesion: np.ndarray
    known: bool

    def tissue(self, *names: str) -> np.ndarray:
        """Where these tissues are in the picture: bool."""
        return np.isin(self.labels, [self.names.index(name) for name in names]) & (self.image > 0)

    @cached_property
    def white(self) -> np.ndarray:
        """Normal white matter: bool."""
        inner = ndimage.binary_erosion(self.tissue("white_matter"), iterations=INNER_MM)
        return inner & ~ndimage.binary_dilation(self.lesion, iterations=CLEAR_MM)

    @cached_property
    def level(self) -> float:
        return float(np.median(self.image[self.white]))

    @property
    def usable(self) -> bool:
        white = self.tissue("white_matter") | self.lesion
        return np.count_nonzero(white) >= LEAST_WHITE_MM2 and np.count_nonzero(self.white) >= LEAST_MM2


def measures(one: Slice) -> dict[str, float]:
    """Every measure that can be taken of a slice, by name. Lesions are measured where they are known."""
    brain = one.image[one.tissue(*BRAIN)]
    found = {f"brain_{q}": float(value) for q, value in zip(QUANTILES, np.percentile(brain, QUANTILES), strict=True)}
    found |= sulci(one) | contrasts(one) | texture(one)
    if one.known:
        found |= lesion_measures(one)
    return found


def sulci(one: Slice) -> dict[str, float]:
    """Dark share of the outline of the brain without ventricles, %, and how steep its steps are, over median per mm."""
    outline = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(one.image > 0, 9), iterations=SULCUS_MM // 2))
    outline = outline[9:-9, 9:-9]
    ventricles = ndimage.binary_dilation(one.tissue("lateral_ventricles"), iterations=INNER_MM)
    dark = outline & (one.image < FLUID) & ~ventricles
    slope = np.hypot(*np.gradient(one.image))[ndimage.binary_erosion(outline, iterations=CLEAR_MM)]
    return {"sulci": 100 * dark.sum() / outline.sum(), "steps": float(np.percentile(slope, 95))}


def contrasts(one: Slice) -> dict[str, float]:
    """Medians of tissues over that of normal white matter, and the brightest tenth of cortex."""
    found = {}
    for name, tissue in (("cortex", "cortex"), ("deep_grey", "deep_grey"), ("ventricle", "lateral_ventricles")):
        values = one.image[one.tissue(tissue) & ~one.lesion]
        if len(values) >= LEAST_MM2:
            found[name] = float(np.median(values)) / one.level
            if name == "cortex":
                found["thick_cortex"] = float(np.percentile(values, 90)) / one.level
    return found


# Texture of normal white matter


def texture(one: Slice) -> dict[str, float]:
    """Noise, spread, and how far the texture of normal white matter hangs together."""
    white, image = one.white, one.image / one.level
    curve = autocorrelation(local_residual(one), white)
    return {
        "noise": noise_level(image, white),
        "spread": float(1.4826 * np.median(np.abs(image[white] - 1))),
        "waves": float(local_mean(image, white, LOCAL_MM)[white].std()),
        "length": length_mm(curve),
    }


def noise_level(image: np.ndarray, where: np.ndarray) -> float:
    """SD of the noise by Immerkaer (Comput Vis Image Underst 1996;64:300-302): what a Laplacian of edges leaves."""
    inner = ndimage.binary_erosion(where, EIGHT)
    response = np.abs(ndimage.convolve(image, LAPLACE))[inner if inner.any() else where]
    return float(np.sqrt(np.pi / 2) / 6 * response.mean())


def local_mean(image: np.ndarray, where: np.ndarray, sigma_mm: float) -> np.ndarray:
    """Gaussian mean of the pixels of ``where`` alone."""
    weight = ndimage.gaussian_filter(where.astype(float), sigma_mm)
    return ndimage.gaussian_filter(np.where(where, image, 0), sigma_mm) / np.maximum(weight, 1e-6)


def local_residual(one: Slice) -> np.ndarray:
    """What is finer than ``LOCAL_MM`` in normal white matter, over its level."""
    image = one.image / one.level
    return image - local_mean(image, one.white, LOCAL_MM)


def autocorrelation(residual: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean correlation of the pixels of ``where`` with those ``LAGS_MM`` away along R and A; 1 at lag 0."""
    values = np.where(where, residual, 0)
    curve = []
    for lag in LAGS_MM:
        products, pairs = 0.0, 0
        for axis in (0, 1):
            length = values.shape[axis] - lag
            a, b, here, there = (
                np.take(array, range(start, start + length), axis)
                for array, start in ((values, 0), (values, lag), (where, 0), (where, lag))
            )
            products, pairs = products + float((a * b).sum()), pairs + int((here & there).sum())
        curve.append(products / max(pairs, 1))
    return np.array(curve) / max(curve[0], 1e-12)


def length_mm(curve: np.ndarray) -> float:
    """Lag at which the autocorrelation falls to one half, between the lags it was measured at."""
    below = int(np.argmax(curve < 0.5))
    if below == 0:
        return float(LAGS_MM[-1])
    above = curve[below - 1]
    return float(LAGS_MM[below - 1] + (above - 0.5) / (above - curve[below]))


# Lesions


def lesion_measures(one: Slice) -> dict[str, float]:
    """Brightness over normal white matter, and how the outline is crossed."""
    values = one.image[one.lesion] / one.level
    found = {"load": 100 * np.count_nonzero(one.lesion) / max(1, np.count_nonzero(one.tissue(*BRAIN) | one.lesion))}
    if len(values) >= LEAST_LESION_MM2:
        found |= {f"lesion_{q}": float(np.percentile(values, q)) for q in (10, 50, 90)}
        found |= crossing(edge_profile(one))
        cortex = contrasts(one).get("thick_cortex")
        if cortex:
            found["lesion_over_cortex"] = found["lesion_50"] / cortex
    return found


def edge_profile(one: Slice) -> np.ndarray:
    """Mean intensity over normal white matter at ``EDGE_MM`` from the outlines of the larger lesions; nan where none.

    Only white matter counts outside, and inside only what is nearer to it than to fluid or cortex: no other tissue
    tilts the profile.
    """
    lesion = large(one.lesion)
    if not lesion.any():
        return np.full(len(EDGE_MM), np.nan)
    white = one.tissue("white_matter") & ~one.lesion
    depth, nearest = ndimage.distance_transform_edt(lesion, return_indices=True)
    distance = ndimage.distance_transform_edt(~lesion) - depth
    distance -= np.sign(distance) / 2  # the outline runs between pixels
    counted = np.where(lesion, white[tuple(nearest)], white)
    position = np.rint((distance[counted] - EDGE_MM[0]) / 0.5).astype(int)
    inside = (position >= 0) & (position < len(EDGE_MM))
    count = np.bincount(position[inside], minlength=len(EDGE_MM))
    total = np.bincount(position[inside], one.image[counted][inside] / one.level, minlength=len(EDGE_MM))
    return np.where(count >= 10, total / np.maximum(count, 1), np.nan)


def large(lesion: np.ndarray) -> np.ndarray:
    pieces, _ = ndimage.label(lesion, EIGHT)
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    return (areas >= LEAST_LESION_MM2)[pieces]


def crossing(profile: np.ndarray) -> dict[str, float]:
    """Width of the edge, mm: plateau to plateau over the steepest slope. Outline: brightness there, 0 outside to 1."""
    known = ~np.isnan(profile)
    inner, outer = profile[known & (EDGE_MM <= -1.5)], profile[known & (EDGE_MM >= 3)]
    if len(inner) == 0 or len(outer) == 0:
        return {}
    high, low = inner.max(), outer.mean()
    smooth = np.interp(np.arange(-2, 2.5, 1.0), EDGE_MM[known], profile[known])
    steepest = -np.diff(smooth).min()
    if high - low < 0.1 or steepest <= 0:
        return {}
    return {"edge_width": float((high - low) / steepest), "outline_height": float((smooth[2] - low) / (high - low))}


def areas_mm2(lesion: np.ndarray) -> np.ndarray:
    """Areas of the 8-connected lesions of a slice of 1 mm pixels."""
    return np.bincount(ndimage.label(lesion, EIGHT)[0].ravel())[1:].astype(float)
