import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial import KDTree

from csvd.measure.agreement import (
    bland_altman,
    concordance,
    dice,
    evaluate,
    hausdorff_mm,
    lesion_detection,
    pearson,
    volume_difference_percent,
)

EMPTY = np.zeros((6, 6, 4), bool)


def box(i, j, k, shape=(6, 6, 4)):
    mask = np.zeros(shape, bool)
    mask[i, j, k] = True
    return mask


def test_dice_by_hand():
    mask, truth = box(slice(0, 4), 0, 0), box(slice(2, 5), 0, 0)
    assert dice(mask, truth) == pytest.approx(4 / 7)  # 2 shared of 4 and 3
    assert dice(mask, EMPTY) == 0
    assert dice(EMPTY, EMPTY) == 1


def test_a_missed_slice_costs_a_whole_slice_spacing():
    truth = box(2, 2, slice(1, 3))
    mask = box(2, 2, 1)
    assert hausdorff_mm(mask, truth, (0.5, 0.5, 8), 100) == pytest.approx(8)
    assert hausdorff_mm(box(2, 5, 1), mask, (0.5, 0.5, 8)) == pytest.approx(1.5)


def test_the_boundary_is_that_within_the_slice():
    # A full square and its own one-pixel rim have the same boundary.
    full = box(slice(1, 6), slice(1, 6), 1, shape=(7, 7, 3))
    rim = full.copy()
    rim[2:5, 2:5, 1] = False
    assert hausdorff_mm(full, rim, (1, 1, 5), 100) == 0
    assert dice(full, rim) == pytest.approx(32 / 41)


@pytest.mark.parametrize("percentile", [95, 100])
def test_the_hausdorff_distance_is_the_challenges(percentile):
    rng = np.random.default_rng(3)
    spacing = (0.9, 1.1, 3.0)
    mask, truth = (np.kron(rng.random((8, 8, 6)) < 0.3, np.ones((4, 4, 1), bool)) for _ in range(2))

    def boundary_mm(m):
        image = sitk.GetImageFromArray(m.transpose(2, 1, 0).astype(np.uint8))
        rim = sitk.GetArrayFromImage(image - sitk.BinaryErode(image, (1, 1, 0)))
        return np.argwhere(rim.transpose(2, 1, 0)) * spacing

    a, b = boundary_mm(mask), boundary_mm(truth)
    expected = max(np.percentile(KDTree(x).query(y)[0], percentile) for x, y in ((a, b), (b, a)))
    assert hausdorff_mm(mask, truth, spacing, percentile) == pytest.approx(expected)
    assert expected > 0


def test_there_is_no_distance_to_an_empty_mask():
    assert hausdorff_mm(EMPTY, box(1, 1, 1), (1, 1, 5)) is None
    assert hausdorff_mm(box(1, 1, 1), EMPTY, (1, 1, 5)) is None


def test_the_volume_difference_is_a_share_of_the_truth():
    mask, truth = box(slice(0, 3), 0, 0), box(slice(0, 4), 0, 0)
    assert volume_difference_percent(mask, truth) == pytest.approx(25)
    assert volume_difference_percent(EMPTY, EMPTY) == 0
    assert volume_difference_percent(mask, EMPTY) is None


def lesion_example():
    """Truth: a lesion of 10 voxels and one of 2. Mask: 4 of the 10, none of the 2, and a cluster of its own."""
    truth, mask = np.zeros((20, 9, 3), bool), np.zeros((20, 9, 3), bool)
    truth[0:10, 0, 1] = truth[14:16, 0, 1] = True
    mask[6:10, 0, 1] = mask[5, 5, 1] = True
    return mask, truth


@pytest.mark.parametrize(
    ("share", "recall", "precision", "f1"), [(0, 0.5, 0.5, 0.5), (0.4, 0.5, 0.5, 0.5), (0.5, 0, 0, 0)]
)
def test_lesions_are_found_by_the_share_that_is_covered(share, recall, precision, f1):
    detection = lesion_detection(*lesion_example(), share)
    assert (detection.recall, detection.precision, detection.f1) == (recall, precision, f1)


def test_recall_and_precision_count_different_lesions():
    # One true lesion hit by two separate clusters, a second one missed, no false cluster.
    truth, mask = np.zeros((20, 3, 1), bool), np.zeros((20, 3, 1), bool)
    truth[0:10, 0] = truth[15, 0] = True
    mask[0:2, 0] = mask[6:8, 0] = True
    detection = lesion_detection(mask, truth)
    assert (detection.recall, detection.precision) == (0.5, 1)
    assert detection.f1 == pytest.approx(2 / 3)


def test_detection_with_empty_masks_follows_the_challenge():
    some = box(1, 1, 1)
    nothing_true, nothing_found = lesion_detection(some, EMPTY), lesion_detection(EMPTY, some)
    assert (nothing_true.recall, nothing_true.precision, nothing_true.f1) == (1, 0, 0)
    assert (nothing_found.recall, nothing_found.precision, nothing_found.f1) == (0, 1, 0)
    assert lesion_detection(EMPTY, EMPTY).f1 == 1


def test_concordance_is_lins_and_not_a_misprint_of_it():
    x, y = [1, 2, 3, 4], [2, 3, 4, 5]
    # s_x^2 = s_y^2 = s_xy = 1.25, means 1 apart: 2.5 / (1.25 + 1.25 + 1)
    assert concordance(x, y) == pytest.approx(2.5 / 3.5)
    without_the_means = 2.5 / (1.25 + 1.25)
    with_deviations_for_variances = 2.5 / (2 * np.sqrt(1.25) + 1)
    assert without_the_means == pytest.approx(pearson(x, y)) == pytest.approx(1)
    assert with_deviations_for_variances == pytest.approx(0.7725, abs=1e-4)


def test_concordance_falls_with_scale_where_correlation_does_not():
    x = [0, 2, 4]
    y = [0, 4, 8]
    # s_x^2 = 8/3, s_y^2 = 32/3, s_xy = 16/3, means 2 and 4: (32/3) / (40/3 + 4) = 32/52
    assert concordance(x, y) == pytest.approx(32 / 52)
    assert pearson(x, y) == pytest.approx(1)


def test_correlations_of_constants_do_not_exist():
    assert pearson([1, 1, 1], [1, 2, 3]) is None
    assert concordance([2, 2], [2, 2]) is None
    assert concordance([1], [1]) is None
    with pytest.raises(ValueError, match="equal length"):
        pearson([1, 2], [1, 2, 3])


def test_bland_altman_by_hand():
    # Differences 1, 2, 3: mean 2, SD 1.
    limits = bland_altman([2, 4, 6], [1, 2, 3])
    assert (limits.bias, limits.lower, limits.upper) == pytest.approx((2, 0.04, 3.96))
    assert bland_altman([1], [1]) is None


def test_evaluate_reports_every_metric_once():
    mask, truth = lesion_example()
    found = {m.name: m for m in evaluate(mask, truth, (1, 1, 5))}
    assert found["dice"].value == pytest.approx(8 / 17)  # 4 shared of 5 and 12
    assert found["volume"].value == pytest.approx(0.025)  # 5 voxels of 5 mm3
    assert found["volume_truth"].value == pytest.approx(0.060)
    assert found["volume_difference_percent"].value == pytest.approx(100 * 7 / 12)
    # From (15, 0) in the truth to the mask at (9, 0): 6 mm. From (5, 5) back to (5, 0): 5 mm.
    assert found["hausdorff"].value == pytest.approx(6)
    assert (found["lesion_recall"].value, found["lesion_recall_40"].value, found["lesion_recall_50"].value) == (
        0.5,
        0.5,
        0,
    )
    assert {"hausdorff_95", "lesion_precision", "lesion_f1", "lesion_f1_40", "lesion_f1_50"} <= set(found)


def test_evaluate_refuses_masks_on_different_grids():
    with pytest.raises(ValueError, match="one grid"):
        evaluate(EMPTY, EMPTY[:5], (1, 1, 1))
