import numpy as np
import pytest

from csvd.measure.fazekas import TOTAL_VOLUME, fazekas, likelihood
from csvd.measure.zones import periventricular, ventricle_distance

SPACING = (1.0, 1.0, 5.0)


def graded(*lesions, limit_mm=10.0, rule="voxel", voxel_volume_ml=0.005):
    """Grade boxes (i0, i1, j0, j1) of one slice beside a ventricle that fills the plane i = 0."""
    mask, ventricles = np.zeros((60, 60, 3), bool), np.zeros((60, 60, 3), bool)
    ventricles[0] = True
    for i0, i1, j0, j1 in lesions:
        mask[i0:i1, j0:j1, 1] = True
    distance = ventricle_distance(ventricles, SPACING)
    labels = periventricular(mask, distance, limit_mm, rule)
    return fazekas(labels, distance, SPACING, voxel_volume_ml=voxel_volume_ml, limit_mm=limit_mm)


@pytest.mark.parametrize(
    ("ml", "grade"), [(0, 0), (3.39, 0), (3.4, 1), (9.59, 1), (9.6, 2), (17.09, 2), (17.1, 3), (80, 3)]
)
def test_the_volume_grade_changes_at_the_cut_offs_of_joo(ml, grade):
    assert TOTAL_VOLUME.grade(ml) == grade


def test_no_lesion_is_grade_zero_in_every_reading_and_they_agree():
    grades = graded()
    assert (grades.volume_grade, grades.periventricular, grades.deep, grades.total) == (0, 0, 0, 0)
    assert (grades.thickness_mm, grades.diameter_mm, grades.confluent) == (0, 0, False)
    assert grades.severe is False
    assert grades.agreement is True
    assert grades.likelihood_periventricular == grades.likelihood_deep == {"0-1": 1, "2": 0, "3": 0}


@pytest.mark.parametrize(("thickness", "grade"), [(1, 1), (4, 1), (5, 2), (9, 2), (10, 3)])
def test_periventricular_grades_change_at_5_and_10_mm(thickness, grade):
    grades = graded((1, thickness + 1, 10, 20))
    assert grades.thickness_mm == thickness
    assert grades.periventricular == grade
    assert grades.deep == 0


def test_thickness_runs_on_into_the_deep_part_of_the_same_lesion():
    # 1 .. 18 mm from the ventricle: the periventricular label alone would end at 9 mm and be grade 2.
    grades = graded((1, 19, 10, 12))
    assert grades.thickness_mm == 18
    assert grades.periventricular == 3


def test_a_periventricular_lesion_that_stays_clear_of_the_ventricle_is_grade_1():
    grades = graded((4, 9, 10, 20))
    assert grades.thickness_mm == 0
    assert grades.periventricular == 1


@pytest.mark.parametrize(
    ("rows", "columns", "diameter", "grade"),
    [(5, 8, np.sqrt(89), 1), (6, 8, 10, 2), (14, 20, np.sqrt(596), 2), (15, 20, 25, 3)],
)
def test_deep_grades_change_at_10_and_25_mm(rows, columns, diameter, grade):
    grades = graded((20, 20 + rows, 10, 10 + columns))
    assert grades.diameter_mm == pytest.approx(diameter)
    assert grades.deep == grade
    assert grades.periventricular == 0
    assert grades.confluent is False


def test_the_largest_deep_cluster_counts_and_foci_that_grew_together_are_one():
    apart = graded((20, 26, 10, 16), (20, 26, 17, 23))
    assert apart.diameter_mm == pytest.approx(np.sqrt(72))  # 6 x 6 mm
    assert apart.deep == 1
    together = graded((20, 26, 10, 16), (20, 26, 16, 22))
    assert together.diameter_mm == pytest.approx(np.sqrt(180))  # 6 x 12 mm
    assert together.deep == 2


def test_the_outer_shell_of_a_halo_is_not_a_large_deep_lesion():
    # 11 mm of halo over 40 mm: what lies beyond 10 mm is 2 mm thin and 40 mm long.
    grades = graded((1, 12, 10, 50))
    assert (grades.periventricular, grades.deep, grades.diameter_mm) == (3, 0, 0)


def test_a_lesion_that_runs_far_into_the_deep_white_matter_is_graded_in_both_zones():
    # Its deep part, 10 .. 25 mm from the ventricle, is 16 x 3 mm and reaches 15 mm beyond the limit.
    grades = graded((1, 26, 10, 13))
    assert grades.diameter_mm == pytest.approx(np.sqrt(16**2 + 3**2))
    assert (grades.periventricular, grades.deep) == (3, 2)
    assert grades.confluent is True


def test_a_broad_deep_part_is_as_large_as_twice_its_reach():
    # 10 .. 18 mm from the ventricle and 40 mm long: reaches 8 mm beyond the limit.
    grades = graded((1, 19, 10, 50))
    assert grades.diameter_mm == pytest.approx(16)
    assert grades.deep == 2


def test_a_deep_part_that_leaves_the_range_of_distances_keeps_its_diameter():
    # 10 .. 40 mm from the ventricle (known up to 30) and 50 mm long.
    grades = graded((1, 41, 5, 55))
    assert grades.thickness_mm == 30
    assert grades.diameter_mm == pytest.approx(np.hypot(31, 50))


def test_whole_lesions_are_never_cut_under_the_cluster_rule():
    grades = graded((1, 26, 10, 13), (30, 36, 10, 18), limit_mm=2.0, rule="cluster")
    assert grades.thickness_mm == 25
    assert grades.diameter_mm == pytest.approx(10)  # the 6 x 8 mm lesion alone
    assert (grades.periventricular, grades.deep, grades.confluent) == (3, 2, False)


def test_total_and_severe_follow_from_the_two_grades():
    mild = graded((1, 4, 10, 20), (30, 35, 10, 15))
    assert (mild.total, mild.severe) == (2, False)
    severe = graded((1, 7, 10, 20), (30, 35, 10, 15))
    assert (severe.total, severe.severe) == (3, True)


def test_a_lesion_reaches_the_ventricle_from_the_next_pixel_however_coarse():
    labels = np.zeros((5, 3, 1), np.uint8)
    labels[1:3] = 1
    distance = np.broadcast_to(3.0 * np.arange(5, dtype=np.float32)[:, None, None], labels.shape)
    grades = fazekas(labels, distance, (3, 3, 5), voxel_volume_ml=0.045)
    assert grades.thickness_mm == 6  # nearest voxel 3 mm away: more than 2 mm, less than 1.5 pixels


def test_readings_one_grade_apart_agree():
    # 6 mm thick: grade 2. 60 voxels of .1 mL: grade 1 by volume, and likeliest for grade 0-1.
    grades = graded((1, 7, 10, 20), voxel_volume_ml=0.1)
    assert (grades.periventricular, grades.volume_grade) == (2, 1)
    assert grades.likelihood_periventricular["0-1"] > 0.5
    assert grades.agreement is True
    assert grades.conflicts == ()


def test_readings_more_than_one_grade_apart_are_named():
    # A finger of .375 mL: the geometry says 3 and 2, the volume 0.
    grades = graded((1, 26, 10, 13))
    assert (grades.volume_grade, grades.periventricular, grades.deep) == (0, 3, 2)
    assert grades.agreement is False
    assert grades.conflicts == (
        "The total volume speaks for grade 0, the geometry for grade 3.",
        "The periventricular volume is likeliest for grade 0-1, the geometry speaks for grade 3.",
    )


def test_without_ventricles_only_the_volume_is_graded():
    labels = np.zeros((10, 10, 3), np.uint8)
    labels[2:5, 2:5, 1] = 2
    grades = fazekas(labels, None, SPACING, voxel_volume_ml=1.0)  # 9 mL
    assert grades.volume_grade == 1
    assert (grades.periventricular, grades.deep, grades.total, grades.agreement) == (None,) * 4


def test_the_likelihood_of_deep_grades_by_hand():
    # Log-variance: mean of ln(1 + (sd / mean)^2) = (.87408 + .81028 + .88099) / 3 = .85512.
    # Log-means: ln(3.30, 10.99, 15.57) - .42756 = .76636, 1.96943, 2.31778. Volume: ln 10.99 = 2.39699.
    # exp(-(1.63063^2, .42756^2, .07921^2) / 1.71024) = .21124, .89862, .99634; their sum is 2.10620.
    shares = likelihood("deep", 10.99)
    assert list(shares.values()) == pytest.approx([0.1003, 0.4267, 0.4730], abs=1e-4)


@pytest.mark.parametrize("zone", ["periventricular", "deep"])
def test_more_volume_never_speaks_for_a_lower_grade(zone):
    shares = np.array([list(likelihood(zone, ml).values()) for ml in np.geomspace(0.01, 300, 60)])
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (np.diff(shares[:, 0]) <= 0).all()
    assert (np.diff(shares[:, 2]) >= 0).all()
    assert shares[0, 0] > 0.9
    assert shares[-1, 2] > shares[-1, 1] > shares[-1, 0]
