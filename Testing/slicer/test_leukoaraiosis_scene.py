"""Leukoaraiosis of a CT in the scene: nodes under its own words, beside those of a FLAIR, also after a reload."""

from types import SimpleNamespace

import headless
import numpy as np
import pytest
import slicer
import vtk
from nodes import GEOMETRIES, add_flair, add_transform, add_volume, pieces, result_of
from phantoms import CT, head
from rendering import SliceView
from test_reload import close
from test_rendering import K, at_pixels, covers, differ, labels

from csvd.errors import InputError
from csvd.marker import LEUKOARAIOSIS, WMH
from csvd.result import Result
from csvd_slicer.comparison import agreement, show_comparison
from csvd_slicer.maps import set_window
from csvd_slicer.naming import MARKER, marker_of
from csvd_slicer.review import decide, review_items
from csvd_slicer.scene import families, find, remove, result_from_nodes, show
from csvd_slicer.segments import read_segments
from csvd_slicer.volumes import image_from_node, own_affine, world_affine


@pytest.fixture
def flair(scene):
    return add_flair(scene)


@pytest.fixture
def ct(scene):
    voxels = np.random.default_rng(1).integers(0, 60, (40, 50, 8)).astype(np.int16)
    return add_volume(scene, voxels, GEOMETRIES["axial"], "CT")


@pytest.fixture
def both(flair, ct):
    """The families of a FLAIR and of a CT in one scene."""
    return show(result_of(flair), flair), show(result_of(ct, marker=LEUKOARAIOSIS), ct)


def names(nodes):
    segmentation = nodes.segmentation.GetSegmentation()
    return [segmentation.GetSegment(id).GetName() for id in segmentation.GetSegmentIDs()]


def test_the_nodes_of_a_ct_are_named_after_leukoaraiosis(both):
    _, nodes = both
    assert {node.GetName() for node in nodes.made} == {
        *("CT leukoaraiosis", "CT leukoaraiosis probability", "CT leukoaraiosis uncertainty", "CT leukoaraiosis chart"),
        *("CT leukoaraiosis measurements", "CT leukoaraiosis lesions", "CT leukoaraiosis by slice"),
        *("CT Periventricular leukoaraiosis", "CT Deep leukoaraiosis"),
    }
    assert names(nodes) == ["Periventricular leukoaraiosis", "Deep leukoaraiosis", "Ventricles", "Brain"]
    assert nodes.chart.GetTitle() == "Leukoaraiosis volume by slice"
    assert nodes.slices.GetColumnTitle("deep_ml") == "Deep leukoaraiosis"


def test_a_flair_and_a_ct_have_a_family_each_in_one_scene(scene, both, flair, ct):
    wmh, leukoaraiosis = both
    assert (wmh.marker, leukoaraiosis.marker) == (WMH, LEUKOARAIOSIS)
    assert not set(wmh.made) & set(leukoaraiosis.made)
    assert [nodes.scan for nodes in families(scene)] == [flair, ct]
    assert [nodes.scan for nodes in families(scene, LEUKOARAIOSIS)] == [ct]
    assert find(ct, WMH) is None
    remove(leukoaraiosis)
    assert [nodes.scan for nodes in families(scene)] == [flair]
    assert read_segments(wmh.segmentation, flair).mask.sum() == 35


def test_one_volume_can_hold_a_family_of_each_marker(scene, flair):
    wmh = show(result_of(flair), flair)
    other = show(result_of(flair, marker=LEUKOARAIOSIS), flair)
    assert wmh.segmentation is not other.segmentation
    assert find(flair, WMH).segmentation is wmh.segmentation
    assert show(result_of(flair, marker=LEUKOARAIOSIS), flair).segmentation is other.segmentation


def test_both_families_come_back_from_a_saved_scene_as_what_they_were(tmp_path, both, ct):
    expected = {marker: result_of(ct, marker=marker, threshold=0.4).measurements for marker in (WMH, LEUKOARAIOSIS)}
    headless.save_bundle(tmp_path / "both.mrb")
    wmh, leukoaraiosis = families(headless.open_bundle(tmp_path / "both.mrb"))
    assert names(leukoaraiosis)[:2] == ["Periventricular leukoaraiosis", "Deep leukoaraiosis"]
    for nodes, marker in ((wmh, WMH), (leukoaraiosis, LEUKOARAIOSIS)):
        result = result_from_nodes(nodes)
        assert result.marker is marker
        assert close(result.remeasure(threshold=0.4).measurements, expected[marker])
        assert not result.edited


def test_the_hemispheres_are_measured_after_a_reload_too(tmp_path, ct):
    result = result_of(ct, marker=LEUKOARAIOSIS, parameters={"midplane": [1.0, 0.0, 0.0, 0.0]})
    show(result, ct)
    headless.save_bundle(tmp_path / "midplane.mrb")
    (nodes,) = families(headless.open_bundle(tmp_path / "midplane.mrb"))
    again = result_from_nodes(nodes).measurements["asymmetry_index"].value
    assert again == pytest.approx(result.measurements["asymmetry_index"].value)


def test_a_scene_from_before_ct_holds_wmh(flair):
    nodes = show(result_of(flair), flair)
    nodes.segmentation.RemoveAttribute(MARKER)
    assert marker_of(nodes.segmentation) is WMH
    assert find(flair, WMH).segmentation is nodes.segmentation
    assert result_from_nodes(nodes).marker is WMH


def test_a_family_of_a_marker_from_the_future_is_left_alone(scene, flair):
    show(result_of(flair), flair).segmentation.SetAttribute(MARKER, "lacune")
    assert list(families(scene)) == []
    assert find(flair) is None


def test_a_rejected_lesion_lies_in_a_segment_of_its_own_name(both):
    _, nodes = both
    result = result_from_nodes(nodes)
    decide(nodes, result, review_items(nodes, result)[0], "infarct")
    assert names(nodes)[-1] == "Not leukoaraiosis: infarct"
    assert np.count_nonzero(read_segments(nodes.segmentation, nodes.scan).rejected) == 10


def test_a_ct_is_shown_in_the_brain_window_unless_a_reader_chose_another(ct, flair):
    show(result_of(ct, marker=LEUKOARAIOSIS), ct)
    display = ct.GetScalarVolumeDisplayNode()
    assert (display.GetLevel(), display.GetWindow(), display.GetAutoWindowLevel()) == (40, 80, 0)
    set_window(ct, 32, 8)
    show(result_of(ct, marker=LEUKOARAIOSIS), ct)
    assert (display.GetLevel(), display.GetWindow()) == (32, 8)
    flair.CreateDefaultDisplayNodes()
    show(result_of(flair), flair)
    assert flair.GetScalarVolumeDisplayNode().GetAutoWindowLevel()


def test_a_result_without_its_ct_is_refused_in_words_of_the_ct(scene, both, ct):
    scene.RemoveNode(ct)
    nodes = next(families(scene, LEUKOARAIOSIS))
    with pytest.raises(InputError, match="The CT of CT leukoaraiosis is no longer in the scene: load the CT and"):
        result_from_nodes(nodes)


@pytest.fixture
def compared(both, flair):
    """The CT's family after a comparison: of the FLAIR 5 voxels on the CT's first lesion, and 5 elsewhere."""
    nodes = both[1]
    mask = np.zeros((40, 50, 8), bool)
    mask[20:22, 22:27, 3] = mask[10:12, 22:27, 3] = True
    found = SimpleNamespace(flair_mask_on_ct=mask, volume_flair_ml=0.3, quality='It fits "well".')
    show_comparison(nodes, found, flair)
    return nodes


def test_a_comparison_with_the_flair_is_kept_with_the_scene(tmp_path, compared):
    headless.save_bundle(tmp_path / "compared.mrb")
    nodes = next(families(headless.open_bundle(tmp_path / "compared.mrb"), LEUKOARAIOSIS))
    found = agreement(nodes, result_from_nodes(nodes))
    # 35 voxels of 4.8 mm3 on the CT, 20 of the FLAIR, 10 of them in both.
    assert (found.flair, found.quality) == ("FLAIR", 'It fits "well".')
    assert found.dice == pytest.approx(2 * 10 / 55)
    assert found.difference_ml == pytest.approx(35 * 0.0048 - 0.3)


def test_a_comparison_lies_in_the_folder_of_the_ct_and_goes_with_its_family(scene, compared, flair):
    hierarchy = scene.GetSubjectHierarchyNode()
    parents = [hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in compared.made]
    assert len(set(parents)) == 1
    assert compared.comparison.GetName() == "CT WMH of the FLAIR"
    remove(compared)
    assert scene.GetFirstNodeByName("CT WMH of the FLAIR") is None
    assert find(flair) is not None


TILT = np.array([[1, 0, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])  # 17 degrees


def shearing_grid(scene, ct):
    """TILT as Slicer's DICOM reader makes it of a tilted gantry: displacements of the corners, linear between them."""
    low, high = np.zeros(3), np.array([39, 49 * 1.2, 7 * 4.0])
    affine = own_affine(ct)
    corners = [affine[:3, :3] @ (np.array(c) * (high - low) / [1, 1.2, 4]) + affine[:3, 3] for c in np.ndindex(2, 2, 2)]
    origin, far = np.min(corners, axis=0), np.max(corners, axis=0)
    grid = vtk.vtkImageData()
    grid.SetDimensions(2, 2, 2)
    grid.SetOrigin(origin)
    grid.SetSpacing(far - origin)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    for n in range(8):
        place = np.array(grid.GetPoint(n))
        grid.GetPointData().GetScalars().SetTuple3(n, *(TILT[:3, :3] @ place - place))
    warp = slicer.vtkOrientedGridTransform()
    warp.SetDisplacementGridData(grid)
    node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Acquisition transform")
    node.SetAndObserveTransformToParent(warp)
    return node


@pytest.mark.parametrize("kind", ["a matrix", "a grid of displacements"])
def test_a_ct_of_a_tilted_gantry_is_read_slanted_and_shown_on_its_own_voxels(scene, ct, tmp_path, kind):
    transform = add_transform(scene, TILT) if kind == "a matrix" else shearing_grid(scene, ct)
    ct.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match=r"slanted by its transform|bent by the non-linear"):
        image_from_node(ct)
    image = image_from_node(ct, slanted=True)
    assert np.allclose(image.affine, TILT @ own_affine(ct), atol=1e-6)
    result = Result.from_probability(*pieces(image), marker=LEUKOARAIOSIS)
    nodes = show(result, ct)
    assert nodes.segmentation.GetTransformNodeID() == transform.GetID()
    assert np.array_equal(read_segments(nodes.segmentation, ct).labels, result.labels)
    headless.save_bundle(tmp_path / "tilted.mrb")
    (again,) = families(headless.open_bundle(tmp_path / "tilted.mrb"))
    assert np.array_equal(result_from_nodes(again).labels, result.labels)


def test_a_slice_of_a_ct_shows_brain_in_greys_and_leukoaraiosis_in_colour(scene, tmp_path):
    voxels, affine = head(CT, air=-1000, noise=2.0)
    ct = add_volume(scene, voxels, affine, "CT")
    probability, ventricles = np.zeros(voxels.shape, np.float32), voxels == 99
    ventricles[40:46, 40:75, 11:16] = True
    probability[36:40, 45:70, 12:15], probability[66:72, 50:58, 12:15] = 0.9, 0.6
    everywhere = np.ones(voxels.shape, bool)
    image = image_from_node(ct)
    result = Result.from_probability(image, probability, ventricles, everywhere, marker=LEUKOARAIOSIS)
    nodes = show(result, ct)
    view = SliceView(scene, ct)
    view.look_at((world_affine(ct) @ [47.5, 55.5, K, 1])[:3])
    shown = view.pixels()
    view.save(tmp_path / "ct_slice.png")
    nodes.segmentation.GetDisplayNode().SetVisibility(False)
    bare = view.pixels()
    view.close()
    assert covers(differ(shown, bare), at_pixels(view, nodes, labels(nodes)) > 0)
    # White matter of 30 HU in a window from 0 to 80 is 96 of 255; bone is white and air black.
    hu = at_pixels(view, nodes, image.voxels)
    assert np.median(bare[(hu > 25) & (hu < 35)]) == pytest.approx(96, abs=12)
    assert np.median(bare[hu > 500]) == 255
    assert np.median(bare[hu < -500]) == 0
