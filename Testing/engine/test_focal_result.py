"""Candidates of one marker after a reader's decisions and edits; no network is in sight."""

import numpy as np
import pytest

from csvd.errors import InputError
from csvd.focal_result import FocalResult
from csvd.image import Image
from csvd.measure.regions import MICROBLEED_REGIONS, Regions
from csvd.report.segmentation import focal_segments
from csvd.sequences import SEQUENCE_OF

# Voxels of 1 mm: cubes of 4 and 3 mm are microbleeds, a single voxel is too small for one (STRIVE-2: 2 mm).
LARGE, SMALL, DOT = np.s_[2:6, 2:6, 2:6], np.s_[12:15, 2:5, 2:5], np.s_[2:3, 14:15, 8:9]
SHAPE = (24, 20, 12)


def result(threshold=0.5):
    probability = np.zeros(SHAPE, np.float32)
    probability[LARGE], probability[SMALL], probability[DOT] = 0.9, 0.6, 0.8
    image = Image(np.zeros(SHAPE, np.int16), np.diag([1.0, 1, 1, 1]))
    lobar = Regions(np.ones(SHAPE, np.uint8), MICROBLEED_REGIONS)
    return FocalResult.from_probability(
        "microbleed", image, probability, brain=np.ones(SHAPE, bool), regions=lobar, midplane=[1, 0, 0, 10],
        threshold=threshold,
    )  # fmt: skip


def count(found):
    return found.measurements["microbleed_count"].value


def volume_ml(found):
    return found.measurements["microbleed_volume"].value


def mask_of(*places):
    mask = np.zeros(SHAPE, np.uint8)
    for place in places:
        mask[place] = 1
    return mask


def test_candidates_are_numbered_by_size_and_what_is_too_small_does_not_count():
    found = result()
    assert [(c.id, c.volume_mm3, c.hemisphere, c.counts) for c in found.candidates] == [
        (1, 64, "left", True),
        (2, 27, "right", True),
        (3, 1, "left", False),
    ]
    assert np.array_equal(found.mask, mask_of(LARGE, SMALL) > 0)
    assert np.array_equal(found.rejected, mask_of(DOT) > 0)
    assert (count(found), volume_ml(found)) == (2, pytest.approx(0.091))


def test_a_microbleed_is_outlined_at_half_of_its_peak_and_a_lacune_at_the_threshold():
    probability = np.zeros(SHAPE, np.float32)
    probability[LARGE], probability[3:5, 3:5, 3:5] = 0.35, 0.6
    given = {"brain": np.ones(SHAPE, bool), "regions": None, "midplane": None}
    image = Image(np.zeros(SHAPE, np.int16), np.diag([1.0, 1, 1, 1]))
    for marker, voxels in (("microbleed", 64), ("lacune", 8)):
        found = FocalResult.from_probability(marker, image, probability, threshold=0.5, **given)
        assert [c.volume_mm3 for c in found.candidates] == [voxels]


def test_a_decision_moves_the_voxels_of_its_candidate_and_no_other():
    found = result().decide(1, False)
    assert np.array_equal(found.mask, mask_of(SMALL) > 0)
    assert (count(found), volume_ml(found)) == (1, pytest.approx(0.027))
    assert found.edited
    assert found.automatic.candidates == result().candidates


def test_a_reader_may_accept_what_is_too_small():
    found = result().decide(3, True)
    assert count(found) == 3
    assert found.candidates[2].reason  # stays to be read


def test_a_decision_taken_back_is_none():
    start = result()
    assert start.decide(1, False).decide(1, None) is start
    assert start.decide(3, True).decide(3, None) is start


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_candidate_that_is_not_there_is_refused(number):
    with pytest.raises(InputError, match=f"There is no candidate {number} of microbleeds: there are 3"):
        result().decide(number, False)


def test_the_same_mask_is_no_edit():
    start = result()
    assert start.remeasure(start.mask) is start


def test_what_a_reader_draws_counts_whatever_its_size_and_what_is_erased_does_not():
    drawn = np.s_[20:21, 16:17, 2:3]
    found = result().remeasure(mask_of(SMALL, drawn))
    assert [(c.volume_mm3, c.accepted) for c in found.candidates] == [(27, None), (1, True), (1, False)]
    assert np.array_equal(found.mask, mask_of(SMALL, drawn) > 0)
    assert np.array_equal(found.rejected, mask_of(DOT) > 0)


def test_decisions_survive_an_edit_elsewhere():
    decided = result().decide(2, False)  # the 27 mm3 on the right
    found = decided.remeasure(mask_of(np.s_[2:6, 2:6, 2:5]))  # one slice less of the other
    assert [(c.id, c.volume_mm3, c.accepted) for c in found.candidates] == [
        (1, 48, True),
        (2, 27, False),
        (3, 1, False),
    ]
    assert count(found) == 1


def test_a_rejected_candidate_that_is_drawn_again_counts():
    found = result().decide(2, False).remeasure(mask_of(LARGE, SMALL))
    assert [c.accepted for c in found.candidates] == [None, True, False]
    assert count(found) == 2


def test_a_touched_candidate_is_not_kept_as_rejected_too():
    found = result().decide(2, False).remeasure(mask_of(LARGE, np.s_[12:13, 2:5, 2:5]))
    assert [(c.volume_mm3, c.accepted) for c in found.candidates] == [(64, None), (9, True), (1, False)]


def test_another_threshold_starts_anew():
    found = result().decide(1, False).remeasure(threshold=0.7)
    assert [c.volume_mm3 for c in found.candidates] == [64, 1]
    assert not found.edited


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": np.zeros((3, 4, 5))}, "3x4x5 voxels and the scan of microbleeds has 24x20x12"),
        ({"mask": np.zeros(SHAPE), "threshold": 0.5}, "at once"),
        ({"threshold": 0.0}, "threshold of microbleeds is 0"),
    ],
)
def test_a_wrong_edit_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        result().remeasure(**change)


def test_an_empty_mask_is_zero():
    found = result().remeasure(np.zeros(SHAPE))
    assert (count(found), volume_ml(found)) == (0, 0)
    assert not found.mask.any()


def test_every_small_marker_has_a_segment_of_its_own():
    listed = focal_segments()
    assert set(listed) == set(SEQUENCE_OF) - {"wmh"}
    assert len({tuple(segment["color"]) for segment in listed.values()}) == 3
    assert listed["lacune"]["layer"] != listed["perivascular_space"]["layer"]  # one file, and edits may overlap
