"""Candidates that a reader rejects by drawing: what does not count is a mask too."""

import numpy as np
import pytest
from test_focal_result import DOT, LARGE, SMALL, count, mask_of, result

from csvd.errors import InputError

NEW = np.s_[18:21, 12:15, 5:8]


def rejected_ids(found):
    return [c.id for c in found.candidates if not c.counts]


def test_the_two_masks_of_a_result_give_it_back():
    found = result()
    for reviewed in (found, found.decide(1, False), found.decide(3, True)):
        again = found.remeasure(reviewed.mask, rejected=reviewed.rejected)
        assert again.candidates == reviewed.candidates
        assert [where.tolist() for where in again.voxels] == [where.tolist() for where in reviewed.voxels]
    assert found.remeasure(found.mask, rejected=found.rejected) is found


def test_a_candidate_that_a_reader_drew_and_rejected_stays_in_the_list():
    drawn = result().remeasure(mask_of(LARGE, SMALL, NEW))
    assert count(drawn) == 3
    new = next(c.id for c in drawn.candidates if c.centroid_mm == (19, 13, 6))
    rejected = drawn.decide(new, False)
    again = result().remeasure(rejected.mask, rejected=rejected.rejected)
    assert again.candidates == rejected.candidates
    assert (count(again), len(rejected_ids(again))) == (2, 2)


def test_a_rejected_candidate_whose_voxels_were_erased_is_gone():
    found = result().remeasure(mask_of(LARGE), rejected=mask_of(SMALL))
    assert [(c.volume_mm3, c.accepted) for c in found.candidates] == [(64, None), (27, False)]
    assert found.edited


def test_rejected_candidates_that_touch_stay_two():
    beside = np.s_[2:6, 6:10, 2:6]
    found = result().remeasure(mask_of(SMALL, beside), rejected=mask_of(LARGE, DOT))
    number = next(c.id for c in found.candidates if c.counts and c.volume_mm3 == 64)
    both = found.decide(number, False)
    again = both.remeasure(both.mask, rejected=both.rejected)
    assert again.candidates == both.candidates
    assert len(rejected_ids(again)) == 3


def test_a_voxel_in_both_masks_counts():
    found = result().remeasure(mask_of(LARGE, SMALL), rejected=mask_of(LARGE, DOT))
    assert (count(found), rejected_ids(found)) == (2, [3])


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match="use the scan's own grid"):
        result().remeasure(mask_of(LARGE), rejected=np.zeros((3, 3, 3)))
