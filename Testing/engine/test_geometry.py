"""No swapped axes, no flipped sides, no half-voxel shifts: on every orientation, into the network's grid and back."""

import nibabel
import numpy as np
import pytest
from phantoms import OBLIQUE, ORIENTATIONS, blob, oriented_affine, ramp, world

from csvd.grid import corners, shear, world_axes
from csvd.image import (
    Grid,
    Image,
    axial_grid,
    cropped_grid,
    read_image,
    resample,
    resized_grid,
    write_image,
)

SHAPE = (44, 52, 20)
SPACING_MM = (4.0, 3.5, 6.0)
ROTATIONS = {"straight": np.eye(3), "oblique": OBLIQUE}


def scans():
    for name, rotation in ROTATIONS.items():
        for axes, signs in ORIENTATIONS:
            letters = "".join(("LR", "PA", "IS")[axis][sign > 0] for axis, sign in zip(axes, signs, strict=True))
            yield pytest.param(
                Grid(SHAPE, oriented_affine(axes, signs, SPACING_MM, SHAPE, rotation)), id=f"{name}-{letters}"
            )


every_orientation = pytest.mark.parametrize("native", list(scans()))


def inside(source: Grid, target: Grid) -> np.ndarray:
    """Target voxels whose centres lie between the centres of source voxels, where a linear function is kept exactly."""
    x, y, z = world(target.shape, target.affine)
    points = np.stack([x, y, z, np.ones_like(x)])
    index = np.tensordot(np.linalg.inv(source.affine), points, 1)[:3]
    last = np.array(source.shape).reshape(3, 1, 1, 1) - 1
    return ((index >= 0) & (index <= last)).all(axis=0)


def test_there_are_48_different_orientations_half_of_them_left_handed():
    affines = [oriented_affine(axes, signs, SPACING_MM, SHAPE)[:3, :3] for axes, signs in ORIENTATIONS]
    assert len({tuple(np.sign(a).ravel()) for a in affines}) == 48
    assert sum(np.linalg.det(a) < 0 for a in affines) == 24


@every_orientation
def test_axial_axes_point_right_anterior_superior_and_keep_the_native_slices(native):
    axial = axial_grid(native, 3.0)
    directions = axial.affine[:3, :3] / axial.spacing_mm
    assert np.diag(directions).min() > 0.9
    assert np.allclose(np.abs(directions).max(axis=0), np.abs(np.diag(directions)))
    up = world_axes(native)[2]
    assert axial.spacing_mm == pytest.approx((3.0, 3.0, native.spacing_mm[up]))
    assert axial.shape[2] == native.shape[up]
    middle = [(n - 1) / 2 for n in axial.shape]
    for k in (0, 7, axial.shape[2] - 1):
        centre = axial.affine @ [middle[0], middle[1], k, 1]
        native_index = np.linalg.inv(native.affine) @ centre
        assert native_index[up] == pytest.approx(round(native_index[up]), abs=1e-9)
        for axis in set(range(3)) - {up}:
            assert native_index[axis] == pytest.approx((native.shape[axis] - 1) / 2)


@every_orientation
def test_every_axial_voxel_shows_the_world_at_its_own_place(native):
    axial = axial_grid(native, 3.0)
    scan = ramp(*world(native.shape, native.affine)).astype(np.float32)
    seen = resample(scan, native, axial)
    there = inside(native, axial)
    assert there.mean() > 0.8
    assert np.abs(seen - ramp(*world(axial.shape, axial.affine)))[there].max() < 0.01
    # The tolerance above is fine enough: half a voxel off, or a side flipped, is seen hundreds of times over.
    shifted = axial.affine.copy()
    shifted[:3, 3] += shifted[:3, 0] / 2
    assert np.abs(seen - ramp(*world(axial.shape, shifted)))[there].min() > 1


@every_orientation
def test_what_goes_to_the_axial_grid_comes_back_in_place(native):
    truth = blob(*world(native.shape, native.affine)).astype(np.float32)
    axial = axial_grid(native, 2.0)
    back = resample(resample(truth, native, axial), axial, native)
    assert back.shape == truth.shape
    assert np.abs(back - truth).max() < 0.02 * truth.max()
    others = [np.abs(np.flip(back, axis) - truth).max() for axis in range(3)]
    assert min(others) > 0.3 * truth.max()


@every_orientation
def test_a_written_scan_reads_back_on_the_same_grid_here_and_in_nibabel(native, tmp_path):
    voxels = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE)
    write_image(Image(voxels, native.affine), tmp_path / "scan.nii")
    image, peer = read_image(tmp_path / "scan.nii"), nibabel.load(tmp_path / "scan.nii")
    assert np.array_equal(image.voxels, voxels)
    assert np.array_equal(np.asanyarray(peer.dataobj), voxels)
    assert image.voxels.dtype == np.int32
    for affine in (image.affine, peer.get_sform(), peer.get_qform()):
        assert np.abs(affine - native.affine).max() < 1e-4
    assert peer.header["qform_code"] == peer.header["sform_code"] == 1
    write_image(Image(voxels, native.affine), tmp_path / "scan.nrrd")
    again = read_image(tmp_path / "scan.nrrd")
    assert np.array_equal(again.voxels, voxels)
    assert np.abs(again.affine - native.affine).max() < 1e-9


def test_an_oblique_scan_keeps_its_own_slice_planes():
    native = Grid(SHAPE, oriented_affine((0, 1, 2), (-1, -1, 1), SPACING_MM, SHAPE, OBLIQUE))
    axial = axial_grid(native, 1.0)
    assert np.allclose(axial.affine[:3, 2], native.affine[:3, 2])
    assert shear(axial.affine) < 1e-12


def test_a_sagittal_scan_with_slices_from_left_to_right_becomes_axial():
    shape = (60, 50, 30)  # anterior-posterior, superior-inferior, left-right
    native = Grid(shape, oriented_affine((1, 2, 0), (-1, -1, 1), (1.0, 1.0, 4.0), shape))
    axial = axial_grid(native, 1.0)
    assert axial.shape == (120, 60, 50)
    assert axial.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    assert native.slice_axis == 2
    assert axial.slice_axis == 2


def test_320_voxels_of_0_71875_mm_are_230_of_1_mm_even_where_the_header_rounds():
    native = Grid((320, 320, 40), np.diag([0.7187501, 0.7187501, 3.0, 1.0]))
    assert axial_grid(native, 1.0).shape == (230, 230, 40)


def test_the_field_of_view_of_the_axial_grid_is_centred_on_the_native_one():
    native = Grid((10, 10, 4), np.diag([1.0, 1.0, 5.0, 1.0]))
    axial = axial_grid(native, 3.0)  # 10 mm need 4 voxels of 3 mm; native centre is at 4.5 mm
    assert axial.shape == (4, 4, 4)
    assert axial.affine[:3, 3] == pytest.approx((0.0, 0.0, 0.0))  # 4.5 - 1.5 * 3


def test_resampling_onto_the_same_grid_changes_nothing():
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    grid = Grid(SHAPE, oriented_affine((2, 0, 1), (1, -1, 1), SPACING_MM, SHAPE, OBLIQUE))
    assert np.abs(resample(voxels, grid, grid) - voxels).max() < 1e-5


def test_the_fast_path_for_flipped_grids_agrees_with_the_general_one():
    rng = np.random.default_rng(1)
    native = Grid((12, 14, 9), oriented_affine((2, 0, 1), (1, -1, -1), (1.0, 1.4, 3.0), (12, 14, 9)))
    axial = axial_grid(native, 0.8)
    slightly = axial.affine.copy()
    slightly[0, 1] += 1e-5  # too little to matter, enough to leave the fast path
    voxels = rng.normal(size=native.shape).astype(np.float32)
    fast, general = resample(voxels, native, axial), resample(voxels, native, Grid(axial.shape, slightly))
    assert np.abs(fast - general).max() < 5e-3


def test_beyond_the_outer_faces_is_outside_and_up_to_them_the_edge_holds():
    source = Grid((2, 1, 1), np.eye(4))
    target_affine = np.eye(4)
    target_affine[0, 0], target_affine[0, 3] = 0.25, -0.75
    target = Grid((10, 1, 1), target_affine)
    seen = resample(np.array([10.0, 20.0], np.float32).reshape(2, 1, 1), source, target, outside=-1)
    # centres at -.75 -.5 -.25 0 .25 .5 .75 1 1.25 1.5
    assert seen.ravel() == pytest.approx([-1, 10, 10, 10, 12.5, 15, 17.5, 20, 20, 20])


def test_labels_take_the_nearest_voxel_and_keep_their_type():
    source = Grid((3, 1, 1), np.eye(4))
    affine = np.diag([0.5, 1.0, 1.0, 1.0])
    affine[0, 3] = -0.25
    labels = np.array([3, 0, 7], np.uint8).reshape(3, 1, 1)
    seen = resample(labels, source, Grid((6, 1, 1), affine), order=0)
    assert seen.dtype == np.uint8
    assert seen.ravel().tolist() == [3, 3, 0, 0, 7, 7]
    assert resample(labels > 0, source, source, order=0).dtype == bool


def test_a_coarser_target_averages_instead_of_picking_every_third_voxel():
    stripes = np.zeros((60, 8, 8), np.float32)
    stripes[::2] = 100  # the finest pattern there is: its mean is 50 everywhere
    fine = Grid(stripes.shape, np.eye(4))
    coarse = axial_grid(fine, 4.0)
    seen = resample(stripes, fine, coarse)
    assert np.abs(seen[2:-2] - 50).max() < 1
    assert resample(stripes, fine, fine).max() == 100


def test_smoothing_widens_a_voxels_view_by_the_difference_of_the_variances():
    line = np.zeros((81, 1, 1), np.float32)
    line[40] = 1
    source = Grid(line.shape, np.eye(4))
    affine = np.diag([3.0, 1.0, 1.0, 1.0])
    affine[0, 3] = 1.0
    seen = resample(line, source, Grid((27, 1, 1), affine)).ravel()
    # sigma = .5 sqrt(9 - 1) = sqrt(2) source voxels: the peak of a Gaussian of unit area is 1 / (sqrt(2) sqrt(2 pi))
    assert seen[13] == pytest.approx(0.2821, abs=0.002)
    assert seen[12] == pytest.approx(0.2821 * np.exp(-9 / 4), abs=0.002)


def test_voxels_of_another_shape_than_their_grid_are_refused():
    grid = Grid((4, 5, 6), np.eye(4))
    with pytest.raises(ValueError, match="do not lie"):
        resample(np.zeros((5, 4, 6)), grid, grid)


def test_spacing_volume_and_slice_axis_come_from_the_affine():
    grid = Grid((100, 120, 30), oriented_affine((1, 2, 0), (1, -1, 1), (0.5, 0.6, 5.0), (100, 120, 30), OBLIQUE))
    assert grid.spacing_mm == pytest.approx((0.5, 0.6, 5.0))
    assert grid.extent_mm == pytest.approx((50.0, 72.0, 150.0))
    assert grid.voxel_volume_ml == pytest.approx(0.0015)
    assert grid.slice_axis == 2
    assert Grid((5, 5, 5), oriented_affine((2, 0, 1), (1, 1, 1), (1, 1, 1), (5, 5, 5))).slice_axis == 0


def test_grids_match_to_a_thousandth_of_a_millimetre_at_their_corners():
    grid = Grid(SHAPE, oriented_affine((0, 1, 2), (1, 1, 1), SPACING_MM, SHAPE))
    moved = grid.affine.copy()
    moved[0, 3] += 0.0005
    assert grid.matches(Grid(SHAPE, moved))
    moved[0, 3] += 0.001
    assert not grid.matches(Grid(SHAPE, moved))
    assert not grid.matches(Grid((44, 52, 21), grid.affine))


# Slices on a matrix of pixels


@every_orientation
def test_a_resized_slice_shows_its_whole_field_of_view_on_the_matrix(native):
    seen = resized_grid(native, (64, 40))
    assert seen.shape == (64, 40, native.shape[world_axes(native)[2]])
    directions = seen.affine[:3, :3] / seen.spacing_mm
    assert np.diag(directions).min() > 0.9
    assert np.allclose(np.abs(directions).max(axis=0), np.abs(np.diag(directions)))
    # Both boxes have the same eight outer corners.
    here, there = ((grid.affine @ corners(grid.shape))[:3].T for grid in (seen, native))
    apart = np.linalg.norm(here[:, None] - there[None], axis=2)
    assert apart.min(axis=0).max() < 1e-9
    assert apart.min(axis=1).max() < 1e-9


@every_orientation
def test_a_cropped_slice_is_the_middle_of_the_native_pixels(native):
    matrix = (17, 18)
    seen = cropped_grid(native, matrix)
    voxels = np.random.default_rng(3).normal(size=native.shape).astype(np.float32)
    axes = world_axes(native)
    turned = voxels.transpose(axes)
    turned = np.flip(turned, [n for n, axis in enumerate(axes) if native.affine[n, axis] < 0])
    first = [(n - m) // 2 for n, m in zip(turned.shape, matrix, strict=False)]
    expected = turned[first[0] : first[0] + 17, first[1] : first[1] + 18]
    assert np.abs(resample(voxels, native, seen) - expected).max() < 1e-4
    assert np.array_equal(resample(voxels > 0, native, seen, order=0), expected > 0)


def test_a_slice_with_fewer_pixels_on_one_side_is_not_cropped():
    assert cropped_grid(Grid((384, 384, 20), np.eye(4)), (384, 384)).shape == (384, 384, 20)
    assert cropped_grid(Grid((512, 383, 20), np.eye(4)), (384, 384)) is None
    assert cropped_grid(Grid((320, 320, 20), np.eye(4)), (384, 384)) is None
    # The slices of a scan stored from the side are what lies along right and anterior: 400 x 512 here, of 20 x 400.
    sagittal = Grid((400, 20, 512), oriented_affine((0, 2, 1), (1, 1, -1), (1, 1, 1), (400, 20, 512)))
    assert cropped_grid(sagittal, (384, 384)).shape == (384, 384, 20)


MATRICES = {"512": (512, 512), "256": (256, 256), "oblong": (320, 384), "small": (200, 180), "odd": (255, 301)}
FIELD_MM = {"square": (230.0, 230.0), "oblong": (180.0, 240.0)}


@pytest.mark.parametrize("rotation", ROTATIONS.values(), ids=ROTATIONS)
@pytest.mark.parametrize("field_mm", FIELD_MM.values(), ids=FIELD_MM)
@pytest.mark.parametrize("native", MATRICES.values(), ids=MATRICES)
def test_a_mask_that_goes_to_the_models_matrix_and_back_keeps_place_and_volume(native, field_mm, rotation):
    """As probabilities do: linear both ways, cut at a half. The balls have a radius of 15 mm, on and off the middle."""
    shape, spacing_mm = (*native, 5), (field_mm[0] / native[0], field_mm[1] / native[1], 6.0)
    grid = Grid(shape, oriented_affine((0, 1, 2), (-1, 1, 1), spacing_mm, shape, rotation))
    points = np.stack(world(shape, grid.affine))
    mask = np.zeros(shape, bool)
    for place in ((0.5, 0.5, 0.5), (0.35, 0.6, 0.4)):
        centre = grid.affine @ [*(np.array(shape) - 1) * place, 1]
        mask |= ((points - centre[:3, None, None, None]) ** 2).sum(axis=0) < 15**2
    seen_on = [resized_grid(grid, (256, 256)), resized_grid(grid, (384, 384)), cropped_grid(grid, (384, 384))]
    for seen in [grid for grid in seen_on if grid is not None]:
        back = resample(resample(mask, grid, seen), seen, grid) >= 0.5
        assert np.count_nonzero(back) == pytest.approx(np.count_nonzero(mask), rel=0.015)
        assert 2 * np.count_nonzero(back & mask) > 0.97 * (np.count_nonzero(back) + np.count_nonzero(mask))
