"""A FLAIR laid on the CT of the same patient: the same lesions meet again, and another head is refused."""

import csv

import numpy as np
import pytest
from PIL import Image as Picture
from test_registration import SHAPE, moved_by, picture

from csvd.comparison import CT_COLOR, FLAIR_COLOR, compare_with_flair
from csvd.errors import InputError
from csvd.image import Image
from csvd.marker import LEUKOARAIOSIS, WMH
from csvd.result import Result


def result(image, brain, ventricles, lesions, marker):
    return Result.from_probability(image, lesions.astype(np.float32), ventricles, brain, marker=marker)


def ct_result(lesions=None):
    image, brain, ventricles, spot = picture("ct")
    image = Image(np.where(brain, image.voxels, -1000).astype(np.float32), image.affine, "case-7.nii.gz")
    return result(image, brain, ventricles, spot if lesions is None else lesions, LEUKOARAIOSIS)


def flair_result(place=None):
    image, *masks = picture("flair", place, seed=1)
    return result(Image(image.voxels, image.affine, "flair.nii.gz"), *masks, WMH)


@pytest.fixture(scope="module")
def comparison():
    return compare_with_flair(ct_result(), flair_result(moved_by((9, -4, 6), (7, -12, 9))[0]))


def test_the_same_lesion_is_found_again_on_the_ct(comparison):
    assert comparison.flair_mask_on_ct.shape == SHAPE
    assert comparison.dice > 0.8
    assert comparison.good
    assert "without a doubt" in comparison.quality
    voxel_ml = 2.6 * 2.6 * 5 / 1000
    assert comparison.volume_ct_ml == pytest.approx(np.count_nonzero(ct_result().mask) * voxel_ml)
    assert np.count_nonzero(comparison.flair_mask_on_ct) * voxel_ml == pytest.approx(
        comparison.volume_flair_ml, rel=0.1
    )
    assert comparison.difference_ml == comparison.volume_ct_ml - comparison.volume_flair_ml


def test_one_row_and_one_picture_are_written(comparison, tmp_path):
    files = comparison.save(tmp_path / "out")
    assert set(files) == {"comparison.tsv", "comparison.png"}
    with open(files["comparison.tsv"], encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert row["case"] == "case-7"
    assert float(row["dice"]) == pytest.approx(comparison.dice, abs=1e-4)
    assert float(row["volume_ct_ml"]) - float(row["volume_flair_ml"]) == pytest.approx(
        float(row["difference_ml"]), abs=2e-4
    )
    assert set(row) == set(comparison.to_dict())
    pixels = np.asarray(Picture.open(files["comparison.png"]).convert("RGB")).reshape(-1, 3).astype(int)
    for color in (CT_COLOR, FLAIR_COLOR):
        assert (np.abs(pixels - color).sum(axis=1) < 40).sum() > 100


def test_no_lesion_on_either_scan_agrees():
    nothing = np.zeros(SHAPE, bool)
    flair = flair_result()
    flair = result(flair.image, flair.brain, flair.ventricles, nothing, WMH)
    comparison = compare_with_flair(ct_result(lesions=nothing), flair)
    assert (comparison.volume_ct_ml, comparison.volume_flair_ml, comparison.difference_ml) == (0, 0, 0)
    assert comparison.dice == 1
    assert comparison.picture().size[0] > 100


def test_results_of_the_wrong_kind_and_another_head_are_refused():
    ct, flair = ct_result(), flair_result()
    with pytest.raises(InputError, match="where that of a CT belongs"):
        compare_with_flair(flair, flair)
    with pytest.raises(InputError, match="where that of a FLAIR belongs"):
        compare_with_flair(ct, ct)
    half = flair.image.voxels.copy()
    brain = flair.brain.copy()
    half[:, 30:], brain[:, 30:] = 0, False
    other = result(Image(half, flair.image.affine, "flair.nii.gz"), brain, brain & False, brain & False, WMH)
    with pytest.raises(InputError, match="cannot be laid on the CT"):
        compare_with_flair(ct, other)
