"""Probability and uncertainty as volume nodes that lie over the scan: coloured, and clear where there is nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer

from csvd.marker import Marker
from csvd_slicer.volumes import write_like

# A choice: below this a map is clear, so that the scan shows; lesion borders are far above it.
CLEAR_BELOW = 0.01


@dataclass(frozen=True)
class Look:
    """How a map from 0 to 1 is shown: a colour table that every scene has, and its unit (UCUM code and meaning)."""

    color_node_id: str
    unit: tuple[str, str]


PROBABILITY = Look("vtkMRMLPETProceduralColorNodePET-Heat", ("1", "no units"))
UNCERTAINTY = Look("vtkMRMLColorTableNodeCool1", ("bit", "bit"))


def write_map(
    node: slicer.vtkMRMLScalarVolumeNode, voxels: np.ndarray, scan: slicer.vtkMRMLScalarVolumeNode, look: Look
) -> None:
    """Put a map, float32 (i, j, k) from 0 to 1, into `node`.

    Colours, window and threshold of display are set when the node has none yet: what a reader changed stays. Voxels
    are shown as they are, not interpolated, since a mask is made of voxels.
    """
    write_like(node, voxels, scan)
    if node.GetVoxelValueUnits() is None:
        code, meaning = look.unit
        units = slicer.vtkCodedEntry()
        units.SetValueSchemeMeaning(code, "UCUM", meaning)
        node.SetVoxelValueUnits(units)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetAndObserveColorNodeID(look.color_node_id)
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(0, 1)
        display.AutoThresholdOff()
        display.SetThreshold(CLEAR_BELOW, 1)
        display.ApplyThresholdOn()
        display.InterpolateOff()


def set_window(scan: slicer.vtkMRMLScalarVolumeNode, level: float, width: float) -> None:
    """Show a volume in a window of grey values, such as the 40/80 HU in which brain is read on CT."""
    if scan.GetDisplayNode() is None:
        scan.CreateDefaultDisplayNodes()
    display = scan.GetScalarVolumeDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(width, level)


def set_first_window(scan: slicer.vtkMRMLScalarVolumeNode, marker: Marker) -> None:
    """Show a volume in the window of `marker`, where there is one and nobody has chosen another yet."""
    display = scan.GetScalarVolumeDisplayNode()
    if marker.window is not None and (display is None or display.GetAutoWindowLevel()):
        set_window(scan, *marker.window)
