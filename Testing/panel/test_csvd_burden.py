"""The panel and logic of CSVDBurden on the Qt double, with real nodes and a patient whose answer is known by hand."""

import textwrap
from pathlib import Path

import numpy as np
import pytest
import slicer
from burden_patient import PLACES, add_scans, burden_of, foci
from nodes import pieces
from reading import cell, column, contents
from test_burden_scene import draw

from csvd.burden_result import BurdenResult
from csvd.errors import InputError
from csvd.image import read_image
from csvd.result import Result
from csvd.sequences import SEQUENCE_OF, SEQUENCES
from csvd_slicer.burden_nodes import families, find
from csvd_slicer.burden_scene import result_from_nodes, show
from csvd_slicer.highlight import HIGHLIGHT
from csvd_slicer.segments import read_mask

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "CSVDBurden" / "CSVDBurden.py"
CARD = (
    '{"task": "burden", "title": "Tiny burden", "network": {"architecture": "UNet"}, '
    '"thresholds": {"wmh": 0.5, "microbleed": 0.5, "lacune": 0.5, "perivascular_space": 0.5}}'
)
requires_model = pytest.mark.skipif(
    not (ROOT / "Resources" / "Models" / "burden-mounet").is_dir(), reason="the trained model is not there yet"
)
REFERENCE = (
    "marker,mean,sd,n,transform,source\n"
    "microbleed_count,1,0.5,40,none,Our clinic\nlacune_count,0.5,2,40,none,Our clinic\n"
)


def measure(
    *, progress=None, cancelled=None, model, wmh_model=None, own_decoders=False, reference=None, siderosis=None,
    pvs_threshold=10, pv_distance_mm=10.0, pv_rule="voxel", device="auto", mirror=False, thresholds=None, **images,
):  # fmt: skip
    """As `measure_burden`: the patient of `burden_patient`, whatever the voxels are."""
    if progress is not None:
        progress(0.5, "anatomy")
    rules = {"pv_distance_mm": pv_distance_mm, "pv_rule": pv_rule}
    wmh = Result.from_probability(*pieces(images["flair"]), **rules) if "flair" in images else None
    markers = [marker for name in images for marker in SEQUENCES[name] if marker != "wmh"]
    sequence = {marker: name for name in images for marker in SEQUENCES[name]}
    return BurdenResult(
        sequences=images,
        wmh=wmh,
        focal={marker: foci(marker, images[sequence[marker]], PLACES[marker]) for marker in markers},
        set_inputs={} if siderosis is None else {"superficial_siderosis": siderosis},
        pvs_threshold=pvs_threshold,
        reference=reference,
        parameters={"model": model, "mirror": mirror, "wmh_model": wmh_model, "own_decoders": own_decoders},
        provenance={"marker": "burden", "input": {}, "date": "2026-01-01T00:00:00+00:00"},
    )


@pytest.fixture(autouse=True)
def stand_ins(tmp_path, monkeypatch):
    for model, card in (("burden-mounet", CARD), ("wmh-tiny", CARD.replace("burden", "wmh"))):
        (tmp_path / "models" / model).mkdir(parents=True)
        (tmp_path / "models" / model / "model.json").write_text(card, encoding="utf-8")
    monkeypatch.setenv("CSVD_MODELS", str(tmp_path / "models"))


@pytest.fixture
def panel(load_panel, monkeypatch):
    panel = load_panel(MODULE).panel
    monkeypatch.setattr(panel.logic, "pipeline", lambda: measure)
    monkeypatch.setattr(panel.logic, "check", lambda images: f"Given: {', '.join(images)}.")
    return panel


@pytest.fixture
def scans(fresh_slicer):
    return add_scans(slicer.mrmlScene)


@pytest.fixture
def choose(ui):
    def choose(scans):
        for name in ("flair", "t1", "swi"):
            getattr(ui, f"{name}Selector").setCurrentNode(scans.get(name))

    return choose


@pytest.fixture
def apply(panel, ui, wait_until):
    """Press Apply and wait for the end."""

    def apply():
        ui.applyButton.click()
        wait_until(lambda: not panel.run.runner.running)

    return apply


@pytest.fixture
def run(ui, scans, choose, apply):
    """A run on all three sequences, to its end; returns the nodes."""
    choose(scans)
    apply()
    assert ui.messageLabel.text == "Done."
    return find(scans)


def scores(ui, number=1):
    return dict(zip(column(ui.scoresTable, 0), column(ui.scoresTable, number), strict=True))


def counts(ui):
    """Whether each listed candidate counts, by marker and number."""
    marker, number, counting = (column(ui.candidateTable, n) for n in (0, 1, 5))
    return {(m, n): text for m, n, text in zip(marker, number, counting, strict=True)}


def select(ui, marker, number):
    rows = list(zip(column(ui.candidateTable, 0), column(ui.candidateTable, 1), strict=True))
    ui.candidateTable.setCurrentCell(rows.index((marker, number)), 0)


def type_input(ui, title, text):
    ui.inputsTable.item(column(ui.inputsTable, 0).index(title), 2).setText(text)


# --- a run ---


def test_three_sequences_apply_segments_scores_and_candidates(ui, scans, run):
    assert scores(ui)["Total SVD score (0-4)"] == "2"
    assert scores(ui)["Total WMH, volume (mL)"] == "0.17"
    assert (scores(ui)["Microbleeds"], scores(ui)["Lacunes"], scores(ui)["Perivascular spaces"]) == ("2", "1", "1")
    assert ui.scoresTable.isColumnHidden(2)
    assert len(counts(ui)) == 5
    assert counts(ui)[("Microbleed", "3")] == "no: diameter 1.2 mm, under 2 mm"
    assert ui.reviewLabel.text == "0 of 4 candidates decided; 1 more do not count, for their size or place."
    assert read_mask(run.segmentations["swi"], scans["swi"], "Microbleeds").sum() == 91
    assert ui.logText.plainText.split("s  ")[-1].strip() == "Measured"


def test_the_button_says_what_is_missing_and_what_it_will_do(ui, choose, scans):
    assert (ui.applyButton.enabled, ui.applyButton.toolTip) == (False, "Choose a FLAIR, a T1 or an SWI volume first")
    assert not any(s.visible for s in (ui.resultsCollapsible, ui.reviewCollapsible, ui.editCollapsible))
    assert not ui.inputsTable.visible
    choose({"swi": scans["swi"]})
    assert ui.applyButton.enabled
    assert ui.applyButton.toolTip == "Find the markers of the chosen sequences, and add up the scores"


@pytest.mark.parametrize(
    ("given", "score", "shown"), [(("swi",), "1-4", 3), (("flair", "t1"), "1-2", 2), (("flair",), "0-3", 0)]
)
def test_any_subset_can_be_measured_and_what_is_missing_makes_a_range(ui, scans, choose, apply, given, score, shown):
    choose({name: scans[name] for name in given})
    apply()
    assert scores(ui)["Total SVD score (0-4)"] == score
    assert len(counts(ui)) == shown
    assert [ui.shownComboBox.itemData(n) for n in range(ui.shownComboBox.count)] == list(given)
    missing = "-" if "swi" not in given else "2"
    assert scores(ui)["Microbleeds"] == missing


def test_each_number_says_its_rule_and_source(ui, run):
    assert ui.sourceLabel.text == "Click a row to see its rule and source."
    ui.scoresTable.setCurrentCell(0, 0)
    assert "1 point each: WMH (deep 2-3 or periventricular 3)" in ui.sourceLabel.text
    assert "Staals" in ui.sourceLabel.text
    row = column(ui.scoresTable, 0).index("CAA-SVD score (0-6)")
    assert ui.scoresTable.item(row, 1).text() == "-"
    assert "Withheld: superficial siderosis" in ui.scoresTable.item(row, 1).toolTip()


def test_a_scan_that_cannot_be_used_is_refused_in_a_sentence(panel, ui, scans, choose, monkeypatch, wait_until):
    def refuse(images):
        raise InputError("T1 has bright fluid, as on T2, and cannot be a T1. Give the T1 of this head.")

    monkeypatch.setattr(panel.logic, "check", refuse)
    choose({"t1": scans["t1"]})
    wait_until(lambda: ui.checkLabel.text)
    assert ui.checkLabel.text == (
        "Cannot be used. T1 has bright fluid, as on T2, and cannot be a T1. Give the T1 of this head."
    )
    assert not ui.applyButton.enabled


def test_an_error_of_a_run_is_a_sentence_and_the_scene_is_as_it_was(panel, ui, scans, choose, apply, monkeypatch):
    def fail(**settings):
        raise InputError("No brain was found.")

    monkeypatch.setattr(panel.logic, "pipeline", lambda: fail)
    choose(scans)
    before = contents()
    apply()
    assert ui.messageLabel.text == "No brain was found."
    assert contents() == before


@pytest.mark.parametrize("by", ["the button", "another T1", "removing the SWI", "closing the scene"])
def test_a_run_can_be_cancelled_and_leaves_the_scene_as_it_was(panel, ui, scans, choose, hold, wait_until, by):
    ended = hold(panel.logic, "prepare", 0.4, "anatomy")
    choose(scans)
    before = contents()
    ui.applyButton.click()
    wait_until(lambda: ui.progressBar.value == 40)
    assert ui.applyButton.text == "Cancel"
    {
        "the button": lambda: ui.applyButton.click(),
        "another T1": lambda: ui.t1Selector.setCurrentNode(None),
        "removing the SWI": lambda: slicer.mrmlScene.RemoveNode(scans["swi"]),
        "closing the scene": lambda: slicer.mrmlScene.Clear(False),
    }[by]()
    assert ended.wait(1)
    assert not panel.run.runner.running
    if by == "the button":
        assert ui.messageLabel.text == "Cancelled. The scene is as it was."
        assert contents() == before


def test_many_runs_leave_the_nodes_of_one(run, apply):
    before = contents()
    for _ in range(3):
        apply()
    assert contents() == before


# --- review ---


def test_rejecting_and_accepting_candidates_moves_scores_tables_and_bars_at_once(ui, run):
    select(ui, "Lacune", "1")
    assert ui.candidateLabel.text == "5.2 x 5.2 mm, 64 mm3, probability up to 0.90. Counts: yes."
    ui.rejectButton.click()
    assert counts(ui)[("Lacune", "1")] == "no, by a reader"
    assert (scores(ui)["Total SVD score (0-4)"], scores(ui, 2)["Total SVD score (0-4)"]) == ("2", "1")
    assert not ui.scoresTable.isColumnHidden(2)
    assert scores(ui, 2)["Lacunes"] == "0"
    assert run.burden.GetCellText(2, 1) == "0"
    select(ui, "Microbleed", "3")
    ui.acceptButton.click()
    assert scores(ui, 2)["Microbleeds"] == "3"
    select(ui, "Lacune", "1")
    ui.undecideButton.click()
    assert scores(ui, 2)["Total SVD score (0-4)"] == "2"
    assert ui.reviewLabel.text.startswith("1 of 5 candidates decided")
    assert "no, by a reader" not in ui.candidateLabel.text


def test_a_click_shows_the_candidate_on_its_own_sequence_with_its_segments_alone(layout_manager, ui, scans, run):
    def background():
        return {c.GetBackgroundVolumeID() for c in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}

    def visible():
        return [name for name, node in run.segmentations.items() if node.GetDisplayNode().GetVisibility()]

    assert (background(), visible()) == ({scans["flair"].GetID()}, ["flair"])
    select(ui, "Microbleed", "1")
    assert (background(), visible()) == ({scans["swi"].GetID()}, ["swi"])
    assert ui.shownComboBox.currentText == "SWI"
    assert ui.segmentEditor.segmentationNode() is run.segmentations["swi"]
    highlight = slicer.mrmlScene.GetSingletonNode(HIGHLIGHT, "vtkMRMLSegmentationNode")
    assert highlight.GetSegmentation().GetNthSegment(0).GetName() == "microbleed 1"
    (view, *_others) = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    candidate = next(c for c in result_from_nodes(run).candidates if (c.marker, c.id) == ("microbleed", 1))
    centre = [view.GetSliceToRAS().GetElement(n, 3) for n in range(3)]
    assert np.allclose(centre, candidate.centroid_mm, atol=1)
    ui.shownComboBox.setCurrentIndex(1)
    assert (background(), visible()) == ({scans["t1"].GetID()}, ["t1"])


def test_after_a_decision_the_next_undecided_candidate_is_current(ui, run):
    ui.nextButton.click()
    assert ui.candidateTable.currentRow() == 0
    seen = []
    for _ in range(4):
        row = ui.candidateTable.currentRow()
        seen.append((ui.candidateTable.item(row, 0).text(), ui.candidateTable.item(row, 1).text()))
        ui.acceptButton.click()
    assert len(set(seen)) == 4
    assert ui.reviewLabel.text.startswith("4 of 4 candidates decided")


def test_what_is_drawn_and_erased_is_measured(panel, ui, run, wait_until):
    draw(run, "microbleed", "swi", np.s_[18:21, 12:15, 5:8])
    draw(run, "lacune", "t1", np.s_[:, :, :], 0)
    wait_until(lambda: scores(ui, 2).get("Microbleeds") == "3")
    assert scores(ui, 2)["Lacunes"] == "0"
    assert cell(run.scores, "microbleed_count") == "2"


# --- inputs, thresholds, reference ---


def test_inputs_are_seen_and_can_be_set_and_taken_back(ui, run):
    inputs = dict(zip(column(ui.inputsTable, 0), column(ui.inputsTable, 1), strict=True))
    assert (inputs["Microbleeds, lobar"], inputs["Perivascular spaces, basal ganglia"]) == ("2", "1")
    type_input(ui, "Fazekas deep", "3")
    assert scores(ui, 2)["Total SVD score (0-4)"] == "3"
    assert dict(zip(column(ui.inputsTable, 0), column(ui.inputsTable, 2), strict=True))["Fazekas deep"] == "3"
    type_input(ui, "Fazekas deep", "")
    assert scores(ui)["Total SVD score (0-4)"] == "2"
    assert ui.scoresTable.isColumnHidden(2)


def test_a_missing_input_can_be_given_by_hand(ui, scans, choose, apply):
    choose({"flair": scans["flair"], "t1": scans["t1"]})
    apply()
    assert (
        dict(zip(column(ui.inputsTable, 0), column(ui.inputsTable, 1), strict=True))["Microbleeds, lobar"] == "missing"
    )
    for place, count in (("lobar", "4"), ("deep", "0"), ("brain stem", "0"), ("cerebellum", "0")):
        type_input(ui, f"Microbleeds, {place}", count)
    assert scores(ui, 2)["Total SVD score (0-4)"] == "2"


@pytest.mark.parametrize(
    ("title", "text", "sentence"),
    [
        ("Lacunes", "many", "An input of the scores is 'many': type a whole number, or nothing."),
        ("Lacunes", "1.5", "An input of the scores is '1.5': type a whole number, or nothing."),
        ("Fazekas deep", "4", "Fazekas deep is 4: give a Fazekas grade from 0 to 3."),
        ("Lacunes", "-1", "Lacunes is -1: give a whole number from 0 on, or nothing where it is missing."),
    ],
)
def test_an_input_that_cannot_be_is_refused_in_a_sentence(ui, run, title, text, sentence):
    type_input(ui, title, text)
    assert ui.messageLabel.text == sentence
    assert set(column(ui.inputsTable, 2)) == {""}
    assert scores(ui)["Total SVD score (0-4)"] == "2"


def test_siderosis_and_the_limit_of_perivascular_spaces_change_scores_without_a_run(ui, run, wait_until):
    ui.siderosisComboBox.setCurrentIndex(2)
    wait_until(lambda: scores(ui, 2).get("CAA-SVD score (0-6)") == "2")  # 2 lobar microbleeds 1, focal siderosis 1
    ui.pvsAboveSpinBox.value = 0
    wait_until(lambda: scores(ui, 2)["Total SVD score (0-4)"] == "3")
    assert "more than 0 perivascular spaces" in source_of(run.scores, "svd_score")


def source_of(table, name):
    names = [table.GetCellText(row, 0) for row in range(table.GetNumberOfRows())]
    return table.GetCellText(names.index(name), table.GetColumnIndex("source"))


def test_what_was_set_before_a_run_goes_into_it(ui, scans, choose, apply):
    ui.siderosisComboBox.setCurrentIndex(1)
    ui.pvsAboveSpinBox.value = 0
    choose(scans)
    apply()
    assert scores(ui, 2)["CAA-SVD score (0-6)"] == "1"
    assert scores(ui, 2)["Total SVD score (0-4)"] == "3"


def test_who_outlines_hyperintensities_can_be_chosen(panel, ui, scans, choose, apply):
    box = ui.wmhModelComboBox
    offered = [box.itemData(n) for n in range(box.count)]  # the models that ship stand among them
    assert offered[:2] == ["", "wmh-tiny"]
    assert offered[-1] == "burden-mounet"
    assert not any(name.startswith(("anatomy", "leukoaraiosis")) for name in offered)
    choose(scans)
    apply()
    assert panel.result.parameters["wmh_model"] is None
    box.setCurrentIndex(1)
    apply()
    assert panel.result.parameters["wmh_model"] == "wmh-tiny"
    panel.parameters.wmhModel = "burden-mounet"
    assert box.currentIndex == len(offered) - 1
    panel.parameters.wmhModel = "one that was taken away"
    assert (box.currentIndex, panel.parameters.wmhModel) == (0, "")


def test_the_published_walk_can_be_chosen(panel, ui, scans, choose, apply):
    choose(scans)
    apply()
    assert panel.result.parameters["own_decoders"] is False
    ui.ownDecodersCheckBox.checked = True
    apply()
    assert panel.result.parameters["own_decoders"] is True


def test_every_marker_has_its_own_threshold(ui, panel, run, wait_until):
    assert not ui.thresholdSpinBox.visible
    ui.markerComboBox.setCurrentIndex(ui.markerComboBox.findData("microbleed"))
    ui.thresholdSlider.value = 0.7
    wait_until(lambda: scores(ui)["Microbleeds"] == "1")
    assert scores(ui)["Total WMH, volume (mL)"] == "0.17"
    ui.markerComboBox.setCurrentIndex(ui.markerComboBox.findData("wmh"))
    assert ui.thresholdSlider.value == 0.5
    ui.thresholdSlider.value = 0.7
    wait_until(lambda: scores(ui)["Total WMH, volume (mL)"] == "0.12")  # 25 voxels of 4.8 mm3
    assert panel.result.settings["threshold"] == {
        "wmh": 0.7, "lacune": 0.5, "perivascular_space": 0.5, "microbleed": 0.7,
    }  # fmt: skip


def test_another_threshold_asks_before_it_loses_decisions(ui, run, dialogs, wait_until):
    select(ui, "Lacune", "1")
    ui.rejectButton.click()
    ui.markerComboBox.setCurrentIndex(ui.markerComboBox.findData("lacune"))
    dialogs.answer("confirmYesNoDisplay", False)
    ui.thresholdSlider.value = 0.7
    wait_until(lambda: dialogs.texts("confirmYesNoDisplay"))
    wait_until(lambda: ui.thresholdSlider.value == 0.5)
    assert scores(ui, 2)["Lacunes"] == "0"


def test_a_reference_gives_z_scores_and_without_one_there_are_none(ui, run, dialogs, tmp_path):
    assert not any("z" in title.split() for title in scores(ui))
    path = tmp_path / "reference.csv"
    path.write_text(REFERENCE, encoding="utf-8")
    dialogs.answer("QFileDialog.getOpenFileName", str(path))
    ui.referenceButton.click()
    assert ui.referenceLabel.text == "2 of 4 markers: Our clinic (n=40)"
    shown = scores(ui)
    assert (shown["Microbleeds, z (SD)"], shown["Lacunes, z (SD)"]) == ("2.00", "0.25")
    assert (shown["WMH volume, z (SD)"], shown["Z-score burden (SD)"]) == ("-", "2.25")
    assert run.series.GetYColumnName() == "z"
    ui.removeReferenceButton.click()
    assert "Z-score burden (SD)" not in scores(ui)
    assert run.series.GetYColumnName() == "value"
    assert not ui.removeReferenceButton.enabled


def test_a_reference_that_was_loaded_before_goes_into_the_run(ui, scans, choose, apply, dialogs, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("id,lacune_count\na,0\nb,2\n", encoding="utf-8")
    dialogs.answer("QFileDialog.getOpenFileName", str(path))
    ui.referenceButton.click()
    choose(scans)
    apply()
    assert ui.referenceLabel.text == "1 of 4 markers: The people in results.csv (n=2)"
    assert scores(ui)["Lacunes, z (SD)"] == "0.00"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a,b\n1,2\n", "lacks the column 'marker'"), (REFERENCE.replace("0.5,40", "0,40"), "sd and n must")],
)
def test_a_bad_reference_is_refused_in_a_sentence_and_the_former_stays(ui, run, dialogs, tmp_path, text, sentence):
    path = tmp_path / "reference.csv"
    path.write_text(text, encoding="utf-8")
    dialogs.answer("QFileDialog.getOpenFileName", str(path))
    ui.referenceButton.click()
    assert sentence in ui.messageLabel.text
    assert ui.referenceLabel.text.startswith("No reference")


# --- what stays, and what asks first ---


def test_a_result_comes_back_when_its_scans_are_chosen_again(ui, scans, choose, run):
    select(ui, "Lacune", "1")
    ui.rejectButton.click()
    ui.swiSelector.setCurrentNode(None)
    assert not ui.resultsCollapsible.visible
    ui.swiSelector.setCurrentNode(scans["swi"])
    assert scores(ui, 2)["Total SVD score (0-4)"] == "1"


def test_a_patient_of_the_scene_is_taken_up_with_its_settings(ui, scans, choose):
    show(burden_of(scans, pvs_threshold=20).with_siderosis("disseminated"), scans)
    choose(scans)
    assert ui.pvsAboveSpinBox.value == 20
    assert ui.siderosisComboBox.currentText == "Disseminated (4 sulci or more)"
    assert scores(ui, 2)["CAA-SVD score (0-6)"] == "3"


def test_a_new_run_asks_before_it_loses_a_review(ui, run, apply, dialogs):
    select(ui, "Lacune", "1")
    ui.rejectButton.click()
    dialogs.answer("confirmYesNoDisplay", False, True)
    ui.applyButton.click()
    assert scores(ui, 2)["Lacunes"] == "0"
    apply()
    assert scores(ui)["Lacunes"] == "1"
    assert ui.scoresTable.isColumnHidden(2)


def test_removing_a_segmentation_lets_go_of_the_result(ui, run):
    slicer.mrmlScene.RemoveNode(run.segmentations["t1"])
    assert not ui.resultsCollapsible.visible
    assert ui.candidateTable.rowCount == 0


def test_closing_the_scene_empties_the_panel(ui, run):
    slicer.mrmlScene.Clear(False)
    assert not ui.resultsCollapsible.visible
    assert ui.candidateTable.rowCount == ui.scoresTable.rowCount == 0


def test_the_report_is_written_as_it_is_after_the_review(ui, run, dialogs, tmp_path):
    select(ui, "Lacune", "1")
    ui.rejectButton.click()
    dialogs.answer("QFileDialog.getExistingDirectory", str(tmp_path / "out"), "")
    ui.saveButton.click()
    assert ui.messageLabel.text.endswith(f"files were written into {tmp_path / 'out'}.")
    assert "no, by a reader" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    ui.saveButton.click()
    assert len(dialogs.texts("QFileDialog.getExistingDirectory")) == 2


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(ui, run, dialogs, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    dialogs.answer("QFileDialog.getExistingDirectory", str(tmp_path / "file"))
    ui.saveButton.click()
    assert ui.messageLabel.text.startswith(f"Cannot write into {tmp_path / 'file'}")


def test_the_chart_is_shown(ui, run):
    ui.plotButton.click()
    selection = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
    assert selection.GetActivePlotChartID() == run.chart.GetID()


# --- for scripts ---


@pytest.fixture
def logic(monkeypatch):
    from CSVDBurden import CSVDBurdenLogic

    logic = CSVDBurdenLogic()
    monkeypatch.setattr(logic, "pipeline", lambda: measure)
    return logic


def test_a_script_processes_without_a_panel(logic, scans, dialogs, tmp_path):
    path = tmp_path / "reference.csv"
    path.write_text(REFERENCE, encoding="utf-8")
    steps = []
    result = logic.process(
        **scans, siderosis="focal", reference=path, progress=lambda share, step: steps.append((share, step))
    )
    assert result.measurements["z_burden"].value == pytest.approx(2.25)
    assert len(list(families(slicer.mrmlScene))) == 1
    before = contents()
    assert logic.process(swi=scans["swi"], show=False).missing == ("flair", "t1")
    assert contents() == before
    assert steps == [(0.5, "anatomy")]
    assert dialogs.shown == []


def test_the_check_says_what_is_missing_and_refuses_what_is_no_head(logic, scans):
    from csvd_slicer.volumes import image_from_node

    with pytest.raises(InputError):
        logic.check({"swi": image_from_node(scans["swi"])})


def test_the_example_of_the_documentation_runs(scans, monkeypatch, capsys):
    import CSVDBurden

    files = {f"{name}.nii.gz": scan for name, scan in scans.items()}
    monkeypatch.setattr(slicer.util, "loadVolume", files.get)
    monkeypatch.setattr(CSVDBurden.CSVDBurdenLogic, "pipeline", lambda self: measure)
    exec(textwrap.dedent(CSVDBurden.CSVDBurdenLogic.__doc__.split("::", 1)[1]))
    assert capsys.readouterr().out.splitlines() == [
        "Total SVD score (0-4) 2", "Amended SVD score (0-6) 3", "CAA-SVD score (0-6) 1", "Without one lacune: 1",
    ]  # fmt: skip


def test_a_model_of_another_task_is_not_offered(logic):
    assert list(logic.models()) == ["burden-mounet"]


@requires_model
def test_the_self_test_walks_on_the_sample_and_the_panel_takes_its_result_up(
    fresh_slicer, monkeypatch, load_panel, picture, tmp_path
):
    """Its pictures are those of the documentation: pytest -k self_test --basetemp=FOLDER Testing/panel/..."""
    from nodes import add_volume
    from rendering import SliceView

    from CSVDBurden import SAMPLES, CSVDBurdenTest

    def load(path):
        image = read_image(path)
        titles = {file: f"Synthetic burden {name.upper()}" for name, file in SAMPLES.items()}
        return add_volume(slicer.mrmlScene, image.voxels, image.affine, titles[Path(path).name])

    monkeypatch.delenv("CSVD_MODELS")
    monkeypatch.setattr(slicer.util, "loadVolume", load)
    case = CSVDBurdenTest("test_run_and_review")
    case.setUp()
    edited = case.runAndReview()

    panel = load_panel(MODULE).panel
    (nodes,) = families(slicer.mrmlScene)
    for name, scan in nodes.scans.items():
        getattr(panel.ui, f"{name}Selector").setCurrentNode(scan)
    assert (
        scores(panel.ui, 2)["Total SVD score (0-4)"] == str(edited.measurements["svd_score"].value).partition(" (")[0]
    )
    assert panel.ui.candidateTable.rowCount == len(edited.candidates)
    panel.ui.nextButton.click()
    picture(panel.ui.inputsCollapsible.window(), "burden_panel.png", 484)
    for marker, found in edited.focal.items():
        counting = [candidate for candidate in found.candidates if candidate.counts]
        if counting:
            panel.bring(SEQUENCE_OF[marker])
            view = SliceView(slicer.mrmlScene, panel.view.scan, (600, 600))
            view.look_at(counting[0].centroid_mm)
            view.save(tmp_path / f"burden_{marker}.png")
            view.close()
