import gc
import resource
from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk
from nodes import DEEP, GEOMETRIES, PERIVENTRICULAR, SHAPE, add_flair, add_transform, result_of
from test_segments import paint

from csvd.errors import InputError
from csvd_slicer import scene as module
from csvd_slicer.memory import BRAIN_MASK, ORIGIN
from csvd_slicer.rollback import remove_node
from csvd_slicer.scene import Family, edited_by_reader, find, follow_edit, remove, result_from_nodes, show, update
from csvd_slicer.segments import Segments, read_brain, read_segments, write_segments
from csvd_slicer.volumes import image_array, own_affine, voxels_of

ERASE = slicer.vtkSlicerSegmentEditorLogic.ModificationModeRemove


@pytest.fixture
def flair(scene):
    return add_flair(scene)


def contents(scene):
    """Every node's id and name, and every item of the subject hierarchy with its parent."""
    hierarchy = scene.GetSubjectHierarchyNode()
    items = {(hierarchy.GetItemName(i), hierarchy.GetItemName(hierarchy.GetItemParent(i))) for i in items_of(hierarchy)}
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return {(node.GetID(), node.GetName()) for node in nodes}, items


def items_of(hierarchy):
    ids = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), ids, True)
    return [ids.GetId(n) for n in range(ids.GetNumberOfIds())]


def shown(nodes):
    """Voxels and cells of a family; slices of a left-handed volume turned round, as Slicer's reader of files does."""

    def stored(voxels):
        return (voxels if np.linalg.det(own_affine(nodes.scan)) > 0 else voxels[:, :, ::-1]).tobytes()

    segments = read_segments(nodes.segmentation, nodes.scan)
    tables = [nodes.measurements, nodes.lesions, nodes.slices]
    cells = [
        [t.GetCellText(row, column) for row in range(t.GetNumberOfRows()) for column in range(t.GetNumberOfColumns())]
        for t in tables
    ]
    maps = [voxels_of(nodes.probability), voxels_of(nodes.uncertainty)]
    return *map(stored, (segments.labels, segments.ventricles, segments.rejected, *maps)), cells


def cell(table, name, column="value"):
    names = [table.GetCellText(row, 0) for row in range(table.GetNumberOfRows())]
    return table.GetCellText(names.index(name), table.GetColumnIndex(column))


def test_a_result_becomes_nodes_that_hold_what_it_holds(nodes, result, flair):
    segments = read_segments(nodes.segmentation, flair)
    assert np.array_equal(segments.labels, result.labels)
    assert np.array_equal(segments.ventricles, result.ventricles)
    assert np.array_equal(read_brain(nodes.segmentation, flair), result.brain)
    assert np.array_equal(voxels_of(nodes.probability), result.probability)
    assert np.array_equal(voxels_of(nodes.uncertainty), result.uncertainty)
    assert float(cell(nodes.measurements, "total_volume")) == pytest.approx(35 * 4.8 / 1000)
    assert nodes.lesions.GetNumberOfRows() == 2
    assert {node.GetName() for node in nodes.made} == {
        *("FLAIR WMH", "FLAIR WMH probability", "FLAIR WMH uncertainty", "FLAIR WMH measurements", "FLAIR WMH lesions"),
        *("FLAIR WMH by slice", "FLAIR WMH chart", "FLAIR Periventricular WMH", "FLAIR Deep WMH"),
    }


def test_the_segmentation_takes_its_geometry_from_the_flair(nodes, flair):
    role = nodes.segmentation.GetReferenceImageGeometryReferenceRole()
    assert nodes.segmentation.GetNodeReference(role) is flair
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    serialised = nodes.segmentation.GetSegmentation().GetConversionParameter(parameter)
    image = slicer.vtkOrientedImageData()
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(serialised, image)
    assert image.GetDimensions() == SHAPE
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    assert np.allclose([matrix.GetElement(r, c) for r in range(4) for c in range(4)], own_affine(flair).ravel())


def test_everything_lies_under_the_flairs_transform(scene):
    flair = add_flair(scene)
    transform = add_transform(scene, np.diag([-1, -1, 1, 1]))
    flair.SetAndObserveTransformNodeID(transform.GetID())
    result = result_of(flair)
    nodes = show(result, flair)
    for node in (nodes.segmentation, nodes.probability, nodes.uncertainty):
        assert node.GetParentTransformNode() is transform
    assert np.allclose(own_affine(nodes.probability), GEOMETRIES["oblique"])
    centre = nodes.segmentation.GetSegmentCenterRAS(DEEP)
    deep = next(lesion for lesion in result.lesions if lesion.zone == "deep")
    assert np.allclose(centre, deep.centroid_mm, atol=2.5)


def test_the_family_lies_in_a_folder_beside_its_flair(scene, flair, result):
    hierarchy = scene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe"), "2026")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(flair), study)
    nodes = show(result, flair)
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes.made}
    assert [(hierarchy.GetItemName(f), hierarchy.GetItemParent(f)) for f in folders] == [("FLAIR WMH", study)]


def test_twenty_runs_leave_the_nodes_of_one_and_no_more_memory(scene):
    shape = (160, 160, 30)
    flair = add_flair(scene, "axial", shape)
    result = result_of(flair)
    other = result.remeasure(threshold=0.7)
    nodes = show(result, flair)
    before, images = contents(scene), []
    for run in range(20):
        images.append(vtk.vtkWeakReference())
        images[-1].Set(nodes.probability.GetImageData())
        show(other if run % 2 else result, flair)
        gc.collect()
        if run == 2:
            memory_mb = resident_mb()
    # Slicer's display pipeline holds on to the very first.
    assert not any(image.Get() for image in images[1:])
    assert contents(scene) == before
    assert all(a is b for a, b in zip(find(flair).made, nodes.made, strict=True))
    # One run is 7 MB of maps and labelmaps.
    assert resident_mb() - memory_mb < 20


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def test_two_flairs_have_a_family_each(scene, flair, nodes):
    second = add_flair(scene, "axial", name="FLAIR 2")
    theirs = show(result_of(second, empty=True), second)
    assert find(flair).segmentation is nodes.segmentation
    assert find(second).segmentation is theirs.segmentation
    assert not set(nodes.made) & set(theirs.made)
    assert cell(theirs.measurements, "total_volume") == "0"
    assert theirs.lesions.GetNumberOfRows() == 0


def test_no_flair_has_no_family(scene, flair):
    assert find(flair) is None


def test_a_node_that_was_removed_is_made_again(scene, flair, result, nodes):
    before = contents(scene)
    for node in (nodes.lesions, nodes.slices, nodes.uncertainty, nodes.deep_series):
        remove_node(scene, node)
    found = find(flair)
    assert found.lesions is None
    follow_edit(found, result)
    again = show(result, flair)
    assert len(contents(scene)[0]) == len(before[0])
    assert contents(scene)[1] == before[1]
    assert again.lesions.GetNumberOfRows() == 2
    assert again.chart.GetNumberOfPlotSeriesNodes() == 2
    assert again.periventricular_series.GetTableNode() is again.slices


def test_an_edit_is_measured_and_both_values_stand_in_the_table(nodes, result, flair):
    paint(nodes.segmentation, flair, DEEP, np.s_[33:35, 22:27, 3], ERASE)
    paint(nodes.segmentation, flair, DEEP, np.s_[22:27, 10:12, 5])
    edited = follow_edit(nodes, result)
    assert edited.edited
    assert cell(nodes.measurements, "total_volume") == f"{35 * 4.8 / 1000:.6g}"
    assert cell(nodes.measurements, "total_volume", "edited") == f"{35 * 4.8 / 1000:.6g}"
    assert cell(nodes.measurements, "deep_volume") == f"{10 * 4.8 / 1000:.6g}"
    assert cell(nodes.measurements, "deep_volume", "edited") == f"{edited.measurements['deep_volume'].value:.6g}"
    assert edited.measurements["deep_volume"].value < 10 * 4.8 / 1000
    assert np.array_equal(read_segments(nodes.segmentation, flair).labels, edited.labels)


def test_following_an_edit_twice_changes_nothing_more(nodes, result, flair):
    paint(nodes.segmentation, flair, DEEP, np.s_[22:27, 10:12, 5])
    edited = follow_edit(nodes, result)
    before = shown(nodes)
    assert follow_edit(nodes, edited).measurements == edited.measurements
    assert shown(nodes) == before


def reject(nodes, box):
    """What the review list does with "not WMH: artefact"."""
    segments = read_segments(nodes.segmentation, nodes.scan)
    labels, rejected = segments.labels.copy(), segments.rejected.copy()
    labels[box], rejected[box] = 0, 2
    write_segments(nodes.segmentation, nodes.scan, Segments(labels, segments.ventricles, rejected))


def test_a_rejected_lesion_is_in_no_sum_whatever_the_threshold(nodes, result, flair):
    reject(nodes, np.s_[33:35, 22:27, 3])
    edited = follow_edit(nodes, result)
    assert edited.measurements["deep_volume"].value == 0
    lower = update(nodes, edited.remeasure(threshold=0.4))
    assert lower.measurements["deep_volume"].value == 0
    assert cell(nodes.measurements, "deep_volume", "edited") == "0"
    assert (read_segments(nodes.segmentation, flair).rejected[33:35, 22:27, 3] == 2).all()
    assert edited_by_reader(nodes)
    name = nodes.segmentation.GetSegmentation().GetSegment("Not_WMH_artefact").GetName()
    assert name == "Not WMH: artefact"


def test_another_threshold_updates_segments_and_table(nodes, result, flair):
    maps = nodes.probability.GetImageData()
    changed = update(nodes, result.remeasure(threshold=0.7))
    assert not changed.edited
    assert not (read_segments(nodes.segmentation, flair).labels == 2).any()
    assert cell(nodes.measurements, "deep_volume") == "0"
    assert cell(nodes.measurements, "threshold") == "0.7"
    assert nodes.probability.GetImageData() is maps
    assert not edited_by_reader(nodes)


def test_a_readers_work_is_known_before_it_is_written_over(nodes, result, flair):
    assert not edited_by_reader(nodes)
    paint(nodes.segmentation, flair, PERIVENTRICULAR, np.s_[1:3, 1:3, 1])
    assert edited_by_reader(nodes)
    follow_edit(nodes, result)
    assert edited_by_reader(nodes)
    show(result, flair)
    assert not edited_by_reader(nodes)


@pytest.mark.parametrize("change", ["ventricles", "zone", "rejected"])
def test_every_kind_of_edit_counts_as_work(nodes, flair, change):
    segments = read_segments(nodes.segmentation, flair)
    if change == "ventricles":
        segments.ventricles[18, 20, 3] = False
    elif change == "zone":
        segments.labels[33, 22, 3] = 1
    else:
        segments.rejected[0, 0, 0] = 1
    write_segments(nodes.segmentation, flair, segments)
    assert edited_by_reader(nodes)


def test_a_rerun_is_one_step_of_undo(nodes, result, flair):
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(nodes.segmentation.GetSegmentation())
    show(result.remeasure(threshold=0.7), flair, save_state=history.SaveState)
    assert history.GetNumberOfStates() == 1
    history.RestorePreviousState()
    assert np.array_equal(read_segments(nodes.segmentation, flair).labels, result.labels)


def broken(*_, **__):
    raise RuntimeError("out of memory")


PARTS = (
    "write_map",
    "write_measurements",
    "write_lesions",
    "write_slices",
    "write_chart",
    "remember",
    "write_segments",
)


@pytest.mark.parametrize("part", PARTS)
def test_an_error_in_a_first_run_leaves_the_scene_as_it_was(scene, flair, result, monkeypatch, part):
    before = contents(scene)
    monkeypatch.setattr(module, part, broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        show(result, flair)
    assert contents(scene) == before


@pytest.mark.parametrize("part", PARTS)
def test_an_error_in_a_rerun_leaves_the_nodes_as_they_were(scene, flair, result, nodes, monkeypatch, part):
    paint(nodes.segmentation, flair, DEEP, np.s_[22:27, 10:12, 5])
    before, held = contents(scene), shown(nodes)
    attributes = {key: nodes.segmentation.GetAttribute(key) for key in nodes.segmentation.GetAttributeNames()}
    monkeypatch.setattr(module, part, broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        show(result.remeasure(threshold=0.7), flair)
    assert contents(scene) == before
    assert shown(nodes) == held
    assert {key: nodes.segmentation.GetAttribute(key) for key in nodes.segmentation.GetAttributeNames()} == attributes
    assert edited_by_reader(nodes)


def test_an_error_after_the_segments_were_written_takes_them_back(flair, result, nodes, monkeypatch):
    segment = nodes.segmentation.GetSegmentation().GetSegment(DEEP)
    labelmap = image_array(segment.GetRepresentation("Binary labelmap"))
    labelmap[labelmap == 2] = 7  # as Slicer numbers them anew when it merges layers
    segment.SetLabelValue(7)
    held = shown(nodes)

    def late(*arguments, **settings):
        write_segments(*arguments, **settings)
        raise RuntimeError("late")

    monkeypatch.setattr(module, "write_segments", late)
    with pytest.raises(RuntimeError, match="late"):
        update(nodes, result.remeasure(threshold=0.7))
    assert shown(nodes) == held


def test_a_flair_that_was_changed_during_the_run_is_refused(scene, flair, result):
    before = contents(scene)
    shift = np.eye(4)
    shift[0, 3] = 5
    flair.SetAndObserveTransformNodeID(add_transform(scene, shift).GetID())
    before = contents(scene)
    with pytest.raises(InputError, match="changed or moved after the run had started: press Apply again"):
        show(result, flair)
    assert contents(scene) == before


def test_removing_a_family_leaves_the_scene_without_it(scene, flair, result):
    before = contents(scene)
    remove(show(result, flair))
    assert contents(scene) == before
    assert find(flair) is None


def test_a_scene_that_is_closed_takes_everything_along(scene, flair, nodes):
    scene.Clear(False)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0


def test_a_result_is_what_its_nodes_give_back(nodes, result):
    again = result_from_nodes(nodes)
    assert again.measurements == result.measurements
    assert again.lesions == result.lesions
    assert again.parameters == result.parameters
    assert again.provenance == result.provenance
    assert not again.edited


@pytest.mark.parametrize(
    ("member", "words"), [("scan", "The FLAIR of FLAIR WMH is no longer"), ("probability", "The probability map of")]
)
def test_a_result_without_its_flair_or_map_is_refused(scene, flair, nodes, member, words):
    scene.RemoveNode(getattr(nodes, member))
    with pytest.raises(InputError, match=words):
        result_from_nodes(Family.of(nodes.segmentation))


@pytest.mark.parametrize(("key", "text"), [(ORIGIN, "{"), (BRAIN_MASK, "AAAA"), (BRAIN_MASK, "")])
def test_a_damaged_memory_is_refused(nodes, key, text):
    nodes.segmentation.SetAttribute(key, text)
    with pytest.raises(InputError, match="does not say what it was made from: run again"):
        result_from_nodes(nodes)
