"""What looks like a lacune or a microbleed to a network and is none, by what lies around a candidate.

Candidates are judged on the grid of the networks, before a probability goes back to the scan's own voxels. What is
dropped has no probability left. Candidates are taken at one ``LEVEL``, so that the same are dropped whatever threshold
is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from ..image import Grid
from ..measure.clusters import TOUCHING, Clusters, with_margin
from ..measure.reference import cutoff
from ..measure.strive import axes_mm
from .wmh import FAINT

# Choices. A lacune is a cavity in white matter, deep grey or brain stem (STRIVE-2), whatever the anatomy network calls
# its fluid: within SHELL_MM so much around it must be such tissue, which leaves out sulci and the edges of ventricles.
# It is less for one that is not at a WALL of a ventricle, as in the brain stem between cisterns.
SHELL_MM, ENCLOSED, AWAY, WALL = 3.0, 0.5, 0.4, 0.25
# And it looks like fluid (STRIVE-2): its darkest voxels lie at least LIKE_FLUID of the way from the tissue within
# BESIDE_MM to the fluid of the ventricles, which leaves out grey lesions, as of multiple sclerosis. Choice: all that
# were drawn and found in the synthetic patients that choose the thresholds lie beyond it, and most that were found in
# three real patients with multiple sclerosis do not.
LIKE_FLUID, BESIDE_MM = 0.65, 4.0
EDGE_MM = 1.0  # choice: about a voxel, in which a candidate and the tissue beside it share the signal
# A microbleed is no longer than 10 mm (STRIVE-2), however little of a vein the network marks. Choices: what is ALIKE of
# the way from the tissue within REACH_MM to a candidate, and joined to it, is one thing with it, as all of a vein is
# about as dark; that is a line unless most of it is the candidate, as of a microbleed that a thin vein touches. On 30
# synthetic SWIs beside those that are judged, .65 lost 6 of 130 microbleeds that were found and .8 one, with hardly
# fewer false ones than no rule: it is there for real veins, which branch and of which there is one crop only.
LONGEST_MM = cutoff("microbleed_size").value[1]
REACH_MM, ALIKE, MOST = 12.0, 0.8, 0.5
DARKEST = 20  # percentile of a candidate's voxels: their noise is left out
DARKEST_OF_LACUNE = 10  # of few voxels most are its edge
# Choice: of .3, .5 and .7 none found more microbleeds, or fewer false ones, with microbleed-unet3d 0.3 where thresholds
# are chosen.
LEVEL = 0.5


def not_enclosed(probability: np.ndarray, tissue: np.ndarray, ventricles: np.ndarray, grid: Grid) -> np.ndarray:
    """Candidates of lacunes around which less than ``ENCLOSED`` is ``tissue`` that bears them: bool on ``grid``.

    Where less than ``WALL`` around them is ventricle, ``AWAY`` is enough.
    """

    def in_fluid(around: tuple[slice, ...], candidate: np.ndarray) -> bool:
        away_mm = ndimage.distance_transform_edt(~candidate, sampling=grid.spacing_mm)
        shell = (away_mm > 0) & (away_mm <= SHELL_MM)
        return tissue[around][shell].mean() < (ENCLOSED if ventricles[around][shell].mean() >= WALL else AWAY)

    return dropped(probability, grid, SHELL_MM, in_fluid)


def unlike_fluid(
    probability: np.ndarray, t1: np.ndarray, tissue: np.ndarray, ventricles: np.ndarray, grid: Grid
) -> np.ndarray:
    """Candidates of lacunes that are not about as dark as the fluid of the ventricles: bool on ``grid``.

    ``t1`` holds grey values on ``grid``, 0 outside the brain. Nothing is dropped where no ventricle is in view, or none
    that is darker than the tissue beside the candidate.
    """
    fluid = t1[ndimage.binary_erosion(ventricles) & (t1 > 0)]
    if not fluid.size:
        return np.zeros(probability.shape, bool)
    level = np.median(fluid)

    def is_grey(around: tuple[slice, ...], candidate: np.ndarray) -> bool:
        away_mm = ndimage.distance_transform_edt(~candidate, sampling=grid.spacing_mm)
        beside = t1[around][(away_mm > EDGE_MM) & (away_mm <= BESIDE_MM) & tissue[around]]
        if not beside.size or np.median(beside) <= level:
            return False
        darkest = np.percentile(t1[around][candidate], DARKEST_OF_LACUNE)
        return np.median(beside) - darkest < LIKE_FLUID * (np.median(beside) - level)

    return dropped(probability, grid, BESIDE_MM, is_grey)


def dark_lines(probability: np.ndarray, swi: np.ndarray, grid: Grid) -> np.ndarray:
    """Candidates of microbleeds that are part of a vein or of another dark line: bool on ``grid``.

    ``swi`` holds grey values on ``grid``, 0 outside the brain.
    """

    def is_part_of_a_line(around: tuple[slice, ...], candidate: np.ndarray) -> bool:
        values = swi[around]
        inside = values > 0
        beside = inside & ~candidate
        if not beside.any():
            return False
        level, darkest = np.median(values[beside]), np.percentile(values[candidate], DARKEST)
        if darkest >= level:
            return False
        alike = values < level - ALIKE * (level - darkest)
        labels, _ = ndimage.label((inside & alike) | candidate, TOUCHING)
        joined = labels == labels[candidate][0]
        if candidate.sum() > MOST * joined.sum():
            return False
        structure = Clusters.of(joined)
        _, longest_mm, _ = axes_mm(structure, np.diag([*grid.spacing_mm, 1]), in_plane=False, tube=False)
        return longest_mm[0] > LONGEST_MM

    return dropped(probability, grid, REACH_MM, is_part_of_a_line)


def dropped(
    probability: np.ndarray, grid: Grid, margin_mm: float, is_mimic: Callable[[tuple[slice, ...], np.ndarray], bool]
) -> np.ndarray:
    """Candidates (26-connected) of which ``is_mimic`` holds: bool.

    It is asked with the box of a candidate and ``margin_mm`` around it, and with the candidate in that box. Candidates
    from ``FAINT`` on without a core from ``LEVEL`` on are judged too.
    """
    found = np.zeros(probability.shape, bool)
    for level in (LEVEL, FAINT):
        for around, candidate in with_margin((probability >= level) & ~found, grid.spacing_mm, margin_mm):
            if level < LEVEL and (probability[around][candidate] >= LEVEL).any():
                continue
            if is_mimic(around, candidate):
                found[around] |= candidate
    return found
