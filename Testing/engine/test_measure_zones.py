import tracemalloc

import numpy as np
import pytest

from csvd.measure.zones import periventricular, ventricle_distance


def test_within_a_thick_slice_the_distance_is_the_in_plane_one():
    ventricles = np.zeros((20, 20, 3), bool)
    ventricles[4, 10, 1] = True
    distance = ventricle_distance(ventricles, (0.5, 2.0, 8.0))
    assert distance.dtype == np.float32
    assert distance[4, 10, 1] == 0
    assert distance[10, 10, 1] == pytest.approx(3.0)  # 6 pixels of .5 mm
    assert distance[4, 13, 1] == pytest.approx(6.0)  # 3 pixels of 2 mm
    assert distance[12, 11, 1] == pytest.approx(np.hypot(4, 2))


def test_a_ventricle_fills_its_slab_so_the_next_8_mm_slice_is_4_mm_away():
    ventricles = np.zeros((20, 5, 4), bool)
    ventricles[10, 2, 1] = True
    distance = ventricle_distance(ventricles, (1.0, 1.0, 8.0))
    assert distance[10, 2, 2] == pytest.approx(4.0)  # 8 - 8 / 2
    assert distance[10, 2, 0] == pytest.approx(4.0)
    assert distance[10, 2, 3] == pytest.approx(12.0)  # 2 * 8 - 8 / 2
    assert distance[13, 2, 2] == pytest.approx(5.0)  # 3 mm aside and 4 mm up: 3-4-5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_distance_equals_a_search_over_every_ventricle_voxel(axis):
    rng = np.random.default_rng(axis)
    spacing = np.array([0.8, 1.3, 0.9])
    spacing[axis] = 5.0
    ventricles = rng.random((12, 11, 10)) < 0.01
    assert ventricles.any()

    voxels = np.argwhere(np.ones(ventricles.shape, bool))
    apart = np.abs(voxels[:, None] - np.argwhere(ventricles)[None]) * spacing
    apart[..., axis] = np.maximum(0, apart[..., axis] - 5.0 / 2)
    nearest = np.sqrt((apart**2).sum(-1)).min(1).reshape(ventricles.shape)

    found = ventricle_distance(ventricles, spacing)
    np.testing.assert_allclose(found, np.minimum(nearest, 30), atol=1e-4)
    np.testing.assert_allclose(
        ventricle_distance(ventricles, spacing, farthest_mm=4), np.minimum(nearest, 4), atol=1e-4
    )


def test_the_slice_axis_can_be_given():
    ventricles = np.zeros((5, 5, 5), bool)
    ventricles[2, 2, 2] = True
    across_last = ventricle_distance(ventricles, (2, 2, 2))
    across_first = ventricle_distance(ventricles, (2, 2, 2), slice_axis=0)
    assert (across_last[2, 2, 3], across_last[3, 2, 2]) == (1, 2)
    assert (across_first[2, 2, 3], across_first[3, 2, 2]) == (2, 1)


def test_a_mask_of_numbers_counts_like_one_of_booleans():
    ventricles = np.zeros((9, 9, 3), np.uint8)
    ventricles[4, 4, 1] = 1
    assert ventricle_distance(ventricles, (1, 1, 5))[7, 4, 1] == pytest.approx(3)


def test_beyond_30_mm_the_distance_is_30_and_without_ventricles_infinite():
    ventricles = np.zeros((80, 3, 3), bool)
    assert np.isposinf(ventricle_distance(ventricles, (1, 1, 5))).all()
    ventricles[0] = True
    distance = ventricle_distance(ventricles, (1, 1, 5))
    assert distance[29, 1, 1] == 29
    assert (distance[30:] == 30).all()


def test_memory_beyond_the_result_does_not_grow_with_the_number_of_slices():
    def extra_bytes(slices):
        ventricles = np.zeros((64, 64, slices), bool)
        ventricles[28:36, 20:44] = True
        tracemalloc.start()
        result = ventricle_distance(ventricles, (1, 1, 3))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - result.nbytes

    assert extra_bytes(320) < 1.5 * extra_bytes(40)


def test_the_voxel_rule_cuts_a_lesion_at_the_limit():
    mask = np.zeros((16, 1, 1), bool)
    mask[5:14] = True
    distance = np.arange(16, dtype=np.float32).reshape(16, 1, 1)
    labels = periventricular(mask, distance, 10.0)
    assert labels.dtype == np.uint8
    assert labels.ravel().tolist() == [0] * 5 + [1] * 5 + [2] * 4 + [0] * 2  # 5 .. 9 mm, then 10 .. 13 mm
    assert np.count_nonzero(periventricular(mask, distance, 7.5) == 1) == 3  # 5, 6, 7 mm


def test_the_cluster_rule_gives_a_whole_lesion_to_the_zone_of_its_nearest_voxel():
    mask = np.zeros((20, 1, 1), bool)
    mask[2:9] = mask[12:15] = True
    distance = np.arange(20, dtype=np.float32).reshape(20, 1, 1)
    labels = periventricular(mask, distance, 2.0, rule="cluster")
    assert (labels[2:9] == 1).all()
    assert (labels[12:15] == 2).all()
    assert not labels[~mask].any()
    assert (periventricular(mask, distance, 1.9, rule="cluster")[mask] == 2).all()


@pytest.mark.parametrize("rule", ["voxel", "cluster"])
def test_an_empty_mask_has_no_zone(rule):
    mask = np.zeros((4, 4, 4), bool)
    assert not periventricular(mask, np.ones(mask.shape, np.float32), 10, rule).any()


def test_an_unknown_rule_is_refused_by_name():
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(ValueError, match='not "nearest"'):
        periventricular(mask, np.ones(mask.shape, np.float32), 10, "nearest")
