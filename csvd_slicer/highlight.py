"""Show a reader one lesion: bring it into the slice views, and draw a line round it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from csvd_slicer.layers import LABELMAP, labelmap
from csvd_slicer.volumes import own_affine, world_affine

HIGHLIGHT = "csvd.highlight"
HIGHLIGHT_COLOR = (1.0, 1.0, 0.0)


def jump_to(scan: slicer.vtkMRMLScalarVolumeNode, voxel: Sequence[int]) -> None:
    """Bring a voxel (i, j, k) of `scan` into the middle of every slice view."""
    point = world_affine(scan) @ (*voxel, 1)
    kind = slicer.vtkMRMLSliceNode
    kind.JumpAllSlices(scan.GetScene(), *point[:3], kind.CenteredJumpSlice)


def highlight(scan: slicer.vtkMRMLScalarVolumeNode, voxels: Sequence[np.ndarray], name: str) -> None:
    """Draw a yellow line round `voxels`, three arrays of indices (i, j, k) of `scan`.

    One at a time, hidden from lists and not saved.
    """
    scene = scan.GetScene()
    node = scene.GetSingletonNode(HIGHLIGHT, "vtkMRMLSegmentationNode")
    if node is None:
        node = scene.CreateNodeByClass("vtkMRMLSegmentationNode")
        node.UnRegister(None)
        node.SetName("Lesion under review")
        node.SetSingletonTag(HIGHLIGHT)
        node.HideFromEditorsOn()
        node.SaveWithSceneOff()
        node = scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SaveWithSceneOff()
        display.SetVisibility2DFill(False)
        display.SetVisibility3D(False)
    low = np.array([c.min() for c in voxels])
    box = np.zeros([np.ptp(c) + 1 for c in voxels], np.uint8)
    box[tuple(c - start for c, start in zip(voxels, low, strict=True))] = 1
    affine = own_affine(scan)
    affine[:3, 3] = (affine @ (*low, 1))[:3]
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*HIGHLIGHT_COLOR)
    segment.AddRepresentation(LABELMAP, labelmap(box, affine))
    node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
    node.GetSegmentation().RemoveAllSegments()
    node.GetSegmentation().AddSegment(segment)


def remove_highlight(scene: slicer.vtkMRMLScene) -> None:
    node = scene.GetSingletonNode(HIGHLIGHT, "vtkMRMLSegmentationNode")
    if node is not None:
        display = node.GetDisplayNode()
        scene.RemoveNode(node)
        if display is not None:
            scene.RemoveNode(display)


def nearest_to_centroid(voxels: Sequence[np.ndarray], spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    """The one of `voxels` that is nearest to their centroid, which itself may lie outside a bent lesion."""
    off = sum((c - c.mean()) ** 2 * mm**2 for c, mm in zip(voxels, spacing_mm, strict=True))
    return tuple(int(c[off.argmin()]) for c in voxels)
