"""What cannot be a T1 or an SWI is refused, what is doubtful is named, and every real scan in its place is taken."""

import numpy as np
import pytest
from phantoms import CT, FLAIR, T1, T2, head, world
from scipy import ndimage
from tiny_models import SHARED

from csvd.checks_sequences import check_sequences, check_swi, check_t1, repeated_share
from csvd.errors import InputError
from csvd.image import Image, read_image

# Fluid, cortex and white matter are alike on the magnitude of a gradient echo, cortex a little brighter.
GRE = {"scalp": 200, "skull": 10, "cortex": 215, "white": 190, "fluid": 205}


def picture(levels, **changes):
    spacing_mm = changes.pop("spacing_mm", (2.0, 2.0, 3.0))
    shape = tuple(round(mm / step) for mm, step in zip((192, 224, 129), spacing_mm, strict=True))
    return Image(*head(levels, shape, spacing_mm, **changes))


def like(image, voxels):
    return Image(voxels, image.affine, "scan.nii.gz")


def test_a_t1_and_a_gradient_echo_are_taken_without_a_doubt():
    assert check_t1(picture(T1)) == []
    assert check_swi(picture(GRE)) == []


def test_the_t1_of_an_atrophic_brain_is_taken():
    image = picture(T1 | {"cortex": 105, "fluid": 40})
    x, y, z = world(image.voxels.shape, image.affine)
    wide = ((x / 43) ** 2 + ((y - 4) / 53) ** 2 + ((z - 4) / 32) ** 2) < 1
    assert check_t1(like(image, np.where(wide, 40, image.voxels))) == []


@pytest.mark.parametrize(
    ("levels", "words"),
    [(FLAIR, "white matter is not brighter than cortex"), (T2, "bright fluid, as on T2"), (CT, "looks like CT")],
)
def test_what_is_no_t1_is_refused(levels, words):
    image = picture(levels, air=-1000) if levels is CT else picture(levels)
    with pytest.raises(InputError, match=words):
        check_t1(image)


@pytest.mark.parametrize(("levels", "words"), [(FLAIR, "Fluid is dark, as on FLAIR"), (T1, "brighter than cortex")])
def test_what_may_be_no_swi_is_doubted(levels, words):
    assert [words in text for text in check_swi(picture(levels))] == [True]


def test_a_projection_over_a_moving_window_is_refused_and_thick_slices_are_doubted():
    swi = picture(GRE)
    projection = like(swi, ndimage.minimum_filter1d(swi.voxels, 5, axis=2))
    assert repeated_share(swi) < 0.1
    with pytest.raises(InputError, match="minimum-intensity projection"):
        check_swi(projection)
    (doubt,) = check_swi(picture(GRE, spacing_mm=(2.0, 2.0, 6.0)))
    assert "6.0 mm apart" in doubt


@pytest.mark.parametrize("stored", ["radians", "0 to 4095", "-4096 to 4094"])
def test_a_phase_image_is_refused(stored):
    swi = picture(GRE)
    i, j, k = np.indices(swi.voxels.shape)
    phase = np.angle(np.exp(1j * (i / 9 + j / 7 + k / 5)))
    air = ndimage.gaussian_filter(swi.voxels.astype(float), 2) < 50
    phase = np.where(air, np.random.default_rng(0).uniform(-np.pi, np.pi, air.shape), phase).astype(np.float32)
    if stored == "0 to 4095":
        phase = np.rint((phase + np.pi) / (2 * np.pi) * 4095).astype(np.uint16)
    elif stored == "-4096 to 4094":
        phase = np.rint(phase / np.pi * 4095 - 1).astype(np.int16)
    with pytest.raises(InputError, match="phase image"):
        check_swi(like(swi, phase))


def test_a_ct_is_no_phase_image_but_a_ct():
    with pytest.raises(InputError, match="looks like CT"):
        check_swi(picture(CT, air=-1000))


def test_one_scan_in_two_places_is_refused_also_when_it_was_stored_anew():
    flair = picture(FLAIR)
    scaled = like(flair, flair.voxels.astype(np.float32) * 2.5 + 1)
    for again in (flair, like(flair, flair.voxels.copy()), scaled):
        with pytest.raises(InputError, match="One scan was given as FLAIR and as SWI"):
            check_sequences(flair=flair, swi=again)


def test_a_doubt_says_of_which_sequence_it_is():
    assert check_sequences(flair=picture(FLAIR), swi=picture(GRE, spacing_mm=(2.0, 2.0, 6.0)))[0].startswith("SWI: ")


def test_swapped_sequences_are_refused():
    with pytest.raises(InputError, match="swapped"):
        check_sequences(flair=picture(T1), t1=picture(FLAIR))


@pytest.mark.skipif(not SHARED.exists(), reason="the real scans are not here")
@pytest.mark.parametrize(
    ("flair", "t1"),
    [
        ("flair_lesions/patient07/FLAIR", "flair_lesions/patient07/T1"),
        ("flair_longitudinal/patient01/study1_FLAIR", "flair_longitudinal/patient01/study1_T1W"),
        ("flair_longitudinal/patient12/study2_FLAIR", "flair_longitudinal/patient12/study2_T1W"),
        ("healthy/HC0001_FLAIR_brain", "healthy/HC0001_T1_brain"),
        ("multisequence_stroke/FLAIR", "multisequence_stroke/T1"),
    ],
)
def test_real_sequences_are_taken_in_their_places_and_refused_when_swapped(flair, t1):
    flair, t1 = (read_image(SHARED / f"{name}.nii.gz") for name in (flair, t1))
    assert not [text for text in check_sequences(flair=flair, t1=t1) if "check that" in text]
    with pytest.raises(InputError, match="cannot be a T1"):
        check_sequences(flair=t1, t1=flair)


@pytest.mark.skipif(not SHARED.exists(), reason="the real scans are not here")
def test_a_real_t2_is_no_t1():
    with pytest.raises(InputError, match="bright fluid"):
        check_t1(read_image(SHARED / "multisequence_stroke" / "T2.nii.gz"))
