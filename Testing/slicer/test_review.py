import headless
import numpy as np
import pytest
import slicer
from nodes import DEEP, REJECTED, add_flair, add_transform, result_of
from test_segments import paint

from csvd_slicer.highlight import HIGHLIGHT, highlight, jump_to, remove_highlight
from csvd_slicer.review import decide, decided_by_reader, forget_decisions, progress, review_items
from csvd_slicer.scene import edited_by_reader, families, find, follow_edit, result_from_nodes, show
from csvd_slicer.segments import read_segments

VOXEL_ML = 4.8 / 1000


@pytest.fixture(params=["oblique", "left-handed", "sagittal"])
def flair(scene, request):
    return add_flair(scene, request.param)


def volume(result, zone="total"):
    return result.measurements[f"{zone}_volume"].value


def decisions(nodes, result):
    return [(item.lesion.zone, item.decision) for item in review_items(nodes, result)]


def uncertain_and_sure(nodes, result):
    """10 deep voxels at p = .6, then 25 periventricular ones at p = .9."""
    return review_items(nodes, result)


def test_the_most_uncertain_lesion_comes_first(nodes, result):
    items = uncertain_and_sure(nodes, result)
    assert [(i.lesion.id, len(i.voxels[0]), i.decision) for i in items] == [(2, 10, ""), (1, 25, "")]
    assert [i.lesion.uncertain_share for i in items] == [1, 0]
    assert items[1].voxel == (22, 24, 3)
    assert progress(nodes, items, result) == (0, 2)
    assert not decided_by_reader(nodes)


def test_no_lesions_no_review(scene):
    flair = add_flair(scene)
    result = result_of(flair, empty=True)
    nodes = show(result, flair)
    assert review_items(nodes, result) == []
    assert progress(nodes, [], result) == (0, 0)


def test_accepting_changes_nothing_but_the_progress(nodes, result):
    item = review_items(nodes, result)[0]
    assert decide(nodes, result, item, "accepted") is result
    assert decisions(nodes, result) == [("deep", "accepted"), ("periventricular", "")]
    assert progress(nodes, review_items(nodes, result), result) == (1, 2)
    assert decided_by_reader(nodes)
    assert not edited_by_reader(nodes)
    forget_decisions(nodes)
    assert not decided_by_reader(nodes)


def test_deleting_takes_it_out_and_counts_as_decided(nodes, result):
    saved = []
    after = decide(nodes, result, review_items(nodes, result)[0], "deleted", save_state=lambda: saved.append(1))
    assert saved == [1]
    assert volume(after, "deep") == 0
    assert volume(after) == pytest.approx(25 * VOXEL_ML)
    assert volume(after.automatic) == pytest.approx(35 * VOXEL_ML)
    assert progress(nodes, review_items(nodes, after), after) == (1, 2)


def test_an_undone_deletion_waits_for_a_decision_again(nodes, result):
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(nodes.segmentation.GetSegmentation())
    after = decide(nodes, result, review_items(nodes, result)[0], "deleted", save_state=history.SaveState)
    history.RestorePreviousState()
    after = follow_edit(nodes, after)
    assert after is result
    assert progress(nodes, review_items(nodes, after), after) == (0, 2)


@pytest.mark.parametrize(("reason", "number"), [("infarct", 0), ("artefact", 1), ("other", 2)])
def test_what_is_no_hyperintensity_has_its_own_segment_and_no_part_in_the_sums(nodes, result, reason, number):
    item = review_items(nodes, result)[1]
    after = decide(nodes, result, item, reason)
    assert volume(after) == pytest.approx(10 * VOXEL_ML)
    rejected = read_segments(nodes.segmentation, nodes.scan).rejected
    assert (rejected[item.voxels] == number + 1).all()
    assert np.count_nonzero(rejected) == 25
    assert nodes.segmentation.GetSegmentation().GetSegment(REJECTED[number]) is not None
    assert progress(nodes, review_items(nodes, after), after) == (1, 2)


@pytest.mark.parametrize("zone", ["periventricular", "deep"])
def test_a_lesion_moves_to_a_zone_whatever_its_distance(nodes, result, zone):
    other = {"periventricular": "deep", "deep": "periventricular"}[zone]
    item = next(i for i in review_items(nodes, result) if i.lesion.zone == other)
    after = decide(nodes, result, item, zone)
    assert (volume(after, zone), volume(after, other)) == (pytest.approx(35 * VOXEL_ML), 0)
    assert after.edited
    assert edited_by_reader(nodes)
    assert volume(after.automatic, other) == pytest.approx(len(item.voxels[0]) * VOXEL_ML)
    assert sorted(decisions(nodes, after)) == sorted([(zone, ""), (zone, zone)])
    # It stays there when something else is edited, and when the limit moves.
    paint(nodes.segmentation, nodes.scan, DEEP, (slice(10, 12), slice(10, 12), slice(5, 6)))
    again = follow_edit(nodes, after)
    assert volume(again) == pytest.approx(39 * VOXEL_ML)
    assert (again.labels[item.voxels] == {"periventricular": 1, "deep": 2}[zone]).all()
    assert (again.remeasure(pv_distance_mm=5).labels[item.voxels] == after.labels[item.voxels]).all()
    # A new threshold starts from the automatic segments.
    assert not again.remeasure(threshold=0.4).edited


def test_a_move_can_be_undone(nodes, result):
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(nodes.segmentation.GetSegmentation())
    after = decide(nodes, result, review_items(nodes, result)[0], "periventricular", save_state=history.SaveState)
    assert volume(after, "deep") == 0
    history.RestorePreviousState()
    after = follow_edit(nodes, after)
    assert np.array_equal(after.labels, result.labels)
    assert not after.edited


def test_the_last_decision_counts(nodes, result):
    item = review_items(nodes, result)[0]
    after = decide(nodes, result, item, "periventricular")
    item = next(i for i in review_items(nodes, after) if i.decision)
    after = decide(nodes, after, item, "accepted")
    assert sorted(d for _, d in decisions(nodes, after)) == ["", "accepted"]


def test_an_unknown_decision_is_refused(nodes, result):
    with pytest.raises(ValueError, match="no decision"):
        decide(nodes, result, review_items(nodes, result)[0], "maybe")


@pytest.mark.parametrize("new", [False, True])
def test_a_review_goes_on_after_save_and_reload(nodes, result, tmp_path, new):
    if new:  # a lesion that the reader painted and then moved
        paint(nodes.segmentation, nodes.scan, DEEP, (slice(19, 21), slice(30, 33), slice(5, 6)))
        result = follow_edit(nodes, result)
        painted = max(review_items(nodes, result), key=lambda i: i.voxel[2])
        assert painted.lesion.zone == "periventricular"
        result = decide(nodes, result, painted, "deep")
    uncertain, *_ = review_items(nodes, result)
    result = decide(nodes, result, next(i for i in review_items(nodes, result) if i.lesion.id == 1), "accepted")
    result = decide(nodes, result, uncertain, "infarct")
    before = (decisions(nodes, result), progress(nodes, review_items(nodes, result), result))
    numbers = {name: m.value for name, m in result.measurements.items()}
    headless.save_bundle(tmp_path / "scene.mrb")
    (again,) = families(headless.open_bundle(tmp_path / "scene.mrb"))
    reloaded = result_from_nodes(again)
    after = (decisions(again, reloaded), progress(again, review_items(again, reloaded), reloaded))
    assert after == before
    assert {name: m.value for name, m in reloaded.measurements.items()} == pytest.approx(numbers)


def test_jump_and_highlight(scene, nodes, result, flair):
    transform = add_transform(scene, [[0, -1, 0, 30], [1, 0, 0, 0], [0, 0, 1, -5], [0, 0, 0, 1]])
    for node in (flair, nodes.segmentation, nodes.probability, nodes.uncertainty):
        node.SetAndObserveTransformNodeID(transform.GetID())
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    item = review_items(nodes, result_from_nodes(nodes))[0]
    jump_to(flair, item.voxel)
    centre = [view.GetSliceToRAS().GetElement(n, 3) for n in range(3)]
    # 5 x 2 voxels have their centre between two of them.
    assert np.allclose(centre, item.lesion.centroid_mm, atol=0.7)

    count = scene.GetNumberOfNodes()
    highlight(flair, review_items(nodes, result)[1].voxels, "another")
    highlight(flair, item.voxels, "Lesion 1")
    node = scene.GetSingletonNode(HIGHLIGHT, "vtkMRMLSegmentationNode")
    assert node.GetHideFromEditors()
    assert not node.GetSaveWithScene()
    (segment,) = node.GetSegmentation().GetSegmentIDs()
    assert np.allclose(node.GetSegmentCenterRAS(segment), item.lesion.centroid_mm, atol=0.7)
    assert find(flair).segmentation is nodes.segmentation
    remove_highlight(scene)
    assert scene.GetNumberOfNodes() == count
    remove_highlight(scene)
