"""What the views show: colour where a segment or a map is, and nowhere else."""

import numpy as np
import pytest
from nodes import DEEP, PERIVENTRICULAR, add_transform, add_volume
from phantoms import OBLIQUE, head, oriented_affine
from rendering import SliceView, ThreeDView
from scipy import ndimage

from csvd.marker import WMH
from csvd.result import Result
from csvd_slicer.naming import BRAIN, VENTRICLES, descriptions
from csvd_slicer.scene import show
from csvd_slicer.volumes import image_from_node, voxels_of, world_affine

SHAPE, SPACING_MM, K = (96, 112, 26), (2.0, 2.0, 5.0), 13
TURN = np.array([[0.0, -1, 0, 10], [1, 0, 0, -4], [0, 0, 1, 7], [0, 0, 0, 1]])


@pytest.fixture(params=["axial", "oblique, under a transform"])
def nodes(request, scene):
    """A head with a periventricular lesion beside the ventricle and a deep one far away, 3 slices each."""
    voxels, affine = head(shape=SHAPE, spacing_mm=SPACING_MM)
    if request.param != "axial":
        affine = oriented_affine((0, 1, 2), (-1, -1, 1), SPACING_MM, SHAPE, OBLIQUE)
    flair = add_volume(scene, voxels, affine)
    flair.CreateDefaultDisplayNodes()
    if request.param != "axial":
        flair.SetAndObserveTransformNodeID(add_transform(scene, TURN).GetID())
    probability, ventricles = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool)
    ventricles[40:46, 40:75, 11:16] = True
    probability[36:40, 45:70, 12:15] = 0.9
    probability[66:72, 50:58, 12:15] = 0.6
    return show(Result.from_probability(image_from_node(flair), probability, ventricles, np.ones(SHAPE, bool)), flair)


@pytest.fixture
def view(nodes):
    view = SliceView(nodes.scan.GetScene(), nodes.scan)
    view.look_at((world_affine(nodes.scan) @ [47.5, 55.5, K, 1])[:3])
    yield view
    view.close()


@pytest.fixture
def three_d(nodes):
    view = ThreeDView(nodes.scan.GetScene())
    yield view
    view.close()


def at_pixels(view, nodes, voxels):
    """The value of the voxel in which each pixel's centre lies; 0 outside the volume."""
    to_ijk = np.linalg.inv(world_affine(nodes.scan))
    ijk = np.rint(view.ras() @ to_ijk[:3, :3].T + to_ijk[:3, 3]).astype(int)
    assert (ijk[..., 2] == K).all()
    inside = ((ijk >= 0) & (ijk < SHAPE)).all(axis=-1)
    values = voxels[tuple(np.clip(ijk, 0, np.array(SHAPE) - 1).transpose(2, 0, 1))]
    return np.where(inside, values, 0)


def covers(changed, where):
    """Whether pixels changed all over `where` and nowhere else, give or take the pixels of an outline."""
    everywhere = changed[ndimage.binary_erosion(where, iterations=2)].all()
    return where.any() and everywhere and not changed[~ndimage.binary_dilation(where, iterations=3)].any()


def differ(one, other):
    return (one != other).any(axis=-1)


def labels(nodes):
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[36:40, 45:70, 12:15], voxels[66:72, 50:58, 12:15] = 1, 2
    return voxels


def test_a_slice_is_coloured_where_the_segments_are_and_nowhere_else(nodes, view, tmp_path):
    shown = view.pixels()
    view.save(tmp_path / "slice.png")
    display = nodes.segmentation.GetDisplayNode()
    display.SetVisibility(False)
    bare = view.pixels()
    zones = at_pixels(view, nodes, labels(nodes))
    assert covers(differ(shown, bare), zones > 0)
    assert (bare[..., 0] == bare[..., 1]).all()
    for zone, id in ((1, PERIVENTRICULAR), (2, DEEP)):
        tint = (shown.astype(int) - bare)[ndimage.binary_erosion(zones == zone, iterations=3)].mean(axis=0)
        colour = np.array(descriptions(WMH)[id]["color"])
        assert tint.argmax() == colour.argmax()
        assert tint.argmin() == colour.argmin()
    assert (tmp_path / "slice.png").stat().st_size > 1000


def test_a_slice_without_lesions_is_bare(nodes, view):
    view.look_at((world_affine(nodes.scan) @ [47.5, 55.5, 20, 1])[:3])
    shown = view.pixels()
    assert (shown[..., 0] == shown[..., 2]).all()
    assert shown.max() > 100


def test_hidden_segments_show_when_a_reader_asks(nodes, view):
    before = view.pixels()
    nodes.segmentation.GetDisplayNode().SetSegmentVisibility(VENTRICLES, True)
    ventricles = np.zeros(SHAPE, bool)
    ventricles[40:46, 40:75, 11:16] = True
    assert covers(differ(view.pixels(), before), at_pixels(view, nodes, ventricles) > 0)


def test_a_map_over_the_flair_is_clear_where_it_is_0(nodes, view):
    nodes.segmentation.GetDisplayNode().SetVisibility(False)
    bare = view.pixels()
    composite = view.logic.GetSliceCompositeNode()
    composite.SetForegroundOpacity(0.7)
    for node in (nodes.probability, nodes.uncertainty):
        composite.SetForegroundVolumeID(node.GetID())
        assert covers(differ(view.pixels(), bare), at_pixels(view, nodes, voxels_of(node)) > 0)


def test_surfaces_of_the_hyperintensities_stand_in_3d_and_no_others(nodes, three_d, tmp_path):
    nodes.segmentation.CreateClosedSurfaceRepresentation()
    three_d.look()
    shown = three_d.pixels().astype(int)
    three_d.save(tmp_path / "surfaces.png")
    warm, cold = shown[..., 0] - shown[..., 2] > 40, shown[..., 2] - shown[..., 0] > 40
    assert min(warm.sum(), cold.sum()) > 500
    display = nodes.segmentation.GetDisplayNode()
    for id in (PERIVENTRICULAR, DEEP):
        display.SetSegmentVisibility(id, False)
    assert not display.GetSegmentVisibility(BRAIN)
    assert three_d.pixels().max() == 0
