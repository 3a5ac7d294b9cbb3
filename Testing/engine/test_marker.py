"""A Result of leukoaraiosis on CT: the same measures under its own words, and what only it has."""

import json

import nibabel as nib
import numpy as np
import pytest

from csvd.errors import InputError
from csvd.image import Image
from csvd.marker import LEUKOARAIOSIS, MARKERS, WMH
from csvd.measure import Measurement, white_matter
from csvd.measure.hemispheres import hemisphere_shares
from csvd.result import Result

SHAPE = (20, 30, 8)
# x from -9.5 to 9.5, so the plane x = 0 runs between two columns of voxels of 1 x 1 x 5 mm3.
AFFINE = np.array([[1, 0, 0, -9.5], [0, 1, 0, -15], [0, 0, 5, -20], [0, 0, 0, 1.0]])
MIDPLANE = (1.0, 0.0, 0.0, 0.0)


def ct(marker=LEUKOARAIOSIS, empty=False, **parameters):
    """30 voxels (.15 mL) on the left, 10 (.05 mL) on the right."""
    probability = np.zeros(SHAPE, np.float32)
    if not empty:
        probability[2:5, 5:15, 4] = 0.9
        probability[16, 5:15, 4] = 0.9
    ventricles, brain = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    ventricles[9:11, 10:20, 3:5] = True
    image = Image(np.full(SHAPE, 30, np.int16), AFFINE, "/scans/ct.nii.gz", "ab" * 32)
    return Result.from_probability(image, probability, ventricles, brain, marker=marker, parameters=parameters)


def value(result, name):
    return result.measurements[name].value


def test_every_marker_is_found_by_its_key():
    assert {"wmh": WMH, "leukoaraiosis": LEUKOARAIOSIS} == MARKERS


def test_both_markers_measure_the_same_under_their_own_words():
    wmh, leukoaraiosis = ct(WMH), ct()
    assert all(value(leukoaraiosis, name) == m.value for name, m in wmh.measurements.items())
    assert wmh.measurements["total_volume"].title == "Total WMH, volume"
    assert leukoaraiosis.measurements["total_volume"].title == "Total leukoaraiosis, volume"
    words = " ".join(f"{m.title} {m.value}" for m in ct(empty=True).measurements.values())
    assert "WMH" not in words
    assert value(ct(empty=True), "uncertainty_index") == "no leukoaraiosis"


def test_on_ct_a_source_says_that_its_limits_come_from_flair():
    for name in ("fazekas_volume_grade", "fazekas_deep", "uncertainty_index", "review_recommended"):
        assert "FLAIR" in ct().measurements[name].source
        assert "on CT" not in ct(WMH).measurements[name].source
    assert "Ryu" in ct().measurements["fazekas_volume_grade"].source


def test_the_files_are_named_after_the_marker_and_the_segments_too(tmp_path):
    written = ct().save(tmp_path / "out", report=False)
    assert {name for name in written if "leuk" in name} == {
        *("leukoaraiosis_mask.nii.gz", "leukoaraiosis_probability.nii.gz", "leukoaraiosis_uncertainty.nii.gz"),
        "leukoaraiosis.seg.nrrd",
    }
    assert not [name for name in written if "wmh" in name]
    header = written["leukoaraiosis.seg.nrrd"].read_bytes().split(b"\n\n")[0].decode()
    assert "Segment0_Name:=Periventricular leukoaraiosis\n" in header
    assert "Segment1_ID:=Deep_leukoaraiosis\n" in header
    assert np.count_nonzero(nib.load(written["leukoaraiosis_mask.nii.gz"]).get_fdata()) == 40
    assert json.loads(written["provenance.json"].read_text())["marker"] == "leukoaraiosis"


def test_an_array_of_another_shape_is_refused_in_words_of_the_ct():
    with pytest.raises(InputError, match=r"The edited mask has 3x3x3 voxels and the CT has 20x30x8: use the CT's own"):
        ct().remeasure(np.zeros((3, 3, 3), bool))


def test_a_remeasured_result_keeps_its_marker():
    again = ct().remeasure(np.zeros(SHAPE, bool), pv_distance_mm=5)
    assert again.marker is LEUKOARAIOSIS
    assert value(again, "uncertainty_index") == "no leukoaraiosis"


def test_the_hemispheres_are_measured_where_the_midplane_is_known():
    result = ct(midplane=MIDPLANE)
    assert value(result, "left_volume") == pytest.approx(0.15)
    assert value(result, "right_volume") == pytest.approx(0.05)
    assert value(result, "asymmetry_index") == pytest.approx(0.5)
    assert not {"left_volume", "asymmetry_index"} & set(ct().measurements)


def test_the_hemispheres_follow_an_edit():
    result = ct(midplane=MIDPLANE)
    mask = result.mask
    mask[:10] = False
    assert value(result.remeasure(mask), "left_volume") == 0
    assert value(result.remeasure(mask), "asymmetry_index") == -1


def test_without_lesions_no_side_is_larger():
    assert [value(ct(empty=True, midplane=MIDPLANE), f"{side}_volume") for side in ("left", "right")] == [0, 0]
    assert value(ct(empty=True, midplane=MIDPLANE), "asymmetry_index") == 0


def test_a_voxel_on_the_midplane_counts_half_on_each_side():
    affine = AFFINE.copy()
    affine[0, 3] = -10  # the column 10 lies at x = 0
    mask = np.zeros(SHAPE, bool)
    mask[9:11, 0, 0] = True
    assert hemisphere_shares(mask, affine, MIDPLANE) == (1.5, 0.5)


def test_sides_are_those_of_the_patient_whatever_the_order_of_voxels_and_the_tilt_of_the_plane():
    mask = np.zeros(SHAPE, bool)
    mask[16, 5:15, 4] = True
    flipped = AFFINE @ np.diag([-1, 1, 1, 1.0])
    flipped[0, 3] = 9.5
    assert hemisphere_shares(mask, AFFINE, MIDPLANE) == (0, 10)
    assert hemisphere_shares(mask, flipped, MIDPLANE) == (10, 0)
    # The row lies at x = 6.5 and y = -10 ... -1. The plane x + y = 2 has it on the right where y > -4.5: -4 ... -1.
    assert hemisphere_shares(mask, AFFINE, (1, 1, 0, 2)) == (6, 4)


@pytest.mark.parametrize("plane", [(1, 0, 0), (-1, 0, 0, 0), (0, 1, 0, 0), (1, 0, 0, float("nan"))])
def test_numbers_that_are_no_midplane_are_refused(plane):
    with pytest.raises(InputError, match="mid-sagittal plane must be four numbers"):
        ct(midplane=plane)


def test_what_a_marker_adds_is_measured_again_with_every_edit(monkeypatch):
    def classes(measurements):
        volume_ml = measurements["total_volume"].value
        return [Measurement("burden", "Burden", "small" if volume_ml < 0.1 else "large", "", "a test")]

    monkeypatch.setitem(white_matter.OWN_MEASUREMENTS, "leukoaraiosis", classes)
    result = ct()
    assert value(result, "burden") == "large"
    assert value(result.remeasure(np.zeros(SHAPE, bool)), "burden") == "small"
    assert "burden" not in ct(WMH).measurements
