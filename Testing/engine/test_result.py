import dataclasses
import json
import os
import time

import nibabel as nib
import numpy as np
import pytest
from phantoms import OBLIQUE, oriented_affine

from csvd.errors import InputError
from csvd.image import Image
from csvd.report import folder as folder_module
from csvd.report import html
from csvd.result import Result

SHAPE, SPACING_MM = (40, 50, 8), (1.0, 1.0, 4.0)
AFFINE = oriented_affine((0, 1, 2), (-1, 1, 1), SPACING_MM, SHAPE, OBLIQUE)
FILES = {
    *("wmh_mask.nii.gz", "wmh_probability.nii.gz", "wmh_uncertainty.nii.gz"),
    *("ventricles_mask.nii.gz", "brain_mask.nii.gz", "wmh.seg.nrrd"),
    *("measurements.tsv", "measurements.json", "lesions.tsv", "provenance.json", "report.html"),
}


def pieces(empty=False):
    """A FLAIR with 25 voxels (.1 mL) of WMH 2 mm beside the ventricle, p = .9, and 10 (.04 mL) 15 mm away, p = .6."""
    rng = np.random.default_rng(0)
    image = Image(rng.integers(0, 300, SHAPE).astype(np.int16), AFFINE, "/patients/Doe^Jane/flair.nii.gz", "ab" * 32)
    probability = np.zeros(SHAPE, np.float32)
    ventricles, brain = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    brain[4:36, 4:46, 1:7] = True
    ventricles[18, 20:30, 3] = True
    if not empty:
        probability[20:25, 22:27, 3] = 0.9
        probability[33:35, 22:27, 3] = 0.6
    return image, probability, ventricles, brain


@pytest.fixture
def result():
    return Result.from_probability(*pieces(), warnings=["The slices are thick."], provenance={"device": "cpu"})


def value(result, name):
    return result.measurements[name].value


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same(one, other):
    return (
        np.array_equal(one.labels, other.labels)
        and one.measurements == other.measurements
        and one.lesions == other.lesions
    )


def test_a_probability_becomes_labels_and_volumes(result):
    assert value(result, "total_volume") == pytest.approx(0.14)
    assert value(result, "periventricular_volume") == pytest.approx(0.1)
    assert value(result, "deep_volume") == pytest.approx(0.04)
    assert value(result, "icv_volume") == pytest.approx(32 * 42 * 6 * 0.004)
    assert result.labels.dtype == np.uint8
    assert set(np.unique(result.labels[20:25])) == {0, 1}
    assert set(np.unique(result.labels[33:35])) == {0, 2}
    assert not result.edited


def test_the_uncertainty_is_the_entropy_in_bits_and_0_outside_the_brain():
    image, probability, ventricles, brain = pieces()
    probability[0, 0, 0] = 0.5
    result = Result.from_probability(image, probability, ventricles, brain)
    entropy = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    assert result.uncertainty[22, 24, 3] == pytest.approx(entropy, abs=1e-6)
    assert result.uncertainty[0, 0, 0] == 0
    assert result.uncertainty.dtype == np.float32


@pytest.mark.parametrize(
    "change",
    [{"threshold": 0.7}, {"pv_distance_mm": 3.0}, {"pv_rule": "cluster"}, {"threshold": 0.7, "pv_rule": "cluster"}],
)
def test_remeasuring_with_other_parameters_is_what_starting_with_them_gives(result, change):
    changed = result.remeasure(**change)
    assert same(changed, Result.from_probability(*pieces(), **change))
    assert not same(changed, result)
    assert not changed.edited


def test_remeasuring_with_nothing_new_changes_nothing(result):
    assert same(result.remeasure(), result)


def test_an_edited_mask_is_measured_and_flagged_and_the_automatic_one_is_kept(result):
    mask = result.mask
    mask[30:32, 22:27, 3] = True
    edited = result.remeasure(mask)
    assert edited.edited
    assert value(edited, "deep_volume") == pytest.approx(0.08)
    assert value(edited.automatic, "deep_volume") == pytest.approx(0.04)
    assert value(result, "deep_volume") == pytest.approx(0.04)


def test_an_edit_that_is_undone_is_no_edit(result):
    edited = result.remeasure(np.zeros(SHAPE, np.uint8))
    assert value(edited, "total_volume") == 0
    undone = edited.remeasure(result.labels)
    assert not undone.edited
    assert same(undone, result)


def test_an_edited_mask_survives_another_distance_and_both_are_measured_with_it(result):
    mask = result.mask
    mask[33:35] = False
    edited = result.remeasure(mask).remeasure(pv_distance_mm=4.0)
    assert edited.edited
    # Columns 2 and 3 mm away stay periventricular; 4, 5 and 6 mm are not nearer than 4 mm.
    assert value(edited, "periventricular_volume") == pytest.approx(0.04)
    assert value(edited, "deep_volume") == pytest.approx(0.06)
    assert value(edited.automatic, "deep_volume") == pytest.approx(0.1)


def test_a_new_threshold_drops_an_edited_mask(result):
    again = result.remeasure(np.ones(SHAPE, bool)).remeasure(threshold=0.7)
    assert not again.edited
    assert value(again, "total_volume") == pytest.approx(0.1)


def test_edited_ventricles_move_the_zones_and_not_the_total(result):
    image, probability, ventricles, brain = pieces()
    ventricles[32, 20:30, 3] = True
    edited = result.remeasure(ventricles=ventricles)
    assert edited.edited
    assert value(edited, "periventricular_volume") == pytest.approx(0.14)
    assert edited.measurements == Result.from_probability(image, probability, ventricles, brain).measurements


def moved_to(zone, voxels):
    moved = np.zeros(SHAPE, np.uint8)
    moved[voxels] = zone
    return moved


NEAR = np.s_[20:25, 22:27, 3]


def test_a_zone_that_a_reader_chose_stands_against_the_rule(result):
    moved = result.remeasure(moved=moved_to(2, NEAR))
    assert moved.edited
    assert value(moved, "deep_volume") == pytest.approx(0.14)
    assert value(moved, "periventricular_volume") == 0
    assert value(moved, "total_volume") == pytest.approx(0.14)
    assert value(moved.automatic, "deep_volume") == pytest.approx(0.04)


def test_a_chosen_zone_survives_an_edit_and_another_distance_but_no_new_threshold(result):
    moved = result.remeasure(moved=moved_to(2, NEAR))
    without_far = moved.remeasure(np.where(moved_to(1, NEAR), 1, 0))
    assert value(without_far, "deep_volume") == pytest.approx(0.1)
    assert value(moved.remeasure(pv_distance_mm=20), "deep_volume") == pytest.approx(0.1)
    assert not moved.remeasure(threshold=0.4).edited


def test_choosing_the_zone_that_the_rule_gives_is_no_edit(result):
    assert result.remeasure(moved=moved_to(1, NEAR)) is result


def test_no_lesion_is_zero(result):
    none = Result.from_probability(*pieces(empty=True))
    assert value(none, "total_volume") == 0
    assert value(none, "fazekas_total") == 0
    assert none.lesions == []
    assert not none.labels.any()


def test_remeasuring_a_clinical_scan_takes_less_than_a_third_of_a_second():
    shape, spacing_mm = (256, 256, 24), (0.9, 0.9, 5.0)
    affine = oriented_affine((0, 1, 2), (1, 1, 1), spacing_mm, shape)
    probability = np.zeros(shape, np.float32)
    probability[60:200, 60:110, 6:18] = np.random.default_rng(1).random((140, 50, 12), dtype=np.float32)
    ventricles = np.zeros(shape, bool)
    ventricles[110:140, 90:160, 8:14] = True
    result = Result.from_probability(Image(probability, affine), probability, ventricles, np.ones(shape, bool))
    mask = probability > 0.8
    took = []
    for change in ({"threshold": 0.3}, {"mask": mask}, {"pv_distance_mm": 7.5}):
        start = time.perf_counter()
        result.remeasure(**change)
        took.append(time.perf_counter() - start)
    assert max(took) < 0.3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mask": np.zeros((3, 4, 5), bool)}, "3x4x5 voxels and the FLAIR has 40x50x8"),
        ({"ventricles": np.zeros((3, 4, 5), bool)}, "FLAIR's own grid"),
        ({"moved": np.zeros((3, 4, 5), np.uint8)}, "FLAIR's own grid"),
        ({"threshold": 0}, "between 0 and 1"),
        ({"threshold": 1.0}, "between 0 and 1"),
        ({"threshold": float("nan")}, "between 0 and 1"),
        ({"pv_distance_mm": 0}, "above 0"),
        ({"pv_distance_mm": -7.5}, "above 0"),
        ({"pv_distance_mm": float("nan")}, "above 0"),
        ({"pv_rule": "atlas"}, "voxel, cluster"),
        ({"mask": np.zeros(SHAPE, bool), "threshold": 0.4}, "at once"),
    ],
)
def test_a_bad_change_is_refused_with_a_sentence(result, change, words):
    with pytest.raises(InputError, match=words):
        result.remeasure(**change)


@pytest.mark.parametrize("bad", [1.2, -0.1, np.nan])
def test_a_probability_that_is_none_is_refused(bad):
    image, probability, ventricles, brain = pieces()
    probability[5, 5, 5] = bad
    with pytest.raises(InputError, match="0 to 1"):
        Result.from_probability(image, probability, ventricles, brain)


def test_a_result_cannot_be_changed_in_place(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.labels = None


def test_every_file_is_written_on_the_grid_of_the_flair(result, tmp_path):
    written = result.save(tmp_path / "new" / "out")
    assert set(written) == FILES
    assert set(contents(tmp_path / "new" / "out")) == FILES
    expected = {
        "wmh_mask": (result.labels, np.uint8),
        "wmh_probability": (result.probability, np.float32),
        "wmh_uncertainty": (result.uncertainty, np.float32),
        "ventricles_mask": (result.ventricles, np.uint8),
        "brain_mask": (result.brain, np.uint8),
    }
    for name, (voxels, dtype) in expected.items():
        image = nib.load(written[f"{name}.nii.gz"])
        assert image.get_data_dtype() == dtype
        assert np.allclose(image.affine, AFFINE, atol=1e-5)
        assert np.array_equal(np.asarray(image.dataobj), voxels)


def test_the_provenance_says_what_was_done_with_what(result, tmp_path):
    edited = result.remeasure(np.zeros(SHAPE, bool))
    written = json.loads(edited.save(tmp_path)["provenance.json"].read_text())
    assert written["input"]["sha256"] == "ab" * 32
    assert written["input"]["path"] == "/patients/Doe^Jane/flair.nii.gz"
    assert written["device"] == "cpu"
    assert written["parameters"] == {"threshold": 0.5, "pv_distance_mm": 10.0, "pv_rule": "voxel"}
    assert written["software"]["numpy"] == np.__version__
    assert written["warnings"] == ["The slices are thick."]
    assert written["edited"] is True
    assert written["automatic_measurements"]["total_volume"]["value"] == pytest.approx(0.14)


def test_saving_again_replaces_our_files_and_no_other(result, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result.save(tmp_path)
    result.remeasure(threshold=0.7).save(tmp_path)
    assert set(contents(tmp_path)) == {*FILES, "notes.txt"}
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "measurements.json").read_text())["total_volume"]["value"] == pytest.approx(0.1)


def test_saving_without_a_report_leaves_no_report_of_other_measurements(result, tmp_path):
    result.save(tmp_path)
    assert set(result.save(tmp_path, report=False)) == FILES - {"report.html"}
    assert set(contents(tmp_path)) == FILES - {"report.html"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_while_writing_leaves_the_folder_as_it_was(result, tmp_path, monkeypatch, error):
    result.save(tmp_path / "old")
    before = contents(tmp_path / "old")

    def fail(*_):
        raise error

    monkeypatch.setattr(html, "write_report", fail)
    for folder in (tmp_path / "old", tmp_path / "new" / "deeper"):
        with pytest.raises(error):
            result.remeasure(threshold=0.7).save(folder)
    assert contents(tmp_path / "old") == before
    assert os.listdir(tmp_path) == ["old"]


@pytest.mark.parametrize("step", range(0, 2 * len(FILES), 3))
def test_an_error_while_files_are_moved_puts_every_file_back(result, tmp_path, monkeypatch, step):
    result.save(tmp_path / "out")
    before = contents(tmp_path / "out")
    moves, move = [], os.replace

    def stumble(source, target):
        moves.append(target)
        if len(moves) == step + 1:
            raise KeyboardInterrupt
        move(source, target)

    other = result.remeasure(threshold=0.7)
    # The images are renamed into the draft too: only the moves of the folder itself are counted.
    monkeypatch.setattr(folder_module, "os", type("OS", (), {"replace": staticmethod(stumble)}))
    with pytest.raises(KeyboardInterrupt):
        other.save(tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_folder_that_cannot_be_is_refused_with_a_sentence(result, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another output folder"):
        result.save(tmp_path / "file" / "out")
    with pytest.raises(InputError, match="choose another output folder"):
        result.save(tmp_path / "file")
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    with pytest.raises(InputError, match=r"report\.html"):
        result.save(tmp_path / "out")
    assert contents(tmp_path) == {"file": b""}
