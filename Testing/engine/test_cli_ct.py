"""``csvd ct`` on the command line: files, words, exit status; all of it or nothing."""

import json
import re

import numpy as np
import pytest
from ct_phantom import BRAIN, head_ct, slanted, write_ct_models
from phantoms import FLAIR, head, write_dicom_series
from tiny_models import FAR, NEAR, inside, only_models_of, sharp_head, threshold_network, write_bundle

import csvd.pipelines.walk
import csvd.pipelines.wmh
from csvd.cli import main
from csvd.image import Image, read_image, write_image

FILES = {
    *("leukoaraiosis_mask.nii.gz", "leukoaraiosis_probability.nii.gz", "leukoaraiosis_uncertainty.nii.gz"),
    *("ventricles_mask.nii.gz", "brain_mask.nii.gz", "leukoaraiosis.seg.nrrd", "measurements.tsv"),
    *("measurements.json", "lesions.tsv", "provenance.json"),
}


@pytest.fixture(scope="module", autouse=True)
def models(tmp_path_factory):
    folder = write_ct_models(tmp_path_factory.mktemp("models"))
    description = {"architecture": "SEUNet", "in_channels": 1, "out_channels": 1, "width": 1}
    write_bundle(folder / "wmh-hybrid", [threshold_network()], description)
    with only_models_of(folder):
        yield


@pytest.fixture
def scan(tmp_path):
    write_image(head_ct(), tmp_path / "ct.nii.gz")
    return str(tmp_path / "ct.nii.gz")


def ct(scan, out, *options):
    return main(["ct", scan, "-o", str(out), "--device", "cpu", *options])


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_run_writes_exactly_these_files_and_tells_the_headline(scan, out, capsys):
    out.mkdir()
    (out / "comparison.tsv").write_text("of an earlier run, with a FLAIR")
    assert ct(scan, out) == 0
    assert names(out) == FILES | {"report.html"}
    told = capsys.readouterr()
    assert told.err == ""
    volume_ml = (inside(NEAR, head_ct()) | inside(FAR, head_ct())).sum() * 0.01125
    assert re.search(rf"^Total leukoaraiosis, volume +{volume_ml:.2f} mL$", told.out, re.MULTILINE)
    assert re.search(r"^Burden class +<= 10 mL$", told.out, re.MULTILINE)
    assert "Not a medical device" in told.out
    mask = read_image(out / "leukoaraiosis_mask.nii.gz")
    assert np.array_equal(mask.voxels > 0, inside(NEAR, head_ct()) | inside(FAR, head_ct()))


def test_options_reach_the_result(scan, out):
    options = ("--threshold", "0.3", "--pv-distance", "7.5", "--pv-rule", "cluster", "--no-mirror", "--members", "1")
    assert ct(scan, out, *options, "--quiet", "--no-report") == 0
    parameters = json.loads((out / "provenance.json").read_text(encoding="utf-8"))["parameters"]
    expected = {"threshold": 0.3, "pv_distance_mm": 7.5, "pv_rule": "cluster", "mirror": False, "members": 1}
    assert {name: parameters[name] for name in expected} == expected
    assert parameters["model"] == "leukoaraiosis-nnunet"
    assert len(parameters["midplane"]) == 4


def test_a_tilted_dicom_folder_gives_masks_on_its_own_slices(tmp_path, out):
    tilted = head_ct(slanted(18))
    write_dicom_series(tmp_path / "series", tilted.voxels, tilted.affine, modality="CT", description="head")
    assert ct(str(tmp_path / "series"), out, "--quiet", "--no-report") == 0
    mask = read_image(out / "leukoaraiosis_mask.nii.gz", slanted=True)
    assert mask.grid.matches(tilted.grid, 1e-2)
    assert mask.voxels.any()


def mr_file(folder):
    write_image(Image(*head(FLAIR)), folder / "mr.nii.gz")
    return folder / "mr.nii.gz"


WRONG = {
    "MR": (mr_file, (), 2, "Give the CT, not MR"),
    "no file": (lambda folder: folder / "no.nii.gz", (), 2, "There is no file"),
    "a threshold above 1": (None, ("--threshold", "1.5"), 2, "--threshold"),
    "a FLAIR that is none": (None, ("--flair", "SCAN"), 2, "looks like CT"),
    "a FLAIR that is not there": (None, ("--flair", "no.nii"), 2, "no.nii"),
    "a model for FLAIR": (None, ("--model", "wmh-hybrid"), 3, "not for leukoaraiosis"),
    "too many members": (None, ("--members", "7"), 2, "members"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_is_one_line_and_nothing_is_written(name, tmp_path, scan, out, monkeypatch, capsys):
    def never(*_, **__):
        raise AssertionError("the network ran")

    monkeypatch.setattr(csvd.pipelines.walk, "Predictor", never)
    build, options, status, words = WRONG[name]
    path = scan if build is None else str(build(tmp_path))
    assert ct(path, out, *[scan if option == "SCAN" else option for option in options]) == status
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(r"csvd: .+\n", told.err)
    assert words in told.err
    assert not out.exists()


def test_with_a_flair_both_are_compared(tmp_path, scan, out, capsys):
    """The FLAIR shows the same brain, stripped, with the same lesions, 6 mm further to the right."""
    flair = sharp_head(brain=BRAIN)
    affine = flair.affine.copy()
    affine[0, 3] += 6
    write_image(Image(flair.voxels, affine), tmp_path / "flair.nii.gz")
    assert ct(scan, out, "--flair", str(tmp_path / "flair.nii.gz"), "--no-report") == 0
    assert names(out) == FILES | {"comparison.tsv", "comparison.png"}
    told = capsys.readouterr().out
    assert "12 files" in told
    volumes = re.search(
        r"^On the FLAIR ([\d.]+) mL, on the CT ([\d.]+) mL \(([-+][\d.]+)\); Dice 0?\d\.\d\d\.", told, re.MULTILINE
    )
    flair_ml, ct_ml, difference_ml = map(float, volumes.groups())
    assert ct_ml - flair_ml == pytest.approx(difference_ml, abs=0.011)
    header, row = (out / "comparison.tsv").read_text(encoding="utf-8").splitlines()
    found = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert float(found["dice"]) > 0.5
    assert float(found["difference_ml"]) == pytest.approx(0, abs=0.6)
