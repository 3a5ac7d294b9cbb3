import json
from dataclasses import asdict

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import pdist

from csvd.measure.clusters import Clusters
from csvd.measure.lesions import lesion_table, size_class


def table(mask, spacing=(1, 1, 5), affine=None, probability=None, labels=None):
    affine = np.diag([*spacing, 1.0]) if affine is None else affine
    probability = np.ones(mask.shape, np.float32) if probability is None else probability
    return lesion_table(mask, spacing, affine, probability=probability, labels=labels)


def mask_of(shape, *voxels):
    mask = np.zeros(shape, bool)
    mask[tuple(np.transpose(voxels))] = True
    return mask


def test_one_voxel_measures_its_own_diagonal_and_volume():
    (lesion,) = table(mask_of((5, 5, 3), (2, 2, 1)), spacing=(3, 4, 5))
    assert lesion.diameter_mm == pytest.approx(5)  # 3-4-5
    assert lesion.volume_ml == pytest.approx(0.060)  # 3 * 4 * 5 mm3
    assert lesion.size == "medium"


def test_a_diagonal_lesion_of_oblong_pixels():
    # Three pixels corner to corner, 1 x 2 mm each: 3 mm by 6 mm, sqrt(9 + 36).
    (lesion,) = table(mask_of((6, 6, 2), (1, 1, 0), (2, 2, 0), (3, 3, 0)), spacing=(1, 2, 6))
    assert lesion.diameter_mm == pytest.approx(np.sqrt(45))


def test_the_diameter_is_the_lesions_and_not_that_of_its_box():
    # A plus of five pixels: from the end of one arm to the far corner of the opposite one, 3 mm by 1 mm.
    plus = mask_of((5, 5, 1), (1, 2, 0), (2, 1, 0), (2, 2, 0), (2, 3, 0), (3, 2, 0))
    assert table(plus)[0].diameter_mm == pytest.approx(np.sqrt(10))


def test_the_diameter_is_the_longest_within_a_slice_and_not_across_slices():
    column = np.zeros((4, 4, 8), bool)
    column[1, 1, :] = True
    column[2, 1, 3] = True
    assert table(column)[0].diameter_mm == pytest.approx(np.hypot(2, 1))


def test_the_slice_with_the_largest_box_need_not_hold_the_longest_diameter():
    mask = np.zeros((7, 7, 2), bool)
    i, j = np.mgrid[-3:4, -3:4]
    mask[..., 0] = abs(i) + abs(j) <= 2  # a diamond in a box of 5 x 5 mm, from tip to tip sqrt(5^2 + 1^2)
    mask[1:6, 1:5, 1] = True  # 5 x 4 mm, all of it
    assert table(mask)[0].diameter_mm == pytest.approx(np.sqrt(41))


def test_sagittal_slices_are_measured_in_their_own_plane():
    mask = mask_of((3, 6, 6), (1, 2, 2), (1, 3, 2), (1, 4, 2), (2, 2, 2))
    assert table(mask, spacing=(5, 1, 1))[0].diameter_mm == pytest.approx(np.hypot(3, 1))


@pytest.mark.parametrize("seed", range(4))
def test_diameters_equal_a_search_over_all_pairs_of_corners(seed):
    rng = np.random.default_rng(seed)
    spacing = (0.7, 1.1, 4.0)
    mask = ndimage.gaussian_filter(rng.normal(size=(50, 40, 4)), (5, 5, 0.5)) > 0.05
    clusters = Clusters.of(mask, 2)
    found = clusters.in_plane_diameters_mm(spacing)
    for n in range(clusters.count):
        voxels = np.stack(clusters.index, 1)[clusters.label == n + 1]
        longest = 0
        for k in np.unique(voxels[:, 2]):
            pixels = voxels[voxels[:, 2] == k, :2]
            corners = np.concatenate([pixels + shift for shift in ((0, 0), (0, 1), (1, 0), (1, 1))]) * spacing[:2]
            longest = max(longest, pdist(corners).max())
        assert found[n] == pytest.approx(longest)


def test_voxels_that_share_only_a_corner_are_one_lesion():
    assert len(table(mask_of((4, 4, 4), (1, 1, 1), (2, 2, 2)))) == 1
    assert len(table(mask_of((4, 4, 4), (0, 0, 0), (2, 0, 0)))) == 2


def test_lesions_are_counted_as_simpleitk_counts_them():
    mask = np.random.default_rng(0).random((30, 31, 12)) < 0.06
    components = sitk.ConnectedComponentImageFilter()
    components.FullyConnectedOn()
    components.Execute(sitk.GetImageFromArray(mask.astype(np.uint8)))
    assert len(table(mask)) == components.GetObjectCount() > 100


def test_the_centroid_follows_an_oblique_affine():
    turn = np.radians(30)
    affine = np.array(
        [
            [2 * np.cos(turn), -3 * np.sin(turn), 0, 10],
            [2 * np.sin(turn), 3 * np.cos(turn), 0, -20],
            [0, 0, 5, 5],
            [0, 0, 0, 1],
        ]
    )
    (lesion,) = table(mask_of((6, 4, 2), (2, 0, 0), (3, 0, 0)), spacing=(2, 3, 5), affine=affine)
    # Index (2.5, 0, 0), 5 mm along an axis turned by 30 degrees: 10 + 5 cos 30, -20 + 5 sin 30, 5.
    assert lesion.centroid_mm == pytest.approx((14.330127, -17.5, 5))
    assert lesion.volume_ml == pytest.approx(0.060)  # 2 voxels of 30 mm3


def test_a_left_handed_affine_gives_positive_volumes_and_its_own_side():
    affine = np.array([[-1, 0, 0, 90], [0, 1, 0, -100], [0, 0, 5, -50], [0, 0, 0, 1.0]])
    (lesion,) = table(mask_of((20, 30, 5), (10, 20, 3)), affine=affine)
    assert lesion.centroid_mm == (80, -80, -35)
    assert lesion.volume_ml == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("mm3", "size"), [(19.9, "small"), (20, "medium"), (150, "medium"), (150.1, "large"), (20 - 1e-12, "medium")]
)
def test_size_classes_of_tiantan(mm3, size):
    assert size_class(mm3) == size


def test_the_zone_is_where_most_voxels_lie_and_a_tie_is_periventricular():
    mask = np.zeros((9, 3, 1), bool)
    mask[:4, 0] = mask[6:, 0] = True
    labels = np.zeros(mask.shape, np.uint8)
    labels[:4, 0, 0] = (1, 1, 2, 2)
    labels[6:, 0, 0] = (1, 2, 2)
    assert [lesion.zone for lesion in table(mask, labels=labels)] == ["periventricular", "deep"]
    assert {lesion.zone for lesion in table(mask)} == {"unknown"}


def test_probability_and_uncertainty_belong_to_each_lesion():
    probability = np.zeros((8, 1, 1), np.float32)
    probability[:4, 0, 0] = (0.6, 0.95, 0.95, 0.7)
    probability[6, 0, 0] = 0.99
    first, second = table(probability > 0, probability=probability)
    assert first.mean_probability == pytest.approx(0.8)  # 3.2 / 4
    assert first.uncertain_share == pytest.approx(0.5)  # .6 and .7
    assert (second.mean_probability, second.uncertain_share) == (pytest.approx(0.99), 0)


def test_lesions_are_numbered_by_falling_volume_and_plain_enough_for_json():
    mask = np.zeros((12, 1, 1), bool)
    mask[0] = mask[2:5] = mask[7:9] = True
    lesions = table(mask)
    assert [(lesion.id, round(lesion.volume_ml * 200)) for lesion in lesions] == [(1, 3), (2, 2), (3, 1)]
    assert json.loads(json.dumps([asdict(lesion) for lesion in lesions]))[0]["size"] == "small"


def test_no_lesion_is_an_empty_table():
    assert table(np.zeros((4, 4, 4), bool)) == []
