"""What is no noncontrast head CT is refused in one sentence; what is doubtful is told; an ordinary CT just passes."""

import numpy as np
import pytest
from ct_phantom import BRAIN, SHAPE, STORED, head_ct, slanted, stored_as
from phantoms import FLAIR, T1, T2, head, oriented_affine, world
from tiny_models import PIXEL_MM, SAMPLE, SHARED, Ellipsoid

from csvd.checks_ct import check_ct
from csvd.errors import InputError
from csvd.image import Image, read_image


def with_spacing(spacing_mm, shape):
    return Image(np.zeros(shape, np.int16) - 1000, oriented_affine((0, 1, 2), (1, 1, 1), spacing_mm, shape), "ct.nii")


def changed(change):
    ct = head_ct()
    return Image(change(ct.voxels.copy()), ct.affine, "ct.nii")


def mr(levels):
    return Image(*head(levels), "mr.nii")


def other_part():
    """A leg: soft tissue around a bone, in air."""
    x, y, _ = world(SHAPE, slanted(0))
    voxels = np.where(np.hypot(x, y + 12) < 60, 50, -1000)
    grain = np.random.default_rng(0).integers(-3, 4, SHAPE)
    return Image((np.where(np.hypot(x, y + 12) < 14, 900, voxels) + grain).astype(np.int16), slanted(0), "leg.nii")


def not_finite(voxels):
    voxels = voxels.astype(np.float32)
    voxels[40:43, 50, 12] = np.nan
    return voxels


def modality(name):
    ct = head_ct()
    return Image(ct.voxels, ct.affine, "ct", modality=name)


REFUSED = {
    "FLAIR": (lambda: mr(FLAIR), "Give the CT, not MR"),
    "T1": (lambda: mr(T1), "Give the CT, not MR"),
    "T2": (lambda: mr(T2), "Give the CT, not MR"),
    "FLAIR in 8 bits, brain at 11": (lambda: read_image(SAMPLE), "Give the CT, not MR"),
    "DICOM of MR": (lambda: modality("MR"), "of modality MR, not CT"),
    "a label map": (lambda: changed(lambda v: (v > 0).astype(np.uint8) + (v > 500)), "mask or label map"),
    "a topogram": (lambda: with_spacing((1.0, 1.0, 5.0), (200, 200, 1)), "has 1 slice;"),
    "an empty scan": (lambda: with_spacing((1.0, 1.0, 5.0), (200, 200, 30)), "is empty"),
    "a tiny scan": (lambda: with_spacing((0.4, 0.4, 5.0), (90, 90, 30)), "In plane it covers 36 mm"),
    "a whole trunk": (lambda: with_spacing((0.9, 0.9, 5.0), (512, 512, 30)), "In plane it covers 461 mm"),
    "a thin slab": (lambda: with_spacing((0.5, 0.5, 5.0), (400, 400, 4)), "Its slices cover 20 mm"),
    "another part of the body": (other_part, "another part of the body"),
    "air alone": (lambda: changed(lambda v: np.where(v > 0, -990, v).astype(np.int16)), "shows no head"),
    "no number": (lambda: changed(not_finite), "3 voxels that are not numbers"),
    "values without their rescaling": (lambda: changed(lambda v: v + np.int16(1024)), "its rescaling was lost"),
    "a window burnt in": (lambda: changed(lambda v: v.clip(0, 80)), "was exported with a window"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_head_ct_is_refused_in_one_sentence(name):
    build, words = REFUSED[name]
    image = build()
    with pytest.raises(InputError, match=words) as refusal:
        check_ct(image)
    assert str(refusal.value).startswith(image.source)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize("name", STORED)
def test_an_ordinary_head_ct_passes_however_it_is_stored(name):
    assert check_ct(stored_as(head_ct(table=True, noise=3), name)) == []


@pytest.mark.parametrize("degrees", [20, -25])
def test_a_tilted_gantry_is_nothing_to_doubt(degrees):
    assert check_ct(head_ct(slanted(degrees), noise=3)) == []


def test_a_stripped_brain_is_told():
    (doubt,) = check_ct(head_ct(skull=False, air=0, noise=2))
    assert "No skull is in the scan" in doubt


def with_vessels(hu):
    """Tubes of 7 mm through all slices, 12 mm below the surface of the brain; 10 mL in the upper slices."""
    ct = head_ct()
    x, y, _ = world(SHAPE, ct.affine)
    tubes = [np.hypot(x - r * 38, y + 12 - a * 48) < 3.6 for r, a in ((0.9, 0.3), (-0.9, 0.3), (0.7, -0.7), (0, 1))]
    return ct.like(np.where(np.any(tubes, axis=0) & BRAIN.holds(*world(SHAPE, ct.affine)), hu, ct.voxels))


def test_vessels_with_contrast_medium_are_told_and_blood_and_calcium_are_not():
    (doubt,) = check_ct(with_vessels(np.int16(220)))
    assert "vessels with contrast medium" in doubt
    assert check_ct(with_vessels(np.int16(70))) == []
    plexus = Ellipsoid((-10, -22, 22), (5, 7, 8))
    ct = head_ct()
    calcified = np.where(plexus.holds(*world(SHAPE, ct.affine)), 250, ct.voxels).astype(np.int16)
    assert check_ct(ct.like(calcified)) == []


def test_bleeding_is_no_contrast_medium():
    ct = head_ct()
    blood = Ellipsoid((30, -10, 30), (16, 22, 18)).holds(*world(SHAPE, ct.affine))
    assert check_ct(ct.like(np.where(blood, 75, ct.voxels).astype(np.int16))) == []


def shifted(first, axis):
    ct = head_ct()
    voxels = np.take(ct.voxels, np.arange(first, ct.voxels.shape[axis]), axis)
    affine = ct.affine.copy()
    affine[:3, 3] += first * affine[:3, axis]
    return Image(voxels, affine, "ct.nii")


DOUBTED = {
    "cut off on the left": (lambda: shifted(22, 0), "cut off at the left"),
    "cut off behind": (lambda: shifted(20, 1), "cut off at the back"),
    "calibrated 15 HU too low": (lambda: head_ct(levels={"brain": 17, "ventricle": -7, "lesion": 4}), "17 HU"),
    "thick slices": (lambda: head_ct(slanted(0, (96, 108, 14), (PIXEL_MM, PIXEL_MM, 8.0)), (96, 108, 14)), "8.0 mm"),
    "noisy": (lambda: head_ct(noise=9), "The scan is noisy: 9 HU"),
    "few slices of a part": (lambda: shifted(14, 2), "only 10 slices"),
}


@pytest.mark.parametrize("name", DOUBTED)
def test_what_is_doubtful_is_told(name):
    build, words = DOUBTED[name]
    assert any(words in doubt for doubt in check_ct(build()))


def test_a_scan_that_ends_below_the_vertex_is_told():
    ct = head_ct()
    doubts = check_ct(Image(ct.voxels[:, :, :15], ct.affine, "ct.nii"))
    assert any("cut off at the top" in doubt for doubt in doubts)


def test_noise_is_that_of_slices_of_5_mm():
    """16 HU in slices of 1.25 mm are 8 HU in the mean of four."""
    shape = (96, 108, 96)
    thin = head_ct(slanted(0, shape, (PIXEL_MM, PIXEL_MM, 1.25)), shape, noise=16)
    (doubt,) = check_ct(thin)
    assert "8 HU (SD)" in doubt


@pytest.mark.skipif(not SHARED.exists(), reason="no real scans here")
def test_the_elderly_template_passes_as_stripped_and_no_mr_does():
    (doubt,) = check_ct(read_image(next((SHARED / "ct_template").glob("*.nii.gz")), slanted=True))
    assert "No skull" in doubt
    scans = [*SHARED.glob("flair_lesions/*/*.nii.gz"), *SHARED.glob("healthy/*.nii.gz")]
    assert len(scans) > 6
    for path in scans[::3]:
        with pytest.raises(InputError, match=r"not MR|label map"):
            check_ct(read_image(path))
