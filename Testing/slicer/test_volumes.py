import numpy as np
import pytest
import slicer
import vtk
from nodes import GEOMETRIES, SHAPE, add_flair, add_transform, add_volume
from vtk.util.numpy_support import vtk_to_numpy

from csvd.errors import InputError
from csvd.image import read_image
from csvd_slicer.volumes import image_from_node, own_affine, voxels_of, write_like

TURN = np.array([[0.0, -1, 0, 10], [1, 0, 0, -4], [0, 0, 1, 7], [0, 0, 0, 1]])


def under(node, transform):
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_volume_node_is_an_image_with_its_affine(scene, geometry):
    flair = add_flair(scene, geometry)
    image = image_from_node(flair)
    assert image.voxels.shape == SHAPE
    assert image.voxels.dtype == np.int16
    assert np.array_equal(image.voxels, slicer.util.arrayFromVolume(flair).transpose())
    assert np.allclose(image.affine, GEOMETRIES[geometry], atol=1e-9)
    assert image.spacing_mm == pytest.approx((1.0, 1.2, 4.0))
    assert (image.source, image.warnings, image.modality) == ("FLAIR", (), "")


def test_a_voxel_lies_where_slicer_says(scene):
    flair = under(add_flair(scene), add_transform(scene, TURN))
    image = image_from_node(flair)
    box = [0.0] * 6
    flair.GetRASBounds(box)
    corners = np.array([(*ijk, 1) for ijk in np.ndindex(2, 2, 2)]) * (*np.array(SHAPE), 1) - (0.5, 0.5, 0.5, 0)
    world = (image.affine @ corners.T)[:3]
    assert np.allclose([world.min(axis=1), world.max(axis=1)], np.reshape(box, (3, 2)).T)


def test_the_image_is_a_copy(scene):
    flair = add_flair(scene)
    image = image_from_node(flair)
    before = image.voxels.copy()
    voxels_of(flair)[:] = 7
    assert np.array_equal(image.voxels, before)


def test_a_chain_of_parent_transforms_turns_the_affine(scene):
    flair, outer, inner = add_flair(scene), add_transform(scene, TURN), add_transform(scene, np.diag([-1, -1, 1, 1]))
    under(inner, outer)
    image = image_from_node(under(flair, inner))
    assert np.allclose(image.affine, TURN @ np.diag([-1, -1, 1, 1]) @ GEOMETRIES["oblique"])
    assert image.warnings == ()


def test_what_slicer_hardens_is_what_was_read(scene):
    flair = under(add_flair(scene), add_transform(scene, TURN))
    before = image_from_node(flair).affine
    flair.HardenTransform()
    assert np.allclose(own_affine(flair), before)
    assert np.allclose(image_from_node(flair).affine, before)


def test_a_transform_that_scales_is_applied_and_told(scene):
    image = image_from_node(under(add_flair(scene, "axial"), add_transform(scene, np.diag([1.1, 1.1, 1.1, 1]))))
    assert image.spacing_mm == pytest.approx((1.1, 1.32, 4.4))
    assert len(image.warnings) == 1
    assert "scales the head by 1.10" in image.warnings[0]


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "slanted"),
        (np.diag([1, 1, 0, 1]), "flat"),
        (np.diag([1, np.nan, 1, 1]), "flat or has no size"),
    ],
)
def test_a_transform_that_keeps_no_straight_grid_is_refused(scene, matrix, words):
    with pytest.raises(InputError, match=words):
        image_from_node(under(add_flair(scene, "axial"), add_transform(scene, matrix)))


def test_a_bending_transform_is_refused_also_as_a_grandparent(scene):
    grid = vtk.vtkImageData()
    grid.SetDimensions(3, 3, 3)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    vectors = vtk_to_numpy(grid.GetPointData().GetScalars())
    vectors[:] = np.random.default_rng(0).random(vectors.shape)
    warp = slicer.vtkOrientedGridTransform()
    warp.SetDisplacementGridData(grid)
    bend = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Warp")
    bend.SetAndObserveTransformToParent(warp)
    flair, rigid = add_flair(scene), add_transform(scene, TURN)
    with pytest.raises(InputError, match="bent by the non-linear transform"):
        image_from_node(under(flair, under(rigid, bend)))
    assert image_from_node(under(flair, add_transform(scene, TURN))) is not None


@pytest.mark.parametrize(
    ("class_name", "words"),
    [
        ("vtkMRMLLabelMapVolumeNode", "is a label map"),
        ("vtkMRMLVectorVolumeNode", "several values in each voxel"),
        ("vtkMRMLDiffusionWeightedVolumeNode", "several volumes"),
    ],
)
def test_other_kinds_of_volumes_are_refused(scene, class_name, words):
    node = add_volume(scene, np.zeros(SHAPE, np.uint8), np.eye(4), "X", class_name)
    with pytest.raises(InputError, match=words):
        image_from_node(node)


def test_colours_in_a_scalar_volume_are_refused(scene):
    node = add_flair(scene)
    image = vtk.vtkImageData()
    image.SetDimensions(SHAPE)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="several values in each voxel"):
        image_from_node(node)


def test_a_sequence_an_empty_volume_and_nothing_are_refused(scene):
    with pytest.raises(InputError, match="is a sequence of several volumes"):
        image_from_node(scene.AddNewNodeByClass("vtkMRMLSequenceNode", "S"))
    with pytest.raises(InputError, match="E has no voxels: load the scan again"):
        image_from_node(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "E"))
    with pytest.raises(InputError, match="No volume was chosen"):
        image_from_node(None)


def test_the_source_is_the_file_and_the_modality_that_of_dicom(scene, tmp_path):
    flair = add_flair(scene)
    path = tmp_path / "scan of Müller.nrrd"
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    flair.SetAndObserveStorageNodeID(storage.GetID())
    storage.SetFileName(str(path))
    assert storage.WriteData(flair)
    hierarchy = scene.GetSubjectHierarchyNode()
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(flair), "DICOM.Modality", "MR")
    image = image_from_node(flair)
    assert (image.source, image.modality) == (str(path), "MR")
    on_disk = read_image(path)
    assert np.array_equal(on_disk.voxels, image.voxels)
    assert np.allclose(on_disk.affine, image.affine, atol=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float32])
def test_an_array_is_written_on_the_voxels_and_under_the_transform_of_its_volume(scene, dtype):
    flair = under(add_flair(scene), add_transform(scene, TURN))
    voxels = np.random.default_rng(1).integers(0, 2, SHAPE).astype(dtype)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Map")
    write_like(node, voxels, flair)
    assert np.array_equal(voxels_of(node), voxels)
    assert voxels_of(node).dtype == (np.uint8 if dtype is bool else dtype)
    assert np.allclose(own_affine(node), GEOMETRIES["oblique"])
    assert np.allclose(image_from_node(node).affine, image_from_node(flair).affine)


def test_an_array_of_another_shape_is_refused(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Map")
    with pytest.raises(InputError, match="does not fit FLAIR"):
        write_like(node, np.zeros((3, 4, 5)), add_flair(scene))
    assert node.GetImageData() is None
