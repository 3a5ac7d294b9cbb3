"""The mid-sagittal plane is found where a head was laid at a known angle."""

import numpy as np
import pytest
from phantoms import oriented_affine, world
from scipy.spatial.transform import Rotation

from csvd.grid import Grid
from csvd.measure.hemispheres import hemisphere_shares
from csvd.midplane import find_midplane, mirrored, other_side

SHAPE, SPACING_MM = (90, 104, 34), (2.2, 2.2, 5.0)
GRID = Grid(SHAPE, oriented_affine((0, 1, 2), (1, 1, 1), SPACING_MM, SHAPE, centre_mm=(0, 0, 0)))
RADII_MM = np.array([66.0, 84.0, 72.0])


def head(angles_deg=(0, 0, 0), shift_mm=(0, 0, 0), grid=GRID, base=True):
    """An ellipsoid, flat at its base, turned about its middle; and its true plane."""
    turn = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    points = np.stack(world(grid.shape, grid.affine)) - np.reshape(shift_mm, (3, 1, 1, 1))
    own = np.einsum("ji,j...->i...", turn, points)
    mask = ((own / RADII_MM[:, None, None, None]) ** 2).sum(0) < 1
    if base:
        mask &= own[2] > -45 + 0.3 * own[1]
    return mask, (*turn[:, 0], float(turn[:, 0] @ np.array(shift_mm)))


def angle_deg(a, b):
    return np.degrees(np.arccos(min(1.0, float(np.dot(a[:3], b[:3])))))


@pytest.mark.parametrize("angles", [(0, 0, 0), (0, 0, 15), (0, 10, 0), (12, -8, -14), (-20, 5, 10)])
def test_a_turned_head_is_parted_in_its_middle(angles):
    mask, truth = head(angles, (6, -9, 4))
    plane = find_midplane(mask, GRID)
    assert np.linalg.norm(plane[:3]) == pytest.approx(1)
    assert plane[0] > 0
    assert angle_deg(plane, truth) < 1.5
    middle = np.array([6, -9, 14])
    assert abs(np.dot(plane[:3], middle) - plane[3] - (np.dot(truth[:3], middle) - truth[3])) < 1.0
    left, right = hemisphere_shares(mask, GRID.affine, plane)
    assert left / right == pytest.approx(1, abs=0.03)


def test_a_stack_stored_the_other_way_round_has_the_same_plane():
    grid = Grid(SHAPE, oriented_affine((0, 1, 2), (-1, -1, 1), SPACING_MM, SHAPE, centre_mm=(0, 0, 0)))
    mask, truth = head((0, 6, 12), grid=grid)
    assert angle_deg(find_midplane(mask, grid), truth) < 1.5


def test_what_is_missing_on_one_side_does_not_pull_the_plane():
    mask, truth = head((0, 0, 8))
    mask[60:, 70:, 20:] = False
    plane = find_midplane(mask, GRID)
    assert angle_deg(plane, truth) < 2.5
    assert abs(plane[3] - truth[3]) < 2


def test_no_head_has_no_plane():
    assert find_midplane(np.zeros(SHAPE, bool), GRID) is None


def test_a_point_s_mirror_image_is_as_far_behind_the_plane():
    plane = (0.6, 0.8, 0.0, 5.0)
    assert mirrored(np.array([3.0, 4.0, 7.0]), plane) == pytest.approx([3.0, 4.0, 7.0])  # on it
    assert mirrored(np.array([9.0, 12.0, 1.0]), plane) == pytest.approx([-3.0, -4.0, 1.0])


def test_the_other_side_of_a_picture_is_what_lies_there():
    right = np.where(GRID.affine[0, 0] * np.arange(SHAPE[0]) + GRID.affine[0, 3] > 0, 100.0, 20.0)
    voxels = np.broadcast_to(right[:, None, None], SHAPE).astype(np.float32)
    swapped = other_side(voxels, GRID, (1.0, 0.0, 0.0, 0.0), outside=-1000)
    assert swapped[10, 50, 10] == pytest.approx(100)
    assert swapped[80, 50, 10] == pytest.approx(20)
    assert other_side(voxels, GRID, (1.0, 0.0, 0.0, 60.0), outside=-1000)[2, 50, 10] == -1000
