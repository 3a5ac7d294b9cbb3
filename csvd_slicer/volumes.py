"""Volume nodes: a scan out of the scene, and a map on the grid of a scan into it.

Arrays are (i, j, k), as everywhere in `csvd`. An Image's affine goes to the world, parent transforms included, so that
a head keeps the orientation that the slice views show. Nodes written here lie on the volume's own voxels and under its
own parent transform, so they move with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from csvd.errors import InputError

if TYPE_CHECKING:
    from csvd.image import Grid, Image

# A choice: less is rounding in a registration, more changes a volume in mL by over 3 %.
SCALES = 0.01
STRAIGHT_MM = 0.1  # a choice, a fraction of a pixel: a transform that bends a scan by less moves it as a whole
KINDS = {
    "vtkMRMLLabelMapVolumeNode": "is a label map",
    "vtkMRMLVectorVolumeNode": "has several values in each voxel (colour or vectors)",
    "vtkMRMLDiffusionWeightedVolumeNode": "is a diffusion series of several volumes",
    "vtkMRMLMultiVolumeNode": "is a series of several volumes",
    "vtkMRMLSequenceNode": "is a sequence of several volumes",
}


def image_from_node(node: slicer.vtkMRMLScalarVolumeNode, *, slanted: bool = False) -> Image:
    """The voxels of a volume node and where they lie in the world.

    Args:
        slanted: take the slices of a tilted CT gantry as they are. Slicer's DICOM reader puts their slant into a
            non-linear transform.

    Returns:
        Image: a copy of the voxels (i, j, k) in their own type, so that it can be worked on while the scene changes;
        affine to world RAS mm with all parent transforms applied; ``source`` is the node's file, or its name without
        one; ``modality`` where the subject hierarchy holds the DICOM one; a warning where a transform changes sizes.

    Raises:
        InputError: no volume, one with several values per voxel, a label map, no voxels, or a parent transform that
        bends, slants or flattens it.
    """
    from csvd.grid import LARGEST_SHEAR, shear
    from csvd.image import LARGEST_TILT_DEG, Image

    voxels = voxels_of(node)
    parent = node.GetParentTransformNode()
    if parent is not None and not slanted and not parent.IsTransformToWorldLinear():
        raise _bent(node)
    limit = np.sin(np.radians(LARGEST_TILT_DEG)) if slanted else LARGEST_SHEAR
    if not shear(world_affine(node)) <= limit:
        raise InputError(
            f"The voxels of {node.GetName()} are slanted by its transform: harden the transform on a copy, resample "
            "that copy, and use it, or remove the transform."
        )
    scale = np.cbrt(abs(np.linalg.det(world_affine(node)[:3, :3]) / np.linalg.det(own_affine(node)[:3, :3])))
    warnings = ()
    if abs(scale - 1) > SCALES:
        warnings = (
            f"The parent transform of {node.GetName()} scales the head by {scale:.2f}: volumes are those of the "
            "scaled head.",
        )
    storage = node.GetStorageNode()
    source = (storage.GetFullNameFromFileName() if storage else "") or node.GetName()
    return Image(np.array(voxels, order="C"), world_affine(node), source, warnings=warnings, modality=_modality(node))


def grid_of(node: slicer.vtkMRMLScalarVolumeNode) -> Grid:
    """Shape of a volume node and its affine to world RAS mm; raises InputError as `image_from_node`."""
    from csvd.grid import Grid

    return Grid(voxels_of(node).shape, world_affine(node))


def voxels_of(node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The voxels (i, j, k) of a volume node as they lie in its memory; raises InputError where there are none."""
    if node is None:
        raise InputError("No volume was chosen: choose one.")
    name, kind = node.GetName(), node.GetClassName()
    if kind != "vtkMRMLScalarVolumeNode":
        raise InputError(f"{name} {KINDS.get(kind, 'is no volume of grey values')}: choose a single volume.")
    image = node.GetImageData()
    if image is None or not image.GetNumberOfPoints() or image.GetPointData().GetScalars() is None:
        raise InputError(f"{name} has no voxels: load the scan again.")
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(f"{name} {KINDS['vtkMRMLVectorVolumeNode']}: choose a single volume.")
    return image_array(image)


def image_array(image: vtk.vtkImageData) -> np.ndarray:
    """The scalars of a VTK image as an (i, j, k) array that shares its memory."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions(), order="F")


def own_affine(node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """4x4, voxel index to the node's own RAS mm, without parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return _array(matrix)


def world_affine(node: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """4x4, voxel index to world RAS mm; raises InputError where parent transforms bend or flatten the grid."""
    affine = transform_to_world(node) @ own_affine(node)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{node.GetName()} is flat or has no size in the world: remove its transform.")
    return affine


def transform_to_world(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """4x4, from a node's own RAS mm to the world through all its parents; raises InputError where they bend it."""
    matrix = vtk.vtkMatrix4x4()
    parent = node.GetParentTransformNode()
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            return _straight(node)
        parent.GetMatrixTransformToWorld(matrix)
    return _array(matrix)


def _straight(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """4x4 of parent transforms that are not called linear, but move the voxels of a volume as a matrix would."""
    if not node.IsA("vtkMRMLVolumeNode"):
        raise _bent(node)
    ends = [(0, (n - 1) / 2, n - 1) for n in voxels_of(node).shape]
    places = own_affine(node) @ [*map(np.ravel, np.meshgrid(*ends)), np.ones(27)]
    to_world = vtk.vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformToWorld(to_world)
    moved = np.ones_like(places)
    moved[:3] = np.transpose([to_world.TransformPoint(place) for place in places[:3].T])
    matrix = moved @ np.linalg.pinv(places)
    if not np.abs(matrix @ places - moved).max() <= STRAIGHT_MM:
        raise _bent(node)
    return matrix


def _bent(node: slicer.vtkMRMLTransformableNode) -> InputError:
    return InputError(
        f"{node.GetName()} is bent by the non-linear transform {node.GetParentTransformNode().GetName()}: remove the "
        "transform, or harden it and use the hardened volume."
    )


def write_like(
    node: slicer.vtkMRMLScalarVolumeNode, voxels: np.ndarray, reference: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Put an array (i, j, k) into a volume node, on the voxels and under the parent transform of `reference`.

    The node gets new image data; what it had stays as it was, for whoever still holds it. bool becomes uint8.

    Raises:
        InputError: the array has another shape than `reference`.
    """
    shape = reference.GetImageData().GetDimensions() if reference.GetImageData() else None
    if voxels.shape != shape:
        raise InputError(f"An array of shape {voxels.shape} does not fit {reference.GetName()} of shape {shape}.")
    image = vtk.vtkImageData()
    image.SetDimensions(voxels.shape)
    image.GetPointData().SetScalars(scalars_of(voxels))
    matrix = vtk.vtkMatrix4x4()
    reference.GetIJKToRASMatrix(matrix)
    modifying = node.StartModify()
    try:
        node.SetIJKToRASMatrix(matrix)
        node.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
        node.SetAndObserveImageData(image)
    finally:
        node.EndModify(modifying)


def scalars_of(voxels: np.ndarray) -> vtk.vtkDataArray:
    """A VTK array that owns a copy of `voxels` (i, j, k) in VTK's order."""
    if voxels.dtype == bool:
        voxels = voxels.view(np.uint8)
    scalars = vtk.vtkDataArray.CreateDataArray(get_vtk_array_type(voxels.dtype))
    scalars.SetNumberOfTuples(voxels.size)
    vtk_to_numpy(scalars).reshape(voxels.shape, order="F")[...] = voxels
    scalars.SetName("ImageScalars")
    return scalars


def _modality(node: slicer.vtkMRMLNode) -> str:
    hierarchy = node.GetScene().GetSubjectHierarchyNode() if node.GetScene() else None
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    return hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""


def _array(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
