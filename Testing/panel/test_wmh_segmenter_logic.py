"""WMHSegmenterLogic for people who type: blocking, on nodes, without a panel and without a pop-up."""

import csv
import textwrap
from pathlib import Path

import pytest
import slicer
from nodes import add_volume
from reading import contents
from tiny_models import requires_models, requires_sample, sharp_head, write_models

from csvd.errors import Cancelled, InputError, ModelError
from csvd.image import read_image, write_image
from csvd_slicer.review import decide, decided_by_reader, review_items
from csvd_slicer.scene import families, find

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def logic(fresh_slicer, models, monkeypatch):
    from WMHSegmenter import WMHSegmenterLogic

    monkeypatch.setenv("CSVD_MODELS", str(models))
    return WMHSegmenterLogic()


@pytest.fixture
def flair(fresh_slicer):
    head = sharp_head()
    return add_volume(slicer.mrmlScene, head.voxels, head.affine, "FLAIR")


@pytest.fixture
def load_volume(monkeypatch):
    """The double reads no files."""

    def load(path):
        image = read_image(path)
        return add_volume(slicer.mrmlScene, image.voxels, image.affine, Path(path).name)

    monkeypatch.setattr(slicer.util, "loadVolume", load)


def test_process_returns_the_result_and_shows_it(logic, flair, dialogs):
    steps = []
    result = logic.process(flair, device="cpu", threshold=0.6, progress=lambda share, step: steps.append(step))
    assert result.measurements["lesion_count"].value == 2
    assert result.parameters["threshold"] == 0.6
    assert find(flair).lesions.GetNumberOfRows() == 2
    assert list(dict.fromkeys(steps)) == ["anatomy", "lesions"]
    assert dialogs.shown == []


def test_without_show_the_scene_stays_as_it_is(logic, flair):
    before = contents()
    assert logic.process(flair, show=False).mask.any()
    assert contents() == before


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"cancelled": lambda: True}, Cancelled, ""),
        ({"threshold": 1.5}, InputError, "threshold is 1.5"),
        ({"model": "other"}, ModelError, "no model 'other'"),
        ({"device": "abacus"}, InputError, "abacus"),
    ],
)
def test_errors_leave_the_scene_as_it_was(logic, flair, settings, error, words):
    before = contents()
    with pytest.raises(error, match=words or None):
        logic.process(flair, **settings)
    assert contents() == before


def test_no_volume(logic):
    with pytest.raises(InputError, match="No volume was chosen"):
        logic.process(None)


def test_a_new_run_forgets_the_review(logic, flair):
    result = logic.process(flair)
    nodes = find(flair)
    decide(nodes, result, review_items(nodes, result)[0], "accepted")
    logic.process(flair)
    assert not decided_by_reader(nodes)


def test_the_batch_of_the_documentation_ends_in_one_table(logic, load_volume, tmp_path, monkeypatch):
    import WMHSegmenter

    (tmp_path / "flairs").mkdir()
    for name in ("a", "b"):
        write_image(sharp_head(), tmp_path / "flairs" / f"{name}.nii.gz")
    monkeypatch.chdir(tmp_path)
    before = contents()
    exec(textwrap.dedent(WMHSegmenter.WMHSegmenterLogic.__doc__.split("::", 1)[1]))
    with open("wmh.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["scan"], row["lesion_count"]) for row in rows] == [("a.nii.gz", "2"), ("b.nii.gz", "2")]
    assert contents() == before


@requires_models
@requires_sample
def test_the_self_test_walks_on_the_sample_and_the_panel_takes_its_result_up(
    fresh_slicer, load_volume, load_panel, picture, tmp_path
):
    """Its pictures are those of the documentation: pytest -k self_test --basetemp=FOLDER Testing/panel/..."""
    from rendering import SliceView

    from WMHSegmenter import WMHSegmenterTest

    case = WMHSegmenterTest("test_run_and_review")
    case.setUp()
    edited = case.runAndReview()
    panel = load_panel(ROOT / "WMHSegmenter" / "WMHSegmenter.py").panel
    (nodes,) = families(slicer.mrmlScene)
    nodes.scan.SetName("Synthetic FLAIR")
    panel.ui.flairSelector.setCurrentNode(nodes.scan)
    assert panel.ui.lesionTable.rowCount == len(review_items(nodes, edited))
    panel.ui.nextButton.click()
    picture(panel.ui.applyButton.window(), "panel_after.png", 534)
    largest = sorted(edited.lesions, key=lambda lesion: -lesion.volume_ml)[:3]
    for number, lesion in enumerate(largest):
        view = SliceView(slicer.mrmlScene, nodes.scan, (480, 560))
        view.look_at(lesion.centroid_mm)
        view.save(tmp_path / f"slice_{number}.png")
        view.close()


def test_the_self_test_fails_when_packages_are_missing(logic, load_volume, monkeypatch):
    import WMHSegmenter
    from csvd_panel.logic import PACKAGES

    monkeypatch.setitem(PACKAGES, "not_there", "not-there")
    with pytest.raises(AssertionError, match="install not-there"):
        WMHSegmenter.WMHSegmenterTest("test_run_and_review").runAndReview()
