"""``csvd`` on the command line: files, words, exit status; all of it or nothing."""

import io
import json
import os
import re
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from tiny_models import ARCHITECTURES, FAR, NEAR, ROOT, inside, sharp_head, write_models, write_random_bundle

import csvd
import csvd.pipelines.wmh
from csvd.cli import main
from csvd.errors import InputError
from csvd.image import Image, read_image, write_image
from csvd.result import Result

VOLUMES = {
    *("wmh_mask.nii.gz", "wmh_probability.nii.gz", "wmh_uncertainty.nii.gz"),
    *("ventricles_mask.nii.gz", "brain_mask.nii.gz", "wmh.seg.nrrd"),
}
TABLES = {"measurements.tsv", "measurements.json", "lesions.tsv", "provenance.json"}


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("CSVD_MODELS", str(write_models(tmp_path / "models")))
    return tmp_path / "models"


@pytest.fixture
def flair(tmp_path):
    write_image(sharp_head(), tmp_path / "flair.nii.gz")
    return str(tmp_path / "flair.nii.gz")


def names(folder):
    return {path.name for path in folder.iterdir()}


def wmh(flair, out, *options):
    return main(["wmh", flair, "-o", str(out), "--device", "cpu", *options])


# csvd wmh


def test_a_run_writes_exactly_these_files_and_tells_the_headline(models, flair, out, capsys):
    assert wmh(flair, out) == 0
    assert names(out) == VOLUMES | TABLES | {"report.html"}
    told = capsys.readouterr()
    assert told.err == ""
    assert "Not a medical device" in told.out
    volume_ml = (inside(NEAR, sharp_head()) | inside(FAR, sharp_head())).sum() * 0.009
    assert re.search(rf"^Total WMH, volume +{volume_ml:.2f} mL$", told.out, re.MULTILINE)
    assert f"11 files in {out}" in told.out


def test_the_written_mask_is_on_the_input_s_own_grid(models, flair, out):
    wmh(flair, out, "--quiet", "--no-report")
    mask, head = read_image(out / "wmh_mask.nii.gz"), read_image(flair)
    assert np.allclose(mask.affine, head.affine)
    assert np.array_equal(mask.voxels == 1, inside(NEAR, head))
    assert np.array_equal(mask.voxels == 2, inside(FAR, head))


def test_without_a_report_there_is_no_report_and_no_older_one_either(models, flair, out, capsys):
    out.mkdir()
    (out / "report.html").write_text("of another scan")
    (out / "notes.txt").write_text("mine")
    assert wmh(flair, out, "--no-report") == 0
    assert names(out) == VOLUMES | TABLES | {"notes.txt"}
    assert "report.html" not in capsys.readouterr().out


def test_quiet_says_nothing(models, flair, out, capsys):
    assert wmh(flair, out, "--quiet", "--no-report") == 0
    assert capsys.readouterr() == ("", "")
    assert names(out) == VOLUMES | TABLES


def test_json_is_all_there_is_on_standard_output(models, flair, out, capsys):
    assert wmh(flair, out, "--json", "--no-report") == 0
    told = capsys.readouterr()
    assert told.err == ""
    measurements = json.loads(told.out)
    assert measurements == json.loads((out / "measurements.json").read_text(encoding="utf-8"))
    assert measurements["lesion_count"]["value"] == 2
    assert set(measurements["total_volume"]) == {"value", "unit", "title", "source"}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_how_far_the_work_is_and_a_pipe_does_not(models, flair, out, monkeypatch, capsys):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    wmh(flair, out, "--no-report")
    shown = screen.getvalue()
    assert "100%" in shown
    assert "anatomy" in shown
    assert shown.endswith("\r\033[K"), "the line is wiped at the end"
    assert "\n" not in shown
    monkeypatch.setattr(sys, "stderr", Terminal())
    wmh(flair, out, "--no-report", "--quiet")
    assert sys.stderr.getvalue() == ""
    monkeypatch.undo()
    assert "%|" not in capsys.readouterr().out


def test_options_reach_the_result(models, flair, out):
    options = ("--members", "1", "--threshold", "0.3", "--pv-distance", "7.5", "--pv-rule", "cluster", "--mirror")
    assert wmh(flair, out, *options, "--quiet", "--no-report") == 0
    parameters = json.loads((out / "provenance.json").read_text())["parameters"]
    expected = {"members": 1, "threshold": 0.3, "pv_distance_mm": 7.5, "pv_rule": "cluster", "mirror": True}
    assert parameters == {"model": "wmh-hybrid", **expected}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_model_for_wmh_can_be_asked_for_by_its_id(models, flair, out, architecture):
    slices = {"matrix": [96, 96], "rule": "crop_or_resize", "intensity": "z_score", "skull_strip": False}
    write_random_bundle(models / f"wmh-{architecture.lower()}", architecture, preprocessing=slices)
    assert wmh(flair, out, "--model", f"wmh-{architecture.lower()}", "--quiet") == 0
    assert names(out) == VOLUMES | TABLES | {"report.html"}
    origin = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert origin["parameters"]["model"] == origin["models"][0]["id"] == f"wmh-{architecture.lower()}"
    assert f"wmh-{architecture.lower()}" in (out / "report.html").read_text(encoding="utf-8")


def test_an_unknown_model_is_told_in_one_sentence_what_there_is(models, flair, out, monkeypatch, capsys):
    monkeypatch.setattr(csvd.bundle, "model_folders", lambda: [models])
    assert wmh(flair, out, "--model", "wmh-unet") == 3
    assert "no model 'wmh-unet'. Known models: anatomy, wmh-hybrid." in capsys.readouterr().err


def test_warnings_are_told(models, flair, out, capsys):
    wmh(flair, out, "--no-report")
    assert re.search(r"^warning: Only \d+ mL of brain were found", capsys.readouterr().out, re.MULTILINE)


def test_a_t1_is_read_and_the_reader_is_told_that_it_was_not_used(models, flair, out, capsys):
    assert wmh(flair, out, "--t1", flair, "--no-report") == 0
    assert "do not use it" in capsys.readouterr().out
    assert wmh(flair, out, "--t1", flair + "x") == 2


# Wrong calls


def never(*_, **__):
    raise AssertionError("the pipeline ran")


WRONG = {
    "a file that is not there": (["no.nii.gz", "-o", "OUT"], "no.nii.gz"),
    "no output folder": (["FLAIR"], "-o"),
    "a threshold above 1": (["FLAIR", "-o", "OUT", "--threshold", "1.5"], "--threshold"),
    "a threshold that is no number": (["FLAIR", "-o", "OUT", "--threshold", "half"], "--threshold"),
    "a threshold that is nan": (["FLAIR", "-o", "OUT", "--threshold", "nan"], "--threshold"),
    "a negative distance": (["FLAIR", "-o", "OUT", "--pv-distance", "-1"], "--pv-distance"),
    "an endless distance": (["FLAIR", "-o", "OUT", "--pv-distance", "inf"], "--pv-distance"),
    "an unknown rule": (["FLAIR", "-o", "OUT", "--pv-rule", "lobe"], "--pv-rule"),
    "an unknown option": (["FLAIR", "-o", "OUT", "--fast"], "--fast"),
    "a file as output folder": (["FLAIR", "-o", "FLAIR"], "is a file"),
    "a folder inside a file": (["FLAIR", "-o", "FLAIR/deeper/out"], "Nothing can be written"),
    "an empty output folder": (["FLAIR", "-o", ""], "The name of the output folder is empty"),
    "an endless name": (["FLAIR", "-o", 300 * "x"], "Nothing can be written"),
}


@pytest.mark.parametrize(("call", "named"), WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_one_line_exit_status_2_and_no_folder(models, flair, out, monkeypatch, capsys, call, named):
    monkeypatch.setattr(csvd.pipelines.wmh, "segment_wmh", never)
    call = [part.replace("FLAIR", flair).replace("OUT", str(out)) for part in call]
    assert main(["wmh", *call]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(r"csvd: .+\n", told.err)
    assert named in told.err
    assert not out.exists()


@pytest.mark.parametrize(("options", "status"), [
    (["--members", "3"], 2), (["--device", "tpu"], 2), (["--pv-distance", "31"], 2), (["--model", "ct"], 3),
    (["--model", "anatomy"], 3),
])  # fmt: skip
def test_what_only_the_models_can_tell_is_refused_too(models, flair, out, capsys, options, status):
    assert wmh(flair, out, *options) == status
    assert re.fullmatch(r"csvd: .+\n", capsys.readouterr().err)
    assert not out.exists()


@pytest.mark.parametrize("model", ["anatomy", "wmh-hybrid"])
def test_a_damaged_model_is_exit_status_3_and_nothing_is_written(models, flair, out, capsys, model):
    path = models / model / "member-1.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert wmh(flair, out) == 3
    assert str(path) in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("call", [[], ["ct"], ["wmh"], ["evaluate", "one.nii.gz"]], ids=" ".join)
def test_an_incomplete_call_says_where_help_is(call, capsys):
    assert main(call) == 2
    assert "--help" in capsys.readouterr().err


# Interrupted


def test_ctrl_c_is_exit_status_130_and_leaves_nothing(models, flair, out, monkeypatch, capsys):
    def interrupted(*_, progress, **__):
        progress(0.3, "lesions")
        raise KeyboardInterrupt

    monkeypatch.setattr(csvd.pipelines.wmh, "segment_wmh", interrupted)
    assert wmh(flair, out) == 130
    assert capsys.readouterr().err == "csvd: Cancelled; nothing was written.\n"
    assert not out.exists()


def test_ctrl_c_while_files_are_written_leaves_the_folder_as_it_was(models, flair, out, monkeypatch):
    import csvd.report.html

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    out.mkdir()
    (out / "wmh_mask.nii.gz").write_bytes(b"of an earlier run")
    monkeypatch.setattr(csvd.report.html, "write_report", interrupted)
    assert wmh(flair, out) == 130
    assert names(out) == {"wmh_mask.nii.gz"}
    assert (out / "wmh_mask.nii.gz").read_bytes() == b"of an earlier run"


def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path, flair, out):
    """In a process of its own, with a pipeline that only waits."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent("""
            import sys, time, types
            def segment_wmh(*_, **__):
                print("ready", flush=True)
                time.sleep(60)
            fake = types.ModuleType("csvd.pipelines.wmh")
            fake.segment_wmh = segment_wmh
            sys.modules["csvd.pipelines.wmh"] = fake
            from csvd.cli import main
            sys.exit(main(sys.argv[1:]))
        """)
    )
    command = [sys.executable, str(script), "wmh", flair, "-o", str(out)]
    with subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=-1, stderr=-1, text=True) as run:
        assert run.stdout.readline() == "ready\n"
        started = time.monotonic()
        run.terminate()
        _, error = run.communicate(timeout=20)
        assert time.monotonic() - started < 5
    assert run.returncode == 130
    assert error == "csvd: Cancelled; nothing was written.\n"
    assert not out.exists()


# csvd, csvd models, csvd evaluate


def test_version_is_the_package_s(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"csvd {csvd.__version__}\n"


@pytest.mark.parametrize(("call", "words"), [
    (["--help"], ["wmh", "evaluate", "models", "Not a medical device"]),
    (["wmh", "--help"], ["FLAIR", "--threshold", "--pv-distance", "--device", "--json", "Not a medical device"]),
    (["evaluate", "--help"], ["Dice", "MASK", "TRUTH"]),
    (["models", "--help"], ["checksum"]),
])  # fmt: skip
def test_help_tells_what_there_is(call, words, capsys):
    assert main(call) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in words)


def test_python_m_csvd_is_the_same_command_and_loads_no_torch_for_help():
    command = "import sys, runpy; sys.argv = ['csvd', '--help']\n"
    command += "try: runpy.run_module('csvd', run_name='__main__')\n"
    command += "finally: print(sorted({'torch', 'scipy', 'SimpleITK'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.endswith("[]\n")
    assert "usage: csvd" in done.stdout


def test_a_reader_that_leaves_early_is_no_error():
    """As in ``csvd models | head -1``; help is the quickest to ask for."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "csvd", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=writer, stderr=-1, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_models_are_listed_once_they_are_checked(models, monkeypatch, capsys):
    monkeypatch.setattr(csvd.bundle, "model_folders", lambda: [models])
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["anatomy", "wmh-hybrid"]
    assert "2 x" in lines[1]
    assert "intact" in lines[1]
    assert [line.rsplit("  ", 1)[1] for line in lines] == ["Tiny anatomy", "Tiny wmh"]
    assert main(["models", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert [card["id"] for card in cards] == ["anatomy", "wmh-hybrid"]


@pytest.fixture
def masks(tmp_path):
    """Two masks of 8 and 8 voxels of 4 uL that share 4, in different voxel values; and one on another grid."""
    affine = np.diag([1.0, 1, 4, 1])
    mask, truth = np.zeros((12, 12, 6), np.uint8), np.zeros((12, 12, 6), np.float32)
    mask[2:6, 2:4, 2] = 2
    truth[4:8, 2:4, 2] = 0.7
    paths = {name: str(tmp_path / f"{name}.nii.gz") for name in ("mask", "truth", "shifted", "smaller")}
    write_image(Image(mask, affine), paths["mask"])
    write_image(Image(truth, affine), paths["truth"])
    shifted = affine.copy()
    shifted[0, 3] = 0.5
    write_image(Image(truth, shifted), paths["shifted"])
    write_image(Image(truth[:11], affine), paths["smaller"])
    return paths


def test_evaluate_compares_two_masks(masks, capsys):
    assert main(["evaluate", masks["mask"], masks["truth"]]) == 0
    table = capsys.readouterr().out
    assert re.search(r"^Dice +0\.50$", table, re.MULTILINE)
    assert re.search(r"^Volume of the mask +0\.03 mL$", table, re.MULTILINE)
    assert main(["evaluate", masks["mask"], masks["truth"], "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["dice"]["value"] == 0.5
    assert values["volume"] == {**values["volume"], "value": pytest.approx(0.032), "unit": "mL"}
    assert values["lesion_recall"]["value"] == values["lesion_f1"]["value"] == 1


def test_a_distance_that_does_not_exist_is_not_known_and_not_nan(masks, tmp_path, capsys):
    empty = str(tmp_path / "empty.nii.gz")
    write_image(Image(np.zeros((12, 12, 6), np.uint8), np.diag([1.0, 1, 4, 1])), empty)
    assert main(["evaluate", masks["mask"], empty]) == 0
    table = capsys.readouterr().out
    assert "not known" in table
    assert "nan" not in table.lower()
    assert main(["evaluate", masks["mask"], empty, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hausdorff_95"]["value"] is None


@pytest.mark.parametrize("other", ["shifted", "smaller"])
def test_masks_on_different_grids_are_refused(masks, other, capsys):
    assert main(["evaluate", masks["mask"], masks[other]]) == 2
    assert "different grids" in capsys.readouterr().err


def test_an_error_is_told_in_one_line_even_if_its_words_are_not(monkeypatch, flair, out, capsys):
    def wrong(*_, **__):
        raise InputError("first line\n  second line")

    monkeypatch.setattr(csvd.pipelines.wmh, "segment_wmh", wrong)
    assert wmh(flair, out) == 2
    assert capsys.readouterr().err == "csvd: first line second line\n"


def test_a_result_that_cannot_be_saved_is_exit_status_2(models, flair, out, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Result, "_write", full)
    assert wmh(flair, out) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not out.exists()
