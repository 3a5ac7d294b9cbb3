"""The panel and logic of CTLeukoaraiosis on the Qt double, with real nodes and a segmentation whose answer is known."""

import sys
import textwrap
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import slicer
from nodes import add_volume, pieces
from reading import cell, column, contents, paint, volumes
from tiny_models import sharp_head, write_models

from csvd.errors import InputError
from csvd.image import read_image
from csvd.marker import LEUKOARAIOSIS, WMH
from csvd.result import Result
from csvd_slicer.scene import families, find, show
from csvd_slicer.segments import read_mask, read_segments
from csvd_slicer.volumes import image_from_node

ROOT = Path(__file__).parents[2]
requires_model = pytest.mark.skipif(
    not (ROOT / "Resources" / "Models" / "leukoaraiosis-nnunet").is_dir(), reason="the trained model is not there yet"
)
MODULE = ROOT / "CTLeukoaraiosis" / "CTLeukoaraiosis.py"
AFFINE = np.diag([1, 1.2, 4, 1])
# The plane x = 30: the 25 voxels at x = 20-24 are on the left, the 10 at x = 33-34 on the right.
MIDPLANE = [1.0, 0.0, 0.0, 30.0]


def segment(image, model, *, threshold, progress=None, cancelled=None, **settings):
    """As `segment_leukoaraiosis`: 25 voxels of 4.8 mm3 beside the ventricle, p = .9, and 10 far away, p = .6."""
    if progress is not None:
        progress(0.5, "lesions")
    parameters = {"model": model, "midplane": MIDPLANE, "mirror": settings["mirror"]}
    return Result.from_probability(
        *pieces(image), threshold=threshold or 0.5, parameters=parameters, marker=LEUKOARAIOSIS
    )


@dataclass
class Compared:
    volume_flair_ml: float
    quality: str
    flair_mask_on_ct: np.ndarray


def compare(ct, flair):
    """As `compare_with_flair`: of the FLAIR's mask, the CT's first lesion and as many voxels where the CT has none."""
    mask = np.zeros(ct.mask.shape, bool)
    mask[20:25, 22:27, 3:5] = True
    return Compared(flair.measurements["total_volume"].value, "The heads fit well.", mask)


@pytest.fixture(autouse=True)
def stand_ins(tmp_path, monkeypatch):
    monkeypatch.setenv("CSVD_MODELS", str(write_models(tmp_path / "models")))
    card = '{"task": "leukoaraiosis", "title": "Tiny leukoaraiosis", "threshold": 0.5}'
    (tmp_path / "models" / "leukoaraiosis-nnunet").mkdir()
    (tmp_path / "models" / "leukoaraiosis-nnunet" / "model.json").write_text(card)
    monkeypatch.setitem(sys.modules, "csvd.comparison", types.SimpleNamespace(compare_with_flair=compare))


@pytest.fixture
def panel(load_panel, monkeypatch):
    panel = load_panel(MODULE).panel
    monkeypatch.setattr(panel.logic, "pipeline", lambda: segment)
    monkeypatch.setattr(panel.logic, "doubts", lambda image: [])
    return panel


@pytest.fixture
def ct(fresh_slicer):
    voxels = np.random.default_rng(0).integers(-1000, 80, (40, 50, 8)).astype(np.int16)
    return add_volume(slicer.mrmlScene, voxels, AFFINE, "CT")


@pytest.fixture
def flair(fresh_slicer):
    """A FLAIR that the scene holds a result of: 35 voxels, .168 mL."""
    voxels = np.random.default_rng(1).integers(0, 300, (40, 50, 8)).astype(np.int16)
    node = add_volume(slicer.mrmlScene, voxels, AFFINE, "FLAIR")
    show(Result.from_probability(*pieces(image_from_node(node))), node)
    return node


@pytest.fixture
def run(panel, ui, ct, wait_until):
    """A run on the CT, to its end, with the section of the comparison open; returns the family of nodes."""
    ui.comparisonCollapsible.collapsed = False
    ui.ctSelector.setCurrentNode(ct)
    ui.applyButton.click()
    wait_until(lambda: not panel.run.runner.running)
    assert ui.messageLabel.text == "Done."
    return find(ct, LEUKOARAIOSIS)


@pytest.fixture
def compared(panel, ui, run, flair, wait_until):
    ui.flairSelector.setCurrentNode(flair)
    ui.compareButton.click()
    wait_until(lambda: not panel.comparison.runner.running)
    return run


def shown_agreement(ui):
    return [ui.comparisonTable.item(0, n).text() for n in range(4)]


# --- a run ---


def test_load_apply_segments_and_numbers(ui, ct, run):
    segments = read_segments(run.segmentation, ct)
    assert (np.count_nonzero(segments.labels == 1), np.count_nonzero(segments.labels == 2)) == (25, 10)
    assert run.segmentation.GetSegmentation().GetNthSegment(1).GetName() == "Deep leukoaraiosis"
    numbers = volumes(ui)
    assert (numbers["Burden class"], numbers["Quarter among stroke patients"]) == ("<= 10 mL", "1")
    assert numbers["Total leukoaraiosis (mL)"] == "0.17"
    assert (numbers["Left-sided (mL)"], numbers["Right-sided (mL)"]) == ("0.12", "0.05")
    assert numbers["Asymmetry, left to right"] == f"{15 / 35:.2f}"
    assert cell(run.measurements, "total_volume") == "0.168"
    assert ui.lesionTable.rowCount == 2
    assert ui.rejectLabel.text == "Not leukoaraiosis:"


def test_the_button_says_what_is_missing(ui, ct, wait_until):
    assert (ui.applyButton.enabled, ui.applyButton.toolTip) == (False, "Choose a CT volume first")
    ui.ctSelector.setCurrentNode(ct)
    assert ui.applyButton.toolTip == "Find the leukoaraiosis of the chosen CT"
    wait_until(lambda: ui.checkLabel.text)
    assert ui.checkLabel.text.endswith("It looks like a CT of a head.")


def test_slices_are_read_mirrored_too_unless_a_user_says_otherwise(panel, ui, run, ct):
    assert panel.result.parameters["mirror"] is True
    assert panel.logic.process(ct, show=False, mirror=False).parameters["mirror"] is False
    assert ui.modelComboBox.currentText == "Tiny leukoaraiosis"


def test_a_scan_that_is_no_ct_is_refused_in_a_sentence(panel, ui, ct, monkeypatch, wait_until):
    def refuse(image):
        raise InputError(f"{image.source} is no CT: choose the CT.")

    monkeypatch.setattr(panel.logic, "doubts", refuse)
    ui.ctSelector.setCurrentNode(ct)
    wait_until(lambda: ui.checkLabel.text)
    assert ui.checkLabel.text == "Cannot be used. CT is no CT: choose the CT."
    assert not ui.applyButton.enabled


def test_the_threshold_moves_segments_numbers_and_sides_without_a_network(ui, run, wait_until):
    ui.thresholdSlider.value = 0.7
    wait_until(lambda: volumes(ui)["Lesions"] == "1")
    assert (volumes(ui)["Right-sided (mL)"], volumes(ui)["Asymmetry, left to right"]) == ("0.00", "1.00")


def test_a_rejected_lesion_lies_in_a_segment_of_its_own(ui, run):
    ui.nextButton.click()
    ui.infarctButton.click()
    assert run.segmentation.GetSegmentation().GetNthSegment(4).GetName() == "Not leukoaraiosis: infarct"
    assert volumes(ui, 2)["Total leukoaraiosis (mL)"] == "0.12"


def test_a_ct_is_shown_in_the_window_that_a_reader_chooses(ui, ct):
    assert not ui.brainWindowButton.enabled
    ui.ctSelector.setCurrentNode(ct)
    for button, level, width in ((ui.strokeWindowButton, 32, 8), (ui.brainWindowButton, 40, 80)):
        button.click()
        display = ct.GetScalarVolumeDisplayNode()
        assert (display.GetLevel(), display.GetWindow(), display.GetAutoWindowLevel()) == (level, width, 0)


# --- the comparison ---


def test_a_comparison_takes_the_result_that_the_scene_holds_of_the_flair(ui, ct, flair, compared):
    # The FLAIR has 35 voxels of its own; on the CT 50, of which 25 are among the CT's 35: Dice 2 x 25 / 85.
    assert shown_agreement(ui) == ["0.17", "0.17", "0.00", f"{50 / 85:.2f}"]
    assert ui.comparisonLabel.text == "FLAIR: The heads fit well."
    outline = compared.comparison
    assert outline.GetName() == "CT WMH of the FLAIR"
    assert read_mask(outline, ct, "WMH_of_FLAIR").sum() == 50
    assert (outline.GetDisplayNode().GetVisibility2DFill(), outline.GetDisplayNode().GetVisibility3D()) == (0, 0)
    assert len(list(families(slicer.mrmlScene))) == 2


def test_an_edited_flair_is_compared_as_it_was_edited(panel, ui, run, flair, wait_until):
    paint(find(flair), np.s_[20:25, 22:27, 3], 0)
    ui.flairSelector.setCurrentNode(flair)
    ui.compareButton.click()
    wait_until(lambda: not panel.comparison.runner.running)
    assert shown_agreement(ui)[1:3] == ["0.05", "0.12"]


def test_the_agreement_follows_threshold_and_edits(ui, compared, wait_until):
    ui.thresholdSlider.value = 0.7
    wait_until(lambda: shown_agreement(ui)[3] == f"{50 / 75:.2f}")
    paint(compared, np.s_[20:25, 22:27, 4], 1)
    wait_until(lambda: shown_agreement(ui)[3] == "1.00")
    assert shown_agreement(ui)[:3] == ["0.24", "0.17", "0.07"]


def test_a_flair_without_a_result_is_segmented_first(panel, ui, run, wait_until):
    head = sharp_head()
    node = add_volume(slicer.mrmlScene, head.voxels, head.affine, "new FLAIR")
    ui.flairSelector.setCurrentNode(node)
    ui.compareButton.click()
    wait_until(lambda: not panel.comparison.runner.running, timeout=60)
    total_ml = float(cell(find(node, WMH).measurements, "total_volume"))
    assert total_ml > 1
    assert shown_agreement(ui)[1] == f"{total_ml:.2f}"


def test_a_second_comparison_takes_the_place_of_the_first(panel, ui, compared, wait_until):
    before = contents()
    ui.compareButton.click()
    wait_until(lambda: not panel.comparison.runner.running)
    assert contents() == before


def test_a_comparison_comes_back_when_the_ct_is_chosen_again(ui, ct, compared):
    ui.ctSelector.setCurrentNode(None)
    assert not ui.comparisonCollapsible.visible
    ui.ctSelector.setCurrentNode(ct)
    assert shown_agreement(ui)[3] == f"{50 / 85:.2f}"
    assert ui.comparisonLabel.text == "FLAIR: The heads fit well."


def test_the_progress_bar_stays_away_when_the_section_is_closed_and_opened_again(ui, compared):
    ui.comparisonCollapsible.collapsed = True
    ui.comparisonCollapsible.collapsed = False
    assert (ui.comparisonTable.visible, ui.comparisonProgressBar.visible) == (True, False)


def test_the_comparison_says_what_is_missing(ui, run, flair):
    assert (ui.compareButton.enabled, ui.compareButton.toolTip) == (False, "Choose a FLAIR volume first")
    assert not ui.comparisonTable.visible
    ui.flairSelector.setCurrentNode(flair)
    assert ui.compareButton.enabled


def test_scans_of_two_heads_are_refused_in_a_sentence(panel, ui, run, flair, monkeypatch, wait_until):
    def refuse(ct, flair):
        raise InputError("The FLAIR does not show the head of the CT: choose the FLAIR of the same patient.")

    monkeypatch.setitem(sys.modules, "csvd.comparison", types.SimpleNamespace(compare_with_flair=refuse))
    before = contents()
    ui.flairSelector.setCurrentNode(flair)
    ui.compareButton.click()
    wait_until(lambda: not panel.comparison.runner.running)
    assert ui.comparisonLabel.text.startswith("The FLAIR does not show the head of the CT")
    assert not ui.comparisonTable.visible
    assert contents() == before


@pytest.fixture
def endless(panel, hold):
    return hold(panel.logic, "prepareComparison", 0.4, "lesions")


@pytest.mark.parametrize("by", ["the button", "another FLAIR", "removing the FLAIR", "another CT", "closing the scene"])
def test_a_comparison_can_be_cancelled(panel, ui, run, flair, endless, wait_until, by):
    ui.flairSelector.setCurrentNode(flair)
    before = contents()
    ui.compareButton.click()
    wait_until(lambda: ui.comparisonProgressBar.value == 40)
    assert (ui.compareButton.text, ui.comparisonProgressBar.visible) == ("Cancel", True)
    {
        "the button": lambda: ui.compareButton.click(),
        "another FLAIR": lambda: ui.flairSelector.setCurrentNode(None),
        "removing the FLAIR": lambda: slicer.mrmlScene.RemoveNode(flair),
        "another CT": lambda: ui.ctSelector.setCurrentNode(None),
        "closing the scene": lambda: slicer.mrmlScene.Clear(False),
    }[by]()
    assert endless.wait(1)
    assert not panel.comparison.runner.running
    assert (ui.compareButton.text, ui.comparisonProgressBar.visible) == ("Compare", False)
    if by == "the button":
        assert ui.comparisonLabel.text == "Cancelled. The scene is as it was."
        assert contents() == before


# --- both modules ---


def test_both_modules_work_in_one_scene_and_keep_apart(load_panel, ui, ct, flair, compared):
    wmh = load_panel(ROOT / "WMHSegmenter" / "WMHSegmenter.py").panel
    wmh.ui.flairSelector.setCurrentNode(flair)
    assert volumes(wmh.ui)["Total WMH (mL)"] == "0.17"
    assert "Left-sided (mL)" not in volumes(wmh.ui)
    assert wmh.ui.rejectLabel.text == "Not WMH:"
    assert ui.ctSelector.currentNode() is ct
    assert wmh.ui.segmentEditor.mrmlSegmentEditorNode() is not ui.segmentEditor.mrmlSegmentEditorNode()
    wmh.ui.flairSelector.setCurrentNode(ct)
    assert wmh.nodes is None
    assert column(ui.lesionTable, 0) == ["2", "1"]


# --- for scripts ---


@pytest.fixture
def logic(monkeypatch):
    from CTLeukoaraiosis import CTLeukoaraiosisLogic

    logic = CTLeukoaraiosisLogic()
    monkeypatch.setattr(logic, "pipeline", lambda: segment)
    return logic


def test_a_script_processes_and_compares_without_a_panel(logic, ct, flair, dialogs):
    steps = []
    result = logic.process(ct, progress=lambda share, step: steps.append((share, step)))
    assert result.measurements["left_volume"].value == pytest.approx(0.12)
    agreement = logic.compare(ct, flair, progress=lambda share, step: steps.append((share, step)))
    assert agreement.dice == pytest.approx(50 / 85)
    assert agreement.difference_ml == pytest.approx(0)
    assert steps == [(0.5, "lesions"), (0.8, "registration")]
    assert dialogs.shown == []


def test_a_ct_without_a_result_cannot_be_compared(logic, ct, flair):
    before = contents()
    with pytest.raises(InputError, match="CT has no leukoaraiosis yet: process the CT first"):
        logic.compare(ct, flair)
    assert contents() == before


def test_a_ct_that_changed_during_a_comparison_is_not_written_on(logic, ct, flair):
    result = logic.process(ct)
    found = logic.prepareComparison(result, flair)()
    found[1].flair_mask_on_ct = np.zeros((3, 3, 3), bool)
    before = contents()
    with pytest.raises(InputError, match="CT was changed after the comparison had started"):
        logic.showComparison(find(ct), flair, *found)
    assert contents() == before


def test_the_example_of_the_documentation_runs(logic, ct, flair, monkeypatch, capsys):
    import CTLeukoaraiosis

    files = {"ct.nii.gz": ct, "flair.nii.gz": flair}
    monkeypatch.setattr(slicer.util, "loadVolume", files.get)
    monkeypatch.setattr(CTLeukoaraiosis.CTLeukoaraiosisLogic, "pipeline", lambda self: segment)
    exec(textwrap.dedent(CTLeukoaraiosis.CTLeukoaraiosisLogic.__doc__.split("::", 1)[1]))
    volume, agreement = capsys.readouterr().out.splitlines()
    assert float(volume.removesuffix(" mL")) == pytest.approx(0.168)
    assert agreement == "Dice 0.59, FLAIR 0.2 mL. The heads fit well."


@requires_model
def test_the_self_test_walks_on_the_sample_and_the_panel_takes_its_result_up(
    fresh_slicer, load_panel, picture, tmp_path, monkeypatch
):
    """Its pictures are those of the documentation: pytest -k self_test --basetemp=FOLDER Testing/panel/..."""
    from rendering import SliceView

    from CTLeukoaraiosis import CTLeukoaraiosisTest

    def load(path):
        image = read_image(path)
        return add_volume(slicer.mrmlScene, image.voxels, image.affine, "Synthetic CT")

    monkeypatch.delenv("CSVD_MODELS")
    monkeypatch.setattr(slicer.util, "loadVolume", load)
    case = CTLeukoaraiosisTest("test_run_and_review")
    case.setUp()
    edited = case.runAndReview()
    panel = load_panel(MODULE).panel
    (nodes,) = families(slicer.mrmlScene)
    panel.ui.ctSelector.setCurrentNode(nodes.scan)
    panel.ui.brainWindowButton.click()
    picture(panel.ui.applyButton.window(), "ct_panel.png", 484)
    for number, lesion in enumerate(sorted(edited.lesions, key=lambda lesion: -lesion.volume_ml)[:3]):
        view = SliceView(slicer.mrmlScene, nodes.scan, (360, 420))
        view.look_at(lesion.centroid_mm)
        view.save(tmp_path / f"ct_slice_{number}.png")
        view.close()
