"""Slices of a tilted CT gantry: read as they lie, brought upright for the networks, and back voxel for voxel."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import OBLIQUE, blob, oriented_affine, world, write_dicom_series

from csvd.errors import InputError
from csvd.grid import LARGEST_SHEAR, shear, upright_steps
from csvd.image import Grid, Image, read_image, resample, upright_grid, write_image
from csvd.measure.zones import ventricle_distance

SHAPE, SPACING_MM = (90, 100, 24), (2.0, 2.1, 5.0)


def tilted(degrees, rotation=None, shape=SHAPE, spacing_mm=SPACING_MM, signs=(1, 1, 1)):
    """Slices ``spacing_mm`` apart at a right angle, nodding by ``degrees`` while the table goes along its own axis."""
    affine = oriented_affine((0, 1, 2), signs, spacing_mm, shape, rotation)
    backwards = affine[:3, 1] / np.linalg.norm(affine[:3, 1])
    affine[:3, 2] += backwards * spacing_mm[2] * np.tan(np.radians(degrees))
    affine[:3, 3] = np.array((3.0, -12.0, 20.0)) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


THIN = {"shape": (90, 100, 120), "spacing_mm": (2.0, 2.1, 1.0)}
TILTS = [
    pytest.param(Grid(SHAPE, tilted(20)), id="20"),
    pytest.param(Grid(SHAPE, tilted(-25)), id="-25"),
    pytest.param(Grid(SHAPE, tilted(12, OBLIQUE, signs=(-1, -1, 1))), id="12-oblique-LPS"),
    pytest.param(Grid(THIN["shape"], tilted(20, **THIN)), id="20-thin"),
]


@pytest.mark.parametrize("native", TILTS)
def test_a_slanted_grid_has_the_same_slices_upright(native):
    upright = upright_grid(native)
    assert shear(upright.affine) < 1e-9
    assert upright.shape[2] == native.shape[2]
    assert upright.spacing_mm == pytest.approx(native.spacing_mm)
    normal = upright.affine[:3, 2] / upright.spacing_mm[2]
    assert upright.affine[:3, 3] @ normal == pytest.approx(native.affine[:3, 3] @ normal)
    # Every native voxel lies in the upright box.
    index = np.linalg.inv(upright.affine) @ native.affine @ [*(np.array(native.shape) - 1), 1]
    assert (index[:3] > -0.6).all()
    assert (index[:3] < np.array(upright.shape) - 0.4).all()


def test_a_slanted_voxel_has_its_own_volume_and_its_distance_at_a_right_angle():
    grid = Grid(SHAPE, tilted(25))
    assert grid.spacing_mm == pytest.approx(SPACING_MM)
    assert np.linalg.norm(grid.affine[:3, 2]) == pytest.approx(5 / np.cos(np.radians(25)))
    assert grid.voxel_volume_ml == pytest.approx(0.021)  # 2 x 2.1 x 5 mm: a prism keeps its volume when it leans
    assert grid.slice_axis == 2


def test_a_straight_grid_is_upright_already():
    grid = Grid(SHAPE, oriented_affine((1, 2, 0), (1, -1, 1), (2, 3, 5), SHAPE, OBLIQUE))
    assert upright_grid(grid) is grid
    assert np.array_equal(upright_steps(grid.affine), grid.affine[:3, :3])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slices_may_lie_along_any_axis(axis):
    order = np.roll([0, 1, 2], axis + 1)  # where right, anterior and superior are stored
    affine = tilted(20)
    stored = affine.copy()
    stored[:, :3] = affine[:, np.argsort(order)]
    shape = tuple(np.array(SHAPE)[np.argsort(order)])
    upright = upright_grid(Grid(shape, stored))
    assert upright.spacing_mm == pytest.approx(np.array(SPACING_MM)[np.argsort(order)])
    assert upright.shape[order[2]] == SHAPE[2]


@pytest.mark.parametrize("native", TILTS)
def test_a_picture_comes_upright_and_back_to_its_place(native):
    upright = upright_grid(native)
    there = resample(blob(*world(native.shape, native.affine)), native, upright)
    seen = resample(np.ones(native.shape), native, upright) > 0
    assert np.abs(there - blob(*world(upright.shape, upright.affine)))[seen].max() < 0.6  # of 100
    back = resample(there, upright, native)
    inner = (slice(2, -2),) * 3
    assert np.abs(back - blob(*world(native.shape, native.affine)))[inner].max() < 0.8


@pytest.mark.parametrize("native", TILTS)
def test_a_mask_goes_upright_and_back_within_half_a_voxel(native):
    points = np.stack(world(native.shape, native.affine))
    centre = np.array((20.0, -30.0, 35.0))
    mask = ((points - centre[:, None, None, None]) ** 2).sum(axis=0) < 18**2
    upright = upright_grid(native)
    back = resample(resample(mask, native, upright), upright, native) >= 0.5
    moved = np.argwhere(back).mean(0) - np.argwhere(mask).mean(0)
    assert np.abs(moved).max() < 0.1
    assert np.count_nonzero(back) == pytest.approx(np.count_nonzero(mask), rel=0.01)
    assert 2 * np.count_nonzero(back & mask) > 0.98 * (np.count_nonzero(back) + np.count_nonzero(mask))


def test_every_slice_stays_in_its_plane():
    """One bright slice stays one slice: a tilt moves within slices and mixes none."""
    native = Grid(SHAPE, tilted(20))
    voxels = np.zeros(SHAPE, np.float32)
    voxels[:, :, 7] = 100
    there = resample(voxels, native, upright_grid(native))
    assert np.unique(np.nonzero(there > 1e-3)[2]).tolist() == [7]
    assert there[50, 60, 7] == pytest.approx(100)


@pytest.mark.parametrize(
    ("degrees", "mm"), [(20, 5 * np.tan(np.radians(20))), (-25, -5 * np.tan(np.radians(25))), (0, 0)]
)
def test_the_slant_is_what_a_slice_is_moved_against_the_one_below(degrees, mm):
    assert Grid(SHAPE, tilted(degrees)).slant_mm == pytest.approx((0, mm, 0))


def test_the_distance_from_the_ventricles_goes_straight_up_and_not_along_the_table():
    """Over a ventricle of one pixel the next slice begins 2.5 mm above it."""
    ventricles = np.zeros((40, 40, 5), bool)
    ventricles[20, 20, 2] = True
    distance_mm = ventricle_distance(ventricles, (2.0, 2.0, 5.0), slant_mm=(0.0, 4.0, 0.0))
    assert distance_mm[20, 20, 2] == 0
    assert distance_mm[20, 18, 3] == pytest.approx(2.5)  # its pixels lie 4 mm, two pixels, further forward
    assert distance_mm[20, 22, 1] == pytest.approx(2.5)
    assert distance_mm[20, 20, 3] == pytest.approx(np.hypot(2.5, 4))
    assert distance_mm[20, 16, 4] == pytest.approx(7.5)


# Files


@pytest.fixture
def scan():
    return Image(np.random.default_rng(0).integers(-1000, 900, (20, 24, 9)).astype(np.int16),
                 tilted(18, shape=(20, 24, 9)))  # fmt: skip


def test_files_keep_the_slant(scan, tmp_path):
    for name in ("ct.nii.gz", "ct.nrrd"):
        write_image(scan, tmp_path / name)
        again = read_image(tmp_path / name, slanted=True)
        assert np.array_equal(again.voxels, scan.voxels)
        assert again.grid.matches(scan.grid)


def test_the_qform_beside_a_slanted_sform_has_its_pixels_and_its_slices_upright(scan, tmp_path):
    write_image(scan, tmp_path / "ct.nii.gz")
    header = nibabel.load(tmp_path / "ct.nii.gz").header
    assert np.allclose(header.get_sform(), scan.affine, atol=1e-4)
    assert np.allclose(header.get_qform()[:3, :3], upright_steps(scan.affine), atol=1e-4)
    image = sitk.ReadImage(str(tmp_path / "ct.nii.gz"))  # what Slicer's reader makes of it
    assert image.GetSpacing() == pytest.approx(SPACING_MM, abs=1e-4)
    assert "sform, which says so, is used" in read_image(tmp_path / "ct.nii.gz", slanted=True).warnings[0]


def test_an_nrrd_keeps_its_slant_for_itk_and_slicer(scan, tmp_path):
    write_image(scan, tmp_path / "ct.nrrd")
    image = sitk.ReadImage(str(tmp_path / "ct.nrrd"))
    steps = np.diag([-1.0, -1, 1]) @ np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    assert np.allclose(steps, scan.affine[:3, :3], atol=1e-6)


def test_a_dicom_series_of_a_tilted_gantry_is_read_in_hounsfield_units(scan, tmp_path):
    """Stored from 0 on with an intercept of -1024; the padding that scanners write becomes -3024."""
    stored = (scan.voxels + 1024).astype(np.int16)
    stored[:2] = -2000
    tags = {"0028|1052": "-1024", "0028|1053": "1"}
    # GDCM's writer takes the intercept off again, so the values are given as they shall be read.
    write_dicom_series(tmp_path / "ct", stored - 1024, scan.affine, modality="CT", description="head", tags=tags)
    image = read_image(tmp_path / "ct", slanted=True)
    assert image.modality == "CT"
    assert image.grid.matches(Grid(scan.voxels.shape, scan.affine), tolerance_mm=1e-2)
    assert image.voxels[2:].tolist() == scan.voxels[2:].tolist()
    assert set(image.voxels[:2].ravel().tolist()) == {-3024}


def test_slices_that_leave_the_table_s_line_are_refused(scan, tmp_path):
    paths = write_dicom_series(tmp_path / "ct", scan.voxels, scan.affine, modality="CT")
    one = sitk.ReadImage(str(paths[4]))
    position = [float(mm) for mm in one.GetMetaData("0020|0032").split("\\")]
    position[0] += 6
    one.SetOrigin(position)
    one.SetMetaData("0020|0032", "\\".join(map(str, position)))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(paths[4]))
    writer.Execute(one)
    with pytest.raises(InputError, match="beside the line"):
        read_image(tmp_path / "ct", slanted=True)


def test_who_did_not_ask_for_slanted_slices_gets_none(scan, tmp_path):
    write_image(scan, tmp_path / "ct.nrrd")
    with pytest.raises(InputError, match=r"slanted voxels .* 18\.0 degrees"):
        read_image(tmp_path / "ct.nrrd")
    write_image(Image(scan.voxels, tilted(40, shape=(20, 24, 9))), tmp_path / "ct.nrrd")
    with pytest.raises(InputError, match="more than the 35 degrees"):
        read_image(tmp_path / "ct.nrrd", slanted=True)


def test_an_affine_s_rounding_is_no_slant():
    affine = oriented_affine((0, 1, 2), (1, 1, 1), (0.5, 0.5, 5), (512, 512, 30))
    affine[1, 2] = 0.5 * LARGEST_SHEAR * 5
    grid = Grid((512, 512, 30), affine)
    assert upright_grid(grid) is grid
