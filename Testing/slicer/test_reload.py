"""A scene that is saved as .mrb and opened again shows and measures what it did."""

import zipfile

import headless
import numpy as np
import pytest
import slicer
from nodes import ALWAYS, DEEP, GEOMETRIES, SHAPE, add_flair, add_transform, result_of
from test_scene import ERASE, cell, reject, shown
from test_segments import paint

from csvd_slicer.naming import VENTRICLES
from csvd_slicer.scene import edited_by_reader, families, find, follow_edit, result_from_nodes, show, update
from csvd_slicer.segments import read_brain, read_segments
from csvd_slicer.volumes import image_from_node

TURN = np.array([[0.0, -1, 0, 10], [1, 0, 0, -4], [0, 0, 1, 7], [0, 0, 0, 1]])


@pytest.fixture
def reopen(tmp_path):
    """Save the scene, open it again, and return its only family."""

    def reopen():
        headless.save_bundle(tmp_path / "Müller, J. (1).mrb")
        scene = headless.open_bundle(tmp_path / "Müller, J. (1).mrb")
        (nodes,) = families(scene)
        return nodes

    return reopen


@pytest.fixture(params=GEOMETRIES)
def flair(request, scene):
    return add_flair(scene, request.param)


def looks(nodes):
    """Names, colours, terminology, visibility of segments; colours and window of maps; series of the chart."""
    segmentation, display = nodes.segmentation.GetSegmentation(), nodes.segmentation.GetDisplayNode()
    segments = {}
    for id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(id)
        colour = tuple(round(channel * 255) for channel in segment.GetColor())
        segments[id] = (segment.GetName(), colour, segment.GetTerminology(), display.GetSegmentVisibility(id))
    maps = []
    for node in (nodes.probability, nodes.uncertainty):
        map_display, units = node.GetDisplayNode(), node.GetVoxelValueUnits()
        maps += [node.GetName(), units.GetCodeValue(), units.GetCodingSchemeDesignator(), map_display.GetColorNodeID()]
        maps += [map_display.GetWindowLevelMin(), map_display.GetWindowLevelMax(), map_display.GetLowerThreshold()]
        maps += [map_display.GetApplyThreshold(), map_display.GetInterpolate()]
    chart = [nodes.chart.GetNthPlotSeriesNode(n).GetYColumnName() for n in range(2)]
    return segments, maps, chart, nodes.chart.GetXAxisTitle()


def close(one, other):
    """Equal but for the last digits, since a file keeps directions and spacings apart."""
    assert list(one) == list(other)
    for name, measurement in one.items():
        theirs = other[name].value
        number = isinstance(theirs, float)
        assert measurement.value == (pytest.approx(theirs, rel=1e-5) if number else theirs), name
    return True


def test_voxels_looks_and_tables_come_back(flair, reopen):
    nodes = show(result_of(flair), flair)
    held, looked = shown(nodes), looks(nodes)
    brain = read_brain(nodes.segmentation, flair)
    again = reopen()
    assert shown(again) == held
    assert looks(again) == looked
    assert np.array_equal(read_brain(again.segmentation, again.scan), brain)
    assert find(again.scan).segmentation is again.segmentation
    assert None not in [getattr(again, name) for name in again.__dataclass_fields__]
    assert (
        again.segmentation.GetNodeReference(again.segmentation.GetReferenceImageGeometryReferenceRole()) is again.scan
    )


def test_columns_keep_their_titles_units_and_types(scene, reopen):
    flair = add_flair(scene)
    show(result_of(flair), flair)
    again = reopen()
    table = again.lesions
    assert (table.GetColumnTitle("volume_ml"), table.GetColumnUnitLabel("volume_ml")) == ("Volume", "mL")
    assert table.GetColumnDescription("diameter_mm") == "Longest line within one slice"
    assert table.GetTable().GetColumnByName("volume_ml").IsA("vtkDataArray")
    assert cell(again.measurements, "total_volume", "unit") == "mL"
    assert again.measurements.GetColumnTitle("value") == "Automatic"


def test_the_result_comes_back_without_a_network(flair, reopen):
    result = result_of(
        flair,
        threshold=0.4,
        pv_rule="cluster",
        pv_distance_mm=7.5,
        warnings=['The slices are "thick"; 5 mm.', "Zeile\nzwei: µ"],
        parameters={"members": 5, "mirror": False},
        provenance={"device": "cpu", "models": [{"id": "wmh-seunet", "note": "a;b:c=d <&>"}]},
    )
    show(result, flair)
    nodes = reopen()
    again = result_from_nodes(nodes)
    assert close(again.measurements, result.measurements)
    for lesion, before in zip(again.lesions, result.lesions, strict=True):
        assert lesion.centroid_mm == pytest.approx(before.centroid_mm, abs=1e-3)
        assert (lesion.id, lesion.zone) == (before.id, before.zone)
    assert again.parameters == result.parameters
    assert again.warnings == result.warnings
    assert again.provenance == result.provenance
    assert again.uncertainty.sum() == pytest.approx(result.uncertainty.sum())
    assert not again.edited
    assert not edited_by_reader(nodes)


def test_another_threshold_after_a_reload_is_remembered(flair, reopen):
    result = result_of(flair)
    show(result, flair)
    nodes = reopen()
    update(nodes, result_from_nodes(nodes).remeasure(threshold=0.7))
    assert not edited_by_reader(nodes)
    again = result_from_nodes(nodes)
    assert close(again.measurements, result.remeasure(threshold=0.7).measurements)
    assert not again.edited


def test_a_review_goes_on_after_a_reload(scene, reopen):
    flair = add_flair(scene)
    result = result_of(flair)
    nodes = show(result, flair)
    paint(nodes.segmentation, flair, DEEP, np.s_[33, 22:27, 3], ERASE)
    paint(nodes.segmentation, flair, DEEP, np.s_[8:10, 10:12, 5])
    paint(nodes.segmentation, flair, VENTRICLES, np.s_[18, 20:22, 3], ERASE)
    reject(nodes, np.s_[24, 22:27, 3])
    edited = follow_edit(nodes, result)
    held = shown(nodes)

    again = reopen()
    assert shown(again) == held
    assert edited_by_reader(again)
    reloaded = result_from_nodes(again)
    assert reloaded.edited
    assert close(reloaded.measurements, edited.measurements)
    assert close(reloaded.automatic.measurements, result.measurements)
    assert cell(again.measurements, "total_volume", "edited") == f"{edited.measurements['total_volume'].value:.6g}"
    update(again, reloaded.remeasure(threshold=0.7))
    assert (read_segments(again.segmentation, again.scan).rejected[24, 22:27, 3] == 2).all()


def test_a_rerun_after_a_reload_updates_the_reloaded_nodes(scene, reopen):
    flair = add_flair(scene)
    show(result_of(flair), flair)
    nodes = reopen()
    count = scene.GetNumberOfNodes()
    assert show(result_of(nodes.scan, threshold=0.7), nodes.scan).segmentation is nodes.segmentation
    assert scene.GetNumberOfNodes() == count


def test_undo_works_after_a_reload(scene, reopen):
    flair = add_flair(scene)
    show(result_of(flair), flair)
    nodes = reopen()
    held = shown(nodes)
    editor = paint(nodes.segmentation, nodes.scan, DEEP, np.s_[8:10, 10:12, 5])
    assert follow_edit(nodes, result_from_nodes(nodes)).edited
    editor.Undo()
    assert not follow_edit(nodes, result_from_nodes(nodes)).edited
    assert shown(nodes)[:3] == held[:3]


def test_a_family_under_a_transform_comes_back_under_it(scene, reopen):
    flair = add_flair(scene)
    flair.SetAndObserveTransformNodeID(add_transform(scene, TURN).GetID())
    result = result_of(flair)
    show(result, flair)
    again = reopen()
    assert np.allclose(image_from_node(again.scan).affine, TURN @ GEOMETRIES["oblique"], atol=1e-5)
    assert close(result_from_nodes(again).measurements, result.measurements)


def test_the_family_stays_in_its_folder(scene, reopen):
    flair = add_flair(scene)
    show(result_of(flair), flair)
    nodes = reopen()
    hierarchy = scene.GetSubjectHierarchyNode()
    parents = {hierarchy.GetItemName(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(n))) for n in nodes.made}
    assert parents == {"FLAIR WMH"}


def test_what_a_scene_keeps_of_a_large_head_is_small(scene, reopen, tmp_path):
    shape = (320, 320, 48)
    flair = add_flair(scene, "oblique", shape)
    grid = (np.indices(shape).reshape(3, -1).T - np.array(shape) / 2) / (np.array(shape) / 2.5)
    from csvd.result import Result

    brain = ((grid**2).sum(axis=1) < 1).reshape(shape)
    ventricles = ((grid**2).sum(axis=1) < 0.05).reshape(shape)
    image = image_from_node(flair)
    nodes = show(Result.from_probability(image, np.zeros(shape, np.float32), ventricles, brain), flair)
    sizes = [len(nodes.segmentation.GetAttribute(key)) for key in nodes.segmentation.GetAttributeNames()]
    assert sum(sizes) < 64 * 1024
    again = result_from_nodes(reopen())
    assert np.array_equal(again.brain, brain)
    assert np.array_equal(again.ventricles, ventricles)


def test_the_bundle_holds_a_segmentation_that_opens_by_itself(scene, reopen, tmp_path):
    flair = add_flair(scene)
    result = result_of(flair)
    show(result, flair)
    reopen()
    with zipfile.ZipFile(next(tmp_path.glob("*.mrb"))) as bundle:
        (name,) = [name for name in bundle.namelist() if name.endswith(".seg.nrrd")]
        path = bundle.extract(name, tmp_path)
    scene = headless.new_scene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "alone")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(path)
    assert storage.ReadData(node)
    assert set(node.GetSegmentation().GetSegmentIDs()) == set(ALWAYS)
    flair = add_flair(scene)
    assert np.array_equal(read_segments(node, flair).labels, result.labels)
    assert slicer.util.arrayFromSegmentBinaryLabelmap(node, DEEP, flair).sum() == 10
    assert flair.GetImageData().GetDimensions() == SHAPE
