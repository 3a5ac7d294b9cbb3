"""Two cavities that touch are two; one that is long stays one."""

import numpy as np
import pytest
from scipy import ndimage

from csvd.measure.clusters import TOUCHING
from csvd.measure.strive import find_candidates
from csvd.measure.touching import necks

SHAPE, SPACING = (60, 40, 30), (0.8, 0.8, 1.0)
AFFINE = np.diag([*SPACING, 1])


def body(x, y=16, z=15, radii=(4, 4, 4)):
    """An ellipsoid around (x, y, z) mm."""
    places = np.indices(SHAPE) * np.reshape(SPACING, (3, 1, 1, 1)) - np.reshape((x, y, z), (3, 1, 1, 1))
    return np.linalg.norm(places / np.reshape(radii, (3, 1, 1, 1)), axis=0) < 1


def counted(mask, affine=AFFINE):
    return [c.diameter_mm for c in find_candidates("lacune", mask, mask.astype(np.float32), affine) if c.counts]


def test_two_that_touch_are_parted_at_their_neck_and_little_is_lost():
    large, small = body(12, radii=(5, 5, 5)), body(20.5, radii=(4, 4, 4))
    both = large | small
    assert counted(both) == []  # 17.5 mm long
    cut = necks("lacune", both, AFFINE)
    assert counted(both & ~cut) == pytest.approx([10, 8], abs=0.4)
    assert cut[both].mean() < 0.06
    assert not (cut & ~both).any()


def test_a_chain_of_three_falls_into_three():
    chain = body(8) | body(15.5) | body(23)
    assert counted(chain & ~necks("lacune", chain, AFFINE)) == pytest.approx([8, 8, 8], abs=0.5)


@pytest.mark.parametrize(
    "mask",
    [
        body(20, radii=(9, 4, 4)),  # 18 mm long, but without a neck
        body(12) | body(17, radii=(3, 3, 3)),  # 12 mm together: no longer than one may be
        body(12, radii=(8, 8, 8)) | body(20.5, radii=(1.2, 1.2, 1.2)),  # what sticks out is no lacune
        np.zeros(SHAPE, bool),
    ],
)
def test_nothing_else_is_cut(mask):
    assert not necks("lacune", mask, AFFINE).any()


def test_what_is_larger_than_a_group_of_lacunes_is_left_alone():
    pair = body(16, radii=(15, 12, 12)) | body(38, radii=(9, 9, 9))
    affine = np.diag([1.2, 1.2, 1.2, 1])  # 32 mL
    assert not necks("lacune", pair, affine).any()


def test_of_several_clusters_only_the_long_one_is_cut():
    pair = body(12, radii=(5, 5, 5)) | body(20.5)
    other = body(40, radii=(4, 4, 4))
    cut = necks("lacune", pair | other, AFFINE)
    assert np.array_equal(cut, necks("lacune", pair, AFFINE))
    assert ndimage.label((pair | other) & ~cut, TOUCHING)[1] == 3
