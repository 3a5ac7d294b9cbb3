"""The burden of a patient in the scene: nodes on each sequence's voxels, edits, what a saved scene gives back."""

import headless
import numpy as np
import pytest
import slicer
import vtk
from burden_patient import FREE, LACUNE, SHAPE, SMALL, add_scans, burden_of, numbers
from nodes import add_transform, result_of
from test_scene import cell, contents

from csvd.errors import InputError
from csvd.measure.zscore import MarkerReference, Reference
from csvd.report.segmentation import focal_segments
from csvd_slicer import burden_scene as module
from csvd_slicer.burden_nodes import families, find, find_sharing, remove
from csvd_slicer.burden_review import decide, progress, review_items
from csvd_slicer.burden_scene import edited_by_reader, follow_edit, result_from_nodes, show, update
from csvd_slicer.layers import Layer, read_layer, write_layers
from csvd_slicer.naming import focal_descriptions
from csvd_slicer.rollback import remove_node
from csvd_slicer.scene import families as families_of_one_marker
from csvd_slicer.scene import find as find_of_one_marker
from csvd_slicer.scene import show as show_one_marker
from csvd_slicer.segments import read_mask, read_segments
from csvd_slicer.volumes import voxels_of

REFERENCE = Reference(
    {"microbleed_count": MarkerReference(1, 0.5, 40, "none", "Our clinic"),
     "lacune_count": MarkerReference(0.5, 2, 40, "none", "Our clinic")},
    {"total_volume": "not in the reference", "perivascular_space_count": "not in the reference"},
)  # fmt: skip


@pytest.fixture
def scans(scene):
    return add_scans(scene)


@pytest.fixture
def result(scans):
    return burden_of(scans)


@pytest.fixture
def nodes(result, scans):
    return show(result, scans)


def draw(nodes, marker, sequence, place, label=1):
    """As a brush of the Segment Editor in one segment of a marker: 1 counts, 2 rejected, 0 erases."""
    pair = focal_descriptions(marker)
    labels = read_layer(nodes.segmentations[sequence], nodes.scans[sequence], tuple(s["id"] for s in pair))
    labels[place] = label
    write_layers(nodes.segmentations[sequence], nodes.scans[sequence], [Layer(pair, labels)])


def item_of(result, marker, number):
    wanted = (marker, number)
    return next(i for i in review_items(result) if (i.candidate.marker, i.candidate.id) == wanted)


def segment_names(node):
    segmentation = node.GetSegmentation()
    return [segmentation.GetSegment(id).GetName() for id in segmentation.GetSegmentIDs()]


def bars(nodes):
    series = nodes.chart.GetNthPlotSeriesNode(0)
    table, column = series.GetTableNode(), series.GetYColumnName()
    rows = range(table.GetNumberOfRows())
    number = table.GetColumnIndex(column)
    return column, {table.GetCellText(row, 0): float(table.GetCellText(row, number)) for row in rows}


# --- shown ---


def test_every_sequence_has_a_segmentation_on_its_own_voxels(nodes, result):
    assert read_segments(nodes.segmentations["flair"], nodes.scans["flair"]).mask.sum() == 35
    for marker, sequence in (("lacune", "t1"), ("perivascular_space", "t1"), ("microbleed", "swi")):
        mask = read_mask(nodes.segmentations[sequence], nodes.scans[sequence], focal_segments()[marker]["id"])
        assert np.array_equal(mask, result.focal[marker].mask)
        assert np.array_equal(voxels_of(nodes.probabilities[marker]), result.focal[marker].probability)
    assert nodes.probabilities["microbleed"].GetImageData().GetDimensions() == SHAPE


def test_segments_have_the_names_colours_and_codes_of_the_report(nodes):
    assert segment_names(nodes.segmentations["t1"]) == ["Lacunes", "Perivascular spaces", "Brain"]
    assert segment_names(nodes.segmentations["swi"]) == ["Microbleeds", "Brain", "Rejected microbleeds"]
    assert segment_names(nodes.segmentations["flair"])[:2] == ["Periventricular WMH", "Deep WMH"]
    segment = nodes.segmentations["swi"].GetSegmentation().GetSegment("Microbleeds")
    assert np.array(segment.GetColor()) * 255 == pytest.approx(focal_segments()["microbleed"]["color"])
    code = vtk.reference("")
    assert segment.GetTag("TerminologyEntry", code)
    assert "SCT^50960005^Hemorrhage" in str(code)
    display = nodes.segmentations["swi"].GetDisplayNode()
    assert [display.GetSegmentVisibility(id) for id in ("Microbleeds", "Brain", "Rejected_Microbleeds")] == [1, 0, 0]


def test_tables_say_scores_rules_and_candidates(nodes):
    assert cell(nodes.scores, "svd_score") == "2"
    assert "1 point each: WMH" in cell(nodes.scores, "svd_score", "source")
    assert cell(nodes.scores, "caa_svd_score") == ""
    assert "superficial siderosis is not measured" in cell(nodes.scores, "caa_svd_score", "source")
    assert nodes.candidates.GetNumberOfRows() == 5
    counts = [nodes.candidates.GetCellText(row, 2) for row in range(5)]
    assert sorted(counts)[0] == "no: diameter 1.2 mm, under 2 mm"
    assert nodes.candidates.GetColumnTitle("diameter_mm") == "Diameter"


def test_without_a_reference_the_bars_are_volumes_and_counts_and_no_z(nodes):
    column, shown = bars(nodes)
    assert column == "value"
    assert shown == {
        "WMH volume (mL)": pytest.approx(0.168), "Microbleeds": 2, "Lacunes": 1, "Perivascular spaces": 1,
    }  # fmt: skip
    assert nodes.chart.GetTitle() == "Burden by marker (no reference, so no Z-score)"


def test_with_a_reference_the_bars_are_the_z_scores_of_its_markers(nodes, result):
    update(nodes, result.with_reference(REFERENCE))
    assert bars(nodes) == ("z", {"Microbleeds": 2.0, "Lacunes": 0.25})  # (2 - 1) / 0.5 and (1 - 0.5) / 2
    assert cell(nodes.scores, "z_burden", "edited" if result.edited else "value") == "2.25"
    update(nodes, result)
    assert bars(nodes)[0] == "value"


def test_a_missing_sequence_is_missing_and_not_zero(scene):
    scans = add_scans(scene, "swi")
    nodes = show(burden_of(scans), scans)
    assert set(nodes.segmentations) == {"swi"}
    assert cell(nodes.scores, "lacune_count") == ""
    assert cell(nodes.scores, "svd_score").startswith("1-4 (")
    assert bars(nodes)[1] == {"Microbleeds": 2}


def test_no_lesion_is_zero(scene, scans):
    nodes = show(burden_of(scans, empty=True), scans)
    assert (cell(nodes.scores, "svd_score"), cell(nodes.scores, "microbleed_count")) == ("0", "0")
    assert nodes.candidates.GetNumberOfRows() == 0
    assert bars(nodes)[1] == {"WMH volume (mL)": 0, "Microbleeds": 0, "Lacunes": 0, "Perivascular spaces": 0}
    assert progress(review_items(result_from_nodes(nodes))) == (0, 0)


def test_everything_lies_in_one_folder_and_under_the_transform_of_its_scan(scene, scans):
    transform = add_transform(scene, np.diag([-1, -1, 1, 1]))
    scans["swi"].SetAndObserveTransformNodeID(transform.GetID())
    nodes = show(burden_of(scans), scans)
    hierarchy = scene.GetSubjectHierarchyNode()
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes.made}
    assert [hierarchy.GetItemName(folder) for folder in folders] == ["FLAIR burden scores"]
    for node in (nodes.segmentations["swi"], nodes.probabilities["microbleed"]):
        assert node.GetParentTransformNode() is transform
    assert nodes.segmentations["t1"].GetParentTransformNode() is None


def test_a_burden_leaves_the_result_of_another_module_alone(scene, scans, result):
    flair = scans["flair"]
    other = show_one_marker(result_of(flair), flair)
    show(result, scans)
    assert find_of_one_marker(flair).segmentation is other.segmentation
    assert len(list(families_of_one_marker(scene))) == 1
    assert len(list(families(scene))) == 1


def test_many_runs_leave_the_nodes_of_one(scene, nodes, result, scans):
    before = contents(scene)
    for run in range(5):
        show(result if run % 2 else burden_of(scans, empty=True), scans)
    assert contents(scene) == before
    assert all(a is b for a, b in zip(find(scans).made, nodes.made, strict=True))


def test_a_run_with_other_sequences_of_the_patient_takes_the_place_of_the_first(scene, nodes, scans):
    fewer = {"t1": scans["t1"]}
    assert find(fewer) is None
    assert find_sharing(fewer).scores is nodes.scores
    again = show(burden_of(fewer), fewer)
    assert again.scores is nodes.scores
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert find(scans) is None
    assert result_from_nodes(again).missing == ("flair", "swi")
    assert len(show(burden_of(scans), scans).made) == len(nodes.made)


def test_two_patients_have_a_family_each(scene, nodes, scans):
    other = add_scans(scene)
    theirs = show(burden_of(other, empty=True), other)
    assert not set(theirs.made) & set(nodes.made)
    assert cell(find(scans).scores, "svd_score") == "2"


def test_a_scan_that_was_moved_during_the_run_is_refused(scene, scans, result):
    before = contents(scene)
    scans["swi"].SetSpacing(2, 2, 2)
    with pytest.raises(InputError, match="The SWI was changed or moved after the run had started: press Apply again"):
        show(result, scans)
    assert contents(scene) == before


def broken(*_, **__):
    raise RuntimeError("out of memory")


PARTS = ("write_map", "write_tables", "remember", "remember_foci", "remember_patient", "write_layers", "write_segments")


@pytest.mark.parametrize("part", PARTS)
def test_an_error_in_a_first_run_leaves_the_scene_as_it_was(scene, scans, result, monkeypatch, part):
    before = contents(scene)
    monkeypatch.setattr(module, part, broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        show(result, scans)
    assert contents(scene) == before


@pytest.mark.parametrize("part", PARTS)
def test_an_error_in_a_rerun_leaves_the_nodes_as_they_were(scene, scans, result, nodes, monkeypatch, part):
    decide(nodes, result, item_of(result, "lacune", 1), False)
    before, held = contents(scene), numbers(result_from_nodes(nodes))
    monkeypatch.setattr(module, part, broken)
    fewer = {"flair": scans["flair"], "t1": scans["t1"]}
    with pytest.raises(RuntimeError, match="out of memory"):
        show(burden_of(fewer, empty=True), fewer)
    monkeypatch.undo()
    assert contents(scene) == before
    assert numbers(result_from_nodes(find(scans))) == held
    assert cell(nodes.scores, "svd_score", "edited") == "1"


def test_a_family_can_be_taken_away(scene, scans):
    before = contents(scene)
    remove(show(burden_of(scans), scans))
    assert contents(scene) == before


def test_a_table_or_chart_that_was_removed_is_made_again(scene, scans, result, nodes):
    before = contents(scene)
    for node in (nodes.candidates, nodes.chart, nodes.burden):
        remove_node(scene, node)
    decide(find(scans), result, item_of(result, "lacune", 1), False)
    show(result, scans)
    assert len(contents(scene)[0]) == len(before[0])
    assert bars(find(scans))[1]["Lacunes"] == 1


# --- review and edits ---


def test_rejecting_a_candidate_moves_its_voxels_and_every_score_follows(nodes, result, scans):
    changed = decide(nodes, result, item_of(result, "lacune", 1), False)
    assert not read_mask(nodes.segmentations["t1"], scans["t1"], "Lacunes").any()
    assert read_mask(nodes.segmentations["t1"], scans["t1"], "Rejected_Lacunes").sum() == 64
    assert cell(nodes.scores, "svd_score") == "2"
    assert cell(nodes.scores, "svd_score", "edited") == "1"
    assert bars(nodes)[1]["Lacunes"] == 0
    assert edited_by_reader(nodes)
    again = decide(nodes, changed, item_of(changed, "lacune", 1), None)
    assert not again.edited
    assert cell(nodes.scores, "svd_score") == "2"
    assert not edited_by_reader(nodes)


def test_a_candidate_that_is_too_small_counts_once_a_reader_accepts_it(nodes, result):
    decide(nodes, result, item_of(result, "microbleed", 3), True)
    assert cell(nodes.scores, "microbleed_count", "edited") == "3"
    assert read_mask(nodes.segmentations["swi"], nodes.scans["swi"], "Microbleeds").sum() == 64 + 27 + 1


def test_the_list_has_the_unlikeliest_first_and_what_is_rejected_last(result):
    listed = [(i.candidate.marker, i.candidate.id) for i in review_items(result)]
    assert listed == [("microbleed", 2), ("perivascular_space", 1), *listed[2:4], ("microbleed", 3)]
    assert set(listed[2:4]) == {("lacune", 1), ("microbleed", 1)}


def test_the_review_counts_what_a_reader_decided(nodes, result):
    assert progress(review_items(result)) == (0, 4)  # the fifth was rejected for its size
    changed = decide(nodes, result, item_of(result, "microbleed", 1), True)
    assert numbers(changed) == numbers(result)
    assert progress(review_items(changed)) == (1, 4)


def test_drawn_and_erased_voxels_are_measured(nodes, result):
    draw(nodes, "microbleed", "swi", FREE)
    draw(nodes, "lacune", "t1", LACUNE, 0)
    changed = follow_edit(nodes, result)
    assert (cell(nodes.scores, "microbleed_count", "edited"), cell(nodes.scores, "lacune_count", "edited")) == (
        "3",
        "0",
    )
    assert cell(nodes.scores, "svd_score", "edited") == "1"
    assert changed.focal["microbleed"].mask[FREE].all()


def test_a_rejection_that_is_undone_in_the_editor_waits_for_a_decision_again(nodes, result):
    changed = decide(nodes, result, item_of(result, "microbleed", 1), True)
    changed = decide(nodes, changed, item_of(changed, "microbleed", 2), False)
    draw(nodes, "microbleed", "swi", SMALL)  # as Undo does
    changed = follow_edit(nodes, changed)
    assert [c.accepted for c in changed.focal["microbleed"].candidates] == [True, None, False]
    assert cell(nodes.scores, "microbleed_count") == "2"


def test_a_candidate_painted_as_rejected_is_rejected(nodes, result):
    draw(nodes, "microbleed", "swi", SMALL, 2)
    changed = follow_edit(nodes, result)
    assert numbers(changed)["microbleed_count"] == 1
    assert [c.counts for c in changed.focal["microbleed"].candidates] == [True, False, False]


def test_erased_hyperintensities_are_measured(nodes, result):
    draw_zone(nodes, np.s_[:, :, :], 0)
    changed = follow_edit(nodes, result, ["flair"])
    assert numbers(changed)["total_volume"] == 0
    assert bars(nodes)[1]["WMH volume (mL)"] == 0


def draw_zone(nodes, place, label):
    from csvd_slicer.segments import Segments, write_segments

    segments = read_segments(nodes.segmentations["flair"], nodes.scans["flair"])
    labels = segments.labels.copy()
    labels[place] = label
    shown = Segments(labels, segments.ventricles, segments.rejected)
    write_segments(nodes.segmentations["flair"], nodes.scans["flair"], shown)


def test_another_threshold_outlines_one_marker_anew(nodes, result):
    changed = update(nodes, result.remeasure(marker="microbleed", threshold=0.7), ["swi"])
    assert numbers(changed)["microbleed_count"] == 1
    assert not read_mask(nodes.segmentations["swi"], nodes.scans["swi"], "Microbleeds")[SMALL].any()
    update(nodes, changed.remeasure(marker="wmh", threshold=0.7), ["flair"])
    assert read_segments(nodes.segmentations["flair"], nodes.scans["flair"]).mask.sum() == 25


def test_the_state_is_saved_for_undo_before_voxels_change_and_not_otherwise(nodes, result):
    saved = []
    changed = decide(nodes, result, item_of(result, "microbleed", 1), True, save_state=lambda: saved.append(1))
    assert saved == []
    decide(nodes, changed, item_of(changed, "microbleed", 1), False, save_state=lambda: saved.append(1))
    assert saved == [1]


# --- a saved scene ---


def test_a_reviewed_patient_comes_back_from_a_saved_scene(tmp_path, nodes, result):
    reference = 'said "our" clinic'
    known = {name: MarkerReference(1, 0.5, 40, "none", reference) for name in ("microbleed_count", "lacune_count")}
    result = result.with_siderosis("focal").with_pvs_threshold(0).with_inputs(pvs_midbrain=2)
    result = update(nodes, result.with_reference(Reference(known, REFERENCE.unusable)))
    result = decide(nodes, result, item_of(result, "microbleed", 1), True)
    result = decide(nodes, result, item_of(result, "microbleed", 2), False)
    result = decide(nodes, result, item_of(result, "microbleed", 3), True)
    draw(nodes, "perivascular_space", "t1", FREE)
    draw_zone(nodes, np.s_[33:35, 22:27, 3], 0)
    result = follow_edit(nodes, result)
    before = numbers(result), [(c.id, c.marker, c.accepted, c.reason) for c in result.candidates]

    headless.save_bundle(tmp_path / "burden.mrb")
    (again,) = families(headless.open_bundle(tmp_path / "burden.mrb"))
    reloaded = result_from_nodes(again)
    assert numbers(reloaded) == {name: approximately(value) for name, value in before[0].items()}
    assert [(c.id, c.marker, c.accepted, c.reason) for c in reloaded.candidates] == before[1]
    assert reloaded.reference.markers["lacune_count"].source == reference
    assert cell(again.scores, "svd_score", "edited") == str(before[0]["svd_score"])
    assert edited_by_reader(again)
    assert find(again.scans).scores is again.scores
    assert follow_edit(again, reloaded).candidates == reloaded.candidates
    assert not decide(again, reloaded, item_of(reloaded, "lacune", 1), False).focal["lacune"].mask.any()


def approximately(value):
    return pytest.approx(value, rel=1e-5) if isinstance(value, float) else value


def test_an_unedited_patient_comes_back_unedited_and_can_be_written_out(tmp_path, nodes):
    headless.save_bundle(tmp_path / "burden.mrb")
    (again,) = families(headless.open_bundle(tmp_path / "burden.mrb"))
    assert not edited_by_reader(again)
    written = result_from_nodes(again).save(tmp_path / "out")
    assert {"report.html", "microbleed_mask.nii.gz", "burden_t1.seg.nrrd", "candidates.tsv"} <= set(written)


@pytest.mark.parametrize("missing", ["scan", "segmentation", "map"])
def test_a_patient_whose_nodes_are_gone_is_refused_in_a_sentence(scene, nodes, missing):
    gone = {
        "scan": nodes.scans["swi"],
        "segmentation": nodes.segmentations["swi"],
        "map": nodes.probabilities["microbleed"],
    }
    remove_node(scene, gone[missing])
    (left,) = families(scene)
    with pytest.raises(InputError, match="The SWI of FLAIR burden scores, its segmentation or a probability map is no"):
        result_from_nodes(left)
    assert edited_by_reader(left)


@pytest.mark.parametrize("attribute", ["csvd.burden", "csvd.foci", "csvd.brain", "csvd.regions.lacune"])
def test_nodes_that_forgot_what_they_were_made_from_are_refused_in_a_sentence(nodes, attribute):
    node = nodes.scores if attribute == "csvd.burden" else nodes.segmentations["t1"]
    node.SetAttribute(attribute, "{}")
    with pytest.raises(InputError, match="does not say what it was made from: run again"):
        result_from_nodes(nodes)


def test_surfaces_in_3d_follow_a_decision(nodes, result):
    segmentation = nodes.segmentations["t1"]
    segmentation.CreateClosedSurfaceRepresentation()
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    before = segmentation.GetSegmentation().GetSegment("Lacunes").GetRepresentation(surface).GetNumberOfPoints()
    assert before > 0
    decide(nodes, result, item_of(result, "lacune", 1), False)
    assert segmentation.GetSegmentation().GetSegment("Lacunes").GetRepresentation(surface).GetNumberOfPoints() == 0
