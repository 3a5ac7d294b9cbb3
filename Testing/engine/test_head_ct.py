"""A head CT is made plain: air is air, the table is gone, slices are upright and thick, the brain is in the skull."""

import numpy as np
import pytest
from ct_phantom import BRAIN, SPACING_MM, STORED, around, head_ct, slanted, stored_as
from phantoms import oriented_affine, world
from tiny_models import PIXEL_MM, SHARED, Ellipsoid

from csvd.grid import shear
from csvd.head_ct import AIR_HU, find_head, in_air, thick_slices
from csvd.image import Image, read_image
from csvd.measure.agreement import dice

TEMPLATE = SHARED / "ct_template" / "scct_unsmooth_SS_0.01.nii.gz"


def inside(image, ellipsoid=BRAIN):
    return ellipsoid.holds(*world(image.voxels.shape, image.affine))


def test_the_skull_encloses_the_brain_and_nothing_else():
    head = find_head(head_ct(), 5.0)
    assert head.closed
    assert np.array_equal(head.cavity, inside(head.image))
    assert not (head.cavity & (head.image.voxels > 300)).any()
    assert head.brain_hu == pytest.approx(32, abs=1)


@pytest.mark.parametrize("name", STORED)
def test_whatever_is_stored_around_the_head_becomes_air(name):
    plain = find_head(head_ct(), 5.0)
    head = find_head(stored_as(head_ct(), name), 5.0)
    assert np.abs(head.image.voxels - plain.image.voxels).max() <= 3  # air varies by so much, padding does not
    assert np.array_equal(head.cavity, plain.cavity)
    assert head.image.voxels[0, 0].tolist() == [AIR_HU] * head.image.voxels.shape[2]


def test_fluid_of_0_hu_inside_the_head_is_no_padding():
    ct = stored_as(head_ct(levels={"ventricle": 0}), "cut at 0")
    plain = in_air(ct.voxels)
    assert np.count_nonzero(plain == 0) == np.count_nonzero(head_ct(levels={"ventricle": 0}).voxels == 0)


def test_air_below_minus_1000_hu_is_as_light_as_air():
    assert in_air(np.full((5, 5, 3), -2000, np.int16)).tolist() == np.full((5, 5, 3), -1000).tolist()


@pytest.mark.parametrize("name", ["-1024", "0", "cut at 0"])
def test_table_and_head_holder_are_gone(name):
    with_table = find_head(stored_as(head_ct(table=True), name), 5.0)
    without = find_head(head_ct(), 5.0)
    assert np.abs(with_table.image.voxels - without.image.voxels).max() <= 3


def test_a_head_that_the_image_cuts_off_keeps_its_brain():
    ct = head_ct()
    cut = Image(ct.voxels[24:], ct.affine @ oriented(24), "cut.nii.gz")
    head = find_head(cut, 5.0)
    assert np.array_equal(head.cavity, inside(head.image))


def oriented(first):
    shift = np.eye(4)
    shift[0, 3] = first
    return shift


def test_an_opened_skull_still_encloses_the_brain():
    """A bone flap of 60 mm is missing, and in that place skin lies on brain."""
    ct = head_ct()
    x, y, z = world(ct.voxels.shape, ct.affine)
    gone = (x > 25) & (np.abs(y + 12) < 30) & (np.abs(z - 30) < 20) & around(BRAIN, 6).holds(x, y, z)
    voxels = np.where(gone & ~BRAIN.holds(x, y, z), 30, ct.voxels).astype(np.int16)
    head = find_head(ct.like(voxels), 5.0)
    assert not (inside(head.image) & ~head.cavity).any()
    assert dice(head.cavity, inside(head.image)) > 0.97


def test_a_stripped_brain_has_no_skull_and_is_all_there_is():
    head = find_head(head_ct(skull=False, air=0), 5.0)
    assert not head.closed
    assert head.skull_ml == 0
    assert np.array_equal(head.cavity, inside(head.image))


@pytest.mark.parametrize("degrees", [0, 18, -25])
def test_slices_are_upright_and_thin_ones_averaged(degrees):
    shape = (96, 120, 96)
    ct = head_ct(slanted(degrees, shape, (PIXEL_MM, PIXEL_MM, 1.25)), shape)
    head = find_head(ct, 5.0)
    assert shear(head.image.affine) < 1e-9
    assert head.image.spacing_mm == pytest.approx(SPACING_MM)
    assert head.image.voxels.shape[2] == 24
    found, truth = head.cavity, inside(head.image)
    assert dice(found, truth) > 0.985
    middle = np.argwhere(found).mean(0) - np.argwhere(truth).mean(0)
    assert np.abs(middle).max() < 0.2


@pytest.mark.parametrize(("spacing_mm", "count", "averaged_mm"), [
    (0.625, 96, 5.0), (1.0, 90, 5.0), (1.25, 96, 5.0), (2.5, 48, 5.0), (3.0, 40, 6.0), (4.0, 30, 4.0), (5.0, 24, 5.0),
    (8.0, 15, 8.0),
])  # fmt: skip
def test_a_ramp_through_thin_slices_stays_where_it_is(spacing_mm, count, averaged_mm):
    shape = (4, 4, count)
    affine = oriented_affine((0, 1, 2), (1, 1, 1), (1, 1, spacing_mm), shape)
    z = world(shape, affine)[2]
    thick = thick_slices(Image(z.astype(np.float32), affine), 5.0)
    assert thick.spacing_mm[2] == pytest.approx(averaged_mm)
    assert np.allclose(thick.voxels, world(thick.voxels.shape, thick.affine)[2], atol=1e-3)


def test_slices_that_do_not_fill_a_mean_are_not_lost():
    affine = oriented_affine((0, 1, 2), (1, 1, 1), (1, 1, 2.5), (4, 4, 9))
    thick = thick_slices(Image(np.arange(144, dtype=np.float32).reshape(4, 4, 9), affine), 5.0)
    assert thick.voxels[0, 0].tolist() == [0.5, 2.5, 4.5, 6.5, 8.0]


def test_the_intracranial_space_is_the_skull_s_down_to_where_a_network_ends_it():
    head = find_head(head_ct(), 5.0)
    outlined = inside(head.image, around(BRAIN, -3))
    outlined[:, :, :6] = False  # the neck
    space = head.intracranial(outlined)
    assert not space[:, :, :6].any()
    assert np.array_equal(space[:, :, 8:18], head.cavity[:, :, 8:18])
    stripped = find_head(head_ct(skull=False), 5.0)
    assert not stripped.intracranial(outlined)[:, :, :6].any()
    assert np.array_equal(stripped.intracranial(outlined)[:, :, 6:18], stripped.cavity[:, :, 6:18])


def test_the_anatomy_network_sees_neither_bone_nor_scalp_and_fluid_above_0():
    head = find_head(head_ct(), 5.0)
    seen = head.windowed.voxels
    assert not seen[~head.cavity].any()
    ventricle = inside(head.image, Ellipsoid((-10, -6, 22), (5, 16, 7)))
    assert seen[ventricle].mean() == pytest.approx(8 - (head.brain_hu - 43), abs=0.3)
    moved = find_head(head_ct(levels={"brain": 22, "ventricle": -2, "lesion": 9}), 5.0)  # calibrated 10 HU too low
    assert np.array_equal(moved.windowed.voxels, seen)


@pytest.mark.skipif(not TEMPLATE.exists(), reason="the elderly CT template is not here")
def test_the_elderly_template_is_a_stripped_brain():
    head = find_head(read_image(TEMPLATE, slanted=True), 5.0)
    assert not head.closed
    assert head.image.spacing_mm == pytest.approx((1, 1, 5))
    assert 25 < head.brain_hu < 33
    assert 1300 < np.count_nonzero(head.cavity) * head.image.voxel_volume_ml < 2000
