"""Candidates of small markers: how they are measured, and which of them STRIVE-2 lets pass."""

from dataclasses import replace

import numpy as np
import pytest
from phantoms import OBLIQUE, oriented_affine, world

from csvd.errors import InputError
from csvd.measure.regions import Regions
from csvd.measure.strive import (
    DEFINITIONS,
    LACUNE,
    MICROBLEED,
    PERIVASCULAR_SPACE,
    find_candidates,
    measure_candidates,
)
from csvd.report.tables import write_candidates

SPACINGS = [(0.5, 0.5, 0.5), (0.5, 0.5, 1.0), (1.0, 1.0, 1.0), (0.7, 0.7, 2.0)]


def grid(spacing_mm, half_mm=16, rotation=None):
    """World coordinates and affine of a cube of about twice ``half_mm`` around (0, 0, 0)."""
    shape = tuple(2 * round(half_mm / mm) + 1 for mm in spacing_mm)
    affine = oriented_affine((0, 1, 2), (1, 1, 1), spacing_mm, shape, rotation, centre_mm=(0.13, -0.21, 0.08))
    return world(shape, affine), affine


def tube(points, direction, length_mm, width_mm):
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    along = np.tensordot(direction, points, 1)
    across = np.sqrt(np.maximum((points**2).sum(0) - along**2, 0))
    return (abs(along) <= length_mm / 2) & (across <= width_mm / 2)


def find(marker, mask, affine, **options):
    return find_candidates(marker, mask, np.ones(mask.shape, np.float32), affine, **options)


def box(shape, *corners, spacing_mm=(1, 1, 1)):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*corner) for corner in corners)] = True
    return mask, np.diag([*spacing_mm, 1.0])


# How they are measured


@pytest.mark.parametrize("rotation", [None, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("spacing_mm", SPACINGS, ids=str)
@pytest.mark.parametrize("diameter", [4, 6, 10])
def test_a_ball_has_its_diameter_along_every_axis_at_every_spacing(spacing_mm, diameter, rotation):
    points, affine = grid(spacing_mm, rotation=rotation)
    mask = (points**2).sum(0) <= (diameter / 2) ** 2
    (ball,) = find(MICROBLEED, mask, affine)
    voxel = max(spacing_mm)
    assert ball.volume_mm3 == pytest.approx(mask.sum() * np.prod(spacing_mm))
    # A ball of voxels is a ball to within a voxel only: a seventh of one in the mean, half a one along an axis.
    assert ball.diameter_mm == pytest.approx(diameter, abs=0.15 * voxel)
    assert ball.longest_mm == pytest.approx(diameter, abs=0.5 * voxel)
    assert ball.shortest_mm == pytest.approx(diameter, abs=0.5 * voxel)
    assert ball.centroid_mm == pytest.approx((0, 0, 0), abs=0.15 * voxel)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (1, 1, 0), (1, -2, 2)], ids=str)
@pytest.mark.parametrize("spacing_mm", SPACINGS[:3], ids=str)
def test_a_tube_has_its_length_and_its_width_in_every_direction(spacing_mm, direction):
    points, affine = grid(spacing_mm)
    (space,) = find(PERIVASCULAR_SPACE, tube(points, direction, 14, 2.4), affine)
    assert space.longest_mm == pytest.approx(14, abs=0.7 * max(spacing_mm))
    assert space.shortest_mm == pytest.approx(2.4, abs=0.6 * max(spacing_mm))
    assert (space.accepted, space.reason) == (None, "")


def test_one_voxel_is_measured_as_a_box_and_not_as_a_point():
    mask, affine = box((5, 5, 5), (2, 3), (2, 3), (2, 3))
    (voxel,) = find(MICROBLEED, mask, affine)
    assert voxel.volume_mm3 == 1
    assert voxel.diameter_mm == pytest.approx(np.cbrt(6 / np.pi))
    assert voxel.longest_mm == voxel.shortest_mm == pytest.approx(np.sqrt(20 / 12))  # a box of 1 mm: variance 1/12


def test_a_bar_of_voxels_by_hand():
    mask, affine = box((9, 9, 9), (1, 7), (2, 4), (3, 4), spacing_mm=(1, 1.5, 2))
    (bar,) = find(LACUNE, mask, affine)
    assert bar.volume_mm3 == pytest.approx(6 * 3 * 2)
    # An evenly filled side of 6, 3 and 2 mm: L^2 / 12, and L^2 / 20 for an ellipsoid.
    assert bar.longest_mm == pytest.approx(6 * np.sqrt(20 / 12))
    assert bar.shortest_mm == pytest.approx(2 * np.sqrt(20 / 12))
    assert bar.centroid_mm == pytest.approx((3.5, 3.75, 6))
    assert (bar.inferior_mm, bar.superior_mm) == pytest.approx((6, 6))  # one slice, by its centre
    (space,) = find(PERIVASCULAR_SPACE, mask, affine)
    assert space.longest_mm == pytest.approx(6)  # a tube's length is that of a rod
    assert space.shortest_mm == pytest.approx(2 * np.sqrt(16 / 12))


def test_thick_slices_are_measured_in_the_widest_slice_only():
    mask = np.zeros((12, 12, 6), bool)
    mask[3:7, 3:7, 2] = True
    mask[3:8, 3:8, 3] = True
    mask[5, 5, 4] = True
    at = np.diag([1, 1, 5, 1.0])
    (bleed,) = find(MICROBLEED, mask, at)
    assert bleed.in_plane
    assert bleed.volume_mm3 == pytest.approx((16 + 25 + 1) * 5)
    assert bleed.diameter_mm == pytest.approx(2 * np.sqrt(25 / np.pi))
    assert bleed.longest_mm == bleed.shortest_mm == pytest.approx(5 * np.sqrt(16 / 12))
    assert bleed.accepted is None
    at[2, 2] = 4.9
    (body,) = find(MICROBLEED, mask, at)
    assert not body.in_plane
    assert body.longest_mm > 10
    assert body.reason.endswith("mm long, over 10 mm")


def test_sagittal_thick_slices_are_measured_in_their_own_plane():
    mask = np.zeros((5, 12, 12), bool)
    mask[2, 3:7, 3:5] = True
    (bleed,) = find(MICROBLEED, mask, np.diag([6, 1, 1.5, 1.0]))
    assert bleed.longest_mm == pytest.approx(4 * np.sqrt(16 / 12))
    assert bleed.shortest_mm == pytest.approx(3 * np.sqrt(16 / 12))
    assert bleed.diameter_mm == pytest.approx(2 * np.sqrt(12 / np.pi))


def test_a_reason_against_a_candidate_says_when_only_the_slice_was_measured():
    mask, affine = box((6, 6, 3), (2, 3), (2, 3), (1, 2), spacing_mm=(1, 1, 6))
    (small,) = find(MICROBLEED, mask, affine)
    assert (small.accepted, small.reason) == (False, "diameter 1.1 mm, under 2 mm (in the slice)")


def test_voxels_that_touch_at_a_corner_are_one_candidate_and_the_largest_comes_first():
    mask = np.zeros((12, 6, 6), bool)
    mask[1, 1, 1] = True
    mask[5, 1, 1] = mask[6, 2, 2] = True
    probability = np.full(mask.shape, 0.2, np.float32)
    probability[5, 1, 1], probability[6, 2, 2], probability[1, 1, 1] = 0.6, 1.0, 0.5
    two, one = find_candidates(MICROBLEED, mask, probability, np.eye(4))
    assert (two.id, two.volume_mm3, two.max_probability) == (1, 2, 1)
    assert two.mean_probability == pytest.approx(0.8)
    assert (one.id, one.volume_mm3, one.mean_probability, one.max_probability) == (2, 1, 0.5, 0.5)


@pytest.mark.parametrize("marker", DEFINITIONS)
def test_an_empty_mask_has_no_candidates(marker):
    assert find(marker, np.zeros((4, 4, 4), bool), np.eye(4)) == []


def test_region_and_hemisphere_are_those_of_most_voxels_and_of_the_centre():
    mask = np.zeros((10, 4, 4), bool)
    mask[1:5, 1, 1] = mask[8, 2, 2] = True
    labels = np.zeros(mask.shape, np.uint8)
    labels[1] = 1
    labels[2:4] = 2
    regions = Regions(labels, ("", "lobar", "deep"))
    first, second = find(MICROBLEED, mask, np.eye(4), regions=regions, midplane=(1, 0, 0, 4.5))
    assert (first.region, first.hemisphere) == ("deep", "left")
    assert (second.region, second.hemisphere) == ("", "right"), "in no region"
    assert "under 2 mm" in second.reason
    (unplaced, _) = find(MICROBLEED, mask, np.eye(4))
    assert (unplaced.region, unplaced.hemisphere) == ("", "")


def test_a_microbleed_outside_the_brain_is_none():
    mask, affine = box((8, 8, 8), (2, 5), (2, 5), (2, 5))
    nowhere = Regions(np.zeros(mask.shape, np.uint8), ("", "lobar"))
    (bleed,), (lacune,) = (find(marker, mask, affine, regions=nowhere) for marker in (MICROBLEED, LACUNE))
    assert (bleed.accepted, bleed.reason) == (False, "outside the brain")
    assert (lacune.accepted, lacune.reason) == (None, "")


# What passes


MICROBLEEDS = [
    (1.99, 1.99, 1.99, "diameter 2.0 mm, under 2 mm"),
    (2, 2, 2, ""),
    (4, 10, 3.4, ""),
    (4, 10.01, 4, "10.0 mm long, over 10 mm"),
    (3, 6, 2, ""),
    (3, 6.1, 2, "3.0 times as long as wide, over 3 times"),
]
LACUNES = [
    (2.99, 3.2, 2.8, "diameter 3.0 mm, under 3 mm"),
    (3, 3, 3, ""),
    (9, 15, 5, ""),
    (9, 15.1, 9, "15.1 mm long, over 15 mm"),
    (4, 9.1, 3, "3.0 times as long as wide, over 3 times"),
]
SPACES = [
    (1, 1, 1, ""),
    (3, 30, 2.99, ""),
    (3, 30, 3, "3.0 mm wide, not under 3 mm"),
    (9, 9, 9, "9.0 mm wide, not under 3 mm"),
]
BORDERS = [(m, *row) for m, rows in zip(DEFINITIONS, (MICROBLEEDS, LACUNES, SPACES), strict=True) for row in rows]


@pytest.mark.parametrize(("marker", "diameter", "longest", "shortest", "reason"), BORDERS)
def test_the_gates_at_their_borders(marker, diameter, longest, shortest, reason):
    assert DEFINITIONS[marker].reason(diameter, longest, shortest, longest / shortest) == reason


def test_rounding_does_not_carry_a_size_over_its_border():
    assert DEFINITIONS[MICROBLEED].reason(2 - 1e-12, 10 + 1e-12, 10, 1) == ""
    assert DEFINITIONS[PERIVASCULAR_SPACE].reason(3, 9, 3 - 1e-12, 3) == "3.0 mm wide, not under 3 mm"


def test_a_vessel_is_no_microbleed_and_the_same_tube_is_a_perivascular_space():
    points, affine = grid((0.5, 0.5, 0.5))
    vessel = tube(points, (1, 2, 1), 9, 2)
    (bleed,), (space,) = find(MICROBLEED, vessel, affine), find(PERIVASCULAR_SPACE, vessel, affine)
    assert bleed.reason.endswith("times as long as wide, over 3 times") or "mm long" in bleed.reason
    assert bleed.accepted is False
    assert not bleed.counts
    assert space.reason == ""
    assert space.counts


@pytest.mark.parametrize(("corners", "reason"), [
    (((4, 5), (4, 5), (2, 4)), ""),  # a voxel in each of two slices: 5 mm high, or hardly more than 2.5
    (((4, 5), (4, 5), (2, 5)), "7.5 times as long as wide, over 3 times"),  # in three it is a vessel
    (((4, 8), (4, 5), (2, 4)), "4.0 times as long as wide, over 3 times"),  # and so is a line within the slices
])  # fmt: skip
def test_what_lies_in_two_slices_is_as_long_as_it_is_within_them(corners, reason):
    (candidate,) = find(MICROBLEED, *box((12, 12, 8), *corners, spacing_mm=(1, 1, 2.5)))
    assert candidate.reason == reason
    assert candidate.counts == (not reason)


@pytest.mark.parametrize(("diameter", "markers"), [
    (1.5, {PERIVASCULAR_SPACE}),
    (2.5, {MICROBLEED, PERIVASCULAR_SPACE}),
    (5, {MICROBLEED, LACUNE}),
    (12, {LACUNE}),
    (18, set()),
])  # fmt: skip
def test_what_a_ball_of_each_size_can_be(diameter, markers):
    points, affine = grid((0.5, 0.5, 0.5))
    mask = (points**2).sum(0) <= (diameter / 2) ** 2
    assert {marker for marker in DEFINITIONS if find(marker, mask, affine)[0].counts} == markers


# What is measured on all of them


def test_counts_volumes_and_sizes_are_those_of_the_candidates_that_count():
    mask = np.zeros((30, 12, 12), bool)
    mask[2:5, 2:5, 2:5] = mask[10:14, 2:6, 2:6] = mask[20:22, 2:4, 2:4] = True
    mask[27, 2, 2] = True  # under 2 mm
    labels = np.ones(mask.shape, np.uint8)
    labels[9:15] = 2
    bleeds = find(MICROBLEED, mask, np.eye(4), regions=Regions(labels, ("", "lobar", "deep")))
    bleeds[2] = replace(bleeds[2], accepted=False)
    values = {name: m.value for name, m in measure_candidates(MICROBLEED, bleeds).items()}
    assert values["microbleed_count"] == 2
    assert values["microbleed_volume"] == pytest.approx((27 + 64) / 1000)
    assert values["microbleed_diameter"] == pytest.approx(np.cbrt(6 * 64 / np.pi))
    assert (values["microbleed_count_lobar"], values["microbleed_count_deep"]) == (1, 1)
    assert values["microbleed_count_brain_stem"] == 0


@pytest.mark.parametrize("marker", DEFINITIONS)
def test_no_candidate_is_0_and_a_missing_sequence_is_none(marker):
    none, missing = measure_candidates(marker, []), measure_candidates(marker, None)
    assert {m.value for m in none.values()} == {0}
    assert {m.value for m in missing.values()} == {None}
    assert f"{marker}_count" in none
    assert all(m.source for m in none.values())


def test_the_rule_is_told_with_its_limits_and_says_when_only_the_slice_was_measured():
    mask, affine = box((6, 6, 3), (2, 5), (2, 5), (1, 2), spacing_mm=(1, 1, 6))
    (count, *_) = measure_candidates(LACUNE, find(LACUNE, mask, affine)).values()
    assert "3 mm or more in diameter and 15 mm or less long" in count.source
    assert "within the slice" in count.source
    assert "within the slice" not in measure_candidates(LACUNE, [])["lacune_count"].source


def test_the_table_of_candidates_has_a_line_for_each_with_its_reason_and_an_empty_cell_before_a_review(tmp_path):
    mask = np.zeros((20, 8, 8), bool)
    mask[2:5, 2:5, 2:5] = mask[15, 2, 2] = True
    found = [*find(MICROBLEED, mask, np.eye(4)), *find(LACUNE, mask, np.eye(4))]
    found[2] = replace(found[2], accepted=True)
    write_candidates(found, tmp_path / "candidates.tsv")
    header, *rows = [line.split("\t") for line in (tmp_path / "candidates.tsv").read_text().splitlines()]
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(row["marker"], row["id"], row["accepted"]) for row in table] == [
        ("microbleed", "1", ""), ("microbleed", "2", "False"), ("lacune", "1", "True"), ("lacune", "2", "False"),
    ]  # fmt: skip
    assert [table[0][f"centroid_mm_{axis}"] for axis in "ras"] == ["3.0", "3.0", "3.0"]
    assert (table[0]["volume_mm3"], table[0]["reason"]) == ("27.0", "")
    assert table[1]["reason"] == "diameter 1.2 mm, under 2 mm"


# Wrong input


def test_wrong_input_is_refused():
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match=r"probability array is \(3, 3, 2\)"):
        find_candidates(LACUNE, mask, np.ones((3, 3, 2), np.float32), np.eye(4))
    with pytest.raises(ValueError, match="region array"):
        find(LACUNE, mask, np.eye(4), regions=Regions(np.zeros((3, 3, 2), np.uint8), ("",)))
    with pytest.raises(KeyError, match="infarct"):
        find("infarct", mask, np.eye(4))
    with pytest.raises(InputError, match="mid-sagittal"):
        find(LACUNE, mask, np.eye(4), midplane=(0, 1, 0, 0))
