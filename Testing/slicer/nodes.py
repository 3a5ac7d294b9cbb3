"""FLAIR nodes of known geometry, and small Results on them. Shared by the tests of this folder."""

import numpy as np
import vtk
from phantoms import OBLIQUE, oriented_affine

from csvd.image import Image
from csvd.marker import WMH
from csvd.result import Result
from csvd_slicer.naming import BRAIN, VENTRICLES, zone_ids
from csvd_slicer.volumes import image_from_node, scalars_of

PERIVENTRICULAR, DEEP, *REJECTED = zone_ids(WMH)
ALWAYS = (PERIVENTRICULAR, DEEP, VENTRICLES, BRAIN)
SHAPE, SPACING_MM = (40, 50, 8), (1.0, 1.2, 4.0)
GEOMETRIES = {
    "axial": oriented_affine((0, 1, 2), (1, 1, 1), SPACING_MM, SHAPE),
    "oblique": oriented_affine((0, 1, 2), (-1, -1, 1), SPACING_MM, SHAPE, OBLIQUE),
    "left-handed": oriented_affine((0, 1, 2), (-1, 1, 1), SPACING_MM, SHAPE, OBLIQUE),
    "sagittal": oriented_affine((1, 2, 0), (-1, -1, 1), SPACING_MM, SHAPE),
}


def vtk_matrix(affine):
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(affine, float).ravel())
    return matrix


def add_volume(scene, voxels, affine, name="FLAIR", class_name="vtkMRMLScalarVolumeNode"):
    image = vtk.vtkImageData()
    image.SetDimensions(voxels.shape)
    image.GetPointData().SetScalars(scalars_of(voxels))
    node = scene.AddNewNodeByClass(class_name, name)
    node.SetIJKToRASMatrix(vtk_matrix(affine))
    node.SetAndObserveImageData(image)
    return node


def add_flair(scene, geometry="oblique", shape=SHAPE, name="FLAIR"):
    voxels = np.random.default_rng(0).integers(0, 300, shape).astype(np.int16)
    return add_volume(scene, voxels, GEOMETRIES[geometry], name)


def add_transform(scene, matrix, name="T"):
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
    node.SetMatrixTransformToParent(vtk_matrix(matrix))
    return node


def result_of(flair, empty=False, **settings):
    """25 voxels of WMH 2 voxels beside the ventricle, p = .9, and 10 at 15 voxels, p = .6."""
    image = image_from_node(flair)
    return Result.from_probability(*pieces(image, empty), **settings)


def pieces(image: Image, empty=False):
    shape = image.voxels.shape
    probability = np.zeros(shape, np.float32)
    ventricles, brain = np.zeros(shape, bool), np.zeros(shape, bool)
    brain[4:36, 4:46, 1:7] = True
    ventricles[18, 20:30, 3] = True
    if not empty:
        probability[20:25, 22:27, 3] = 0.9
        probability[33:35, 22:27, 3] = 0.6
    return image, probability, ventricles, brain
