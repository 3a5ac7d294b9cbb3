"""A focus has one size, however sure the network is of it and whichever threshold finds it."""

import numpy as np
import pytest

from csvd.measure.clusters import Clusters
from csvd.measure.peaks import half_of_peak

SHAPE, SPACING = (40, 30, 20), (0.5, 0.5, 1.0)


def bump(x, y=7, z=10, peak=1.0, half_mm=1.6):
    """A smooth peak at (x, y, z) mm that is half as high at ``half_mm`` from there."""
    away = np.indices(SHAPE) * np.reshape(SPACING, (3, 1, 1, 1)) - np.reshape((x, y, z), (3, 1, 1, 1))
    return (peak * 0.5 ** (np.linalg.norm(away, axis=0) / half_mm) ** 2).astype(np.float32)


def sizes(probability, threshold):
    return Clusters.of(half_of_peak(probability, threshold, SPACING)).voxels.tolist()


@pytest.mark.parametrize("peak", [0.4, 0.7, 0.95])
@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.39])
def test_a_focus_has_one_size_whatever_its_peak_and_the_threshold(peak, threshold):
    (voxels,) = sizes(bump(10, peak=peak), threshold)
    assert voxels * np.prod(SPACING) == pytest.approx(4 / 3 * np.pi * 1.6**3, rel=0.2)  # voxels are whole


def test_what_does_not_reach_the_threshold_is_left_out():
    both = bump(5, peak=0.9) + bump(15, peak=0.4)
    assert len(sizes(both, 0.3)) == 2
    (alone,) = sizes(both, 0.5)
    assert [alone] == sizes(bump(5, peak=0.9), 0.5)


def test_a_faint_focus_beside_a_sure_one_does_not_take_it_in():
    sure, faint = bump(8, peak=0.9), bump(12.5, peak=0.35)
    together = half_of_peak(np.maximum(sure, faint), 0.3, SPACING)
    alone = half_of_peak(sure, 0.3, SPACING) | half_of_peak(faint, 0.3, SPACING)
    assert not (together & ~alone).any()
    assert together.sum() > 0.9 * alone.sum()


def test_two_sure_ones_that_touch_at_the_threshold_are_two_at_half_of_their_peaks():
    pair = np.maximum(bump(7), bump(12))
    assert Clusters.of(pair >= 0.1).count == 1
    assert len(sizes(pair, 0.1)) == 2


def test_nothing_is_outlined_where_nothing_is_found():
    assert not half_of_peak(np.zeros(SHAPE, np.float32), 0.2, SPACING).any()
    assert not half_of_peak(bump(10, peak=0.15), 0.2, SPACING).any()
