"""Outlines of foci by the height of their own peak, as a width is read off a profile: at half of its maximum.

A microbleed of 2 or 3 mm is two or three voxels wide, and the less sure a network is of it, the fewer of its voxels
reach a threshold: cut at one level for all, its size says how sure the network is, and what is outlined too small
counts no longer. At half of its own peak it has one size, whichever threshold it was found with.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from csvd.measure.clusters import TOUCHING, with_margin
from csvd.measure.reference import cutoff

HALF = 0.5
# Half of the longest that a microbleed is (STRIVE-2): an outline leaves what was found by no more.
REACH_MM = cutoff("microbleed_size").value[1] / 2


def half_of_peak(probability: np.ndarray, threshold: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Clusters (26-connected) that reach ``threshold``, outlined where ``probability`` is half of their peak: bool.

    ``probability`` is (i, j, k), 0 to 1. An outline may be smaller or larger than what reaches the threshold. A voxel
    between two clusters is of the nearer only.
    """
    found = probability >= threshold
    outlines = np.zeros(probability.shape, bool)
    for around, focus in with_margin(found, spacing_mm, REACH_MM):
        here = probability[around]
        within = here >= HALF * here[focus].max()
        others = found[around] & ~focus
        if others.any():
            from_focus, from_others = (ndimage.distance_transform_edt(~those, spacing_mm) for those in (focus, others))
            within &= from_focus < from_others
        labels, _ = ndimage.label(within, TOUCHING)
        outlines[around] |= np.isin(labels, labels[focus & within])
    return outlines
