"""The segmentation node: lesions, what a reader rejected, ventricles and brain, as arrays and back.

Lesions and rejected voxels share one labelmap, as Slicer's own segments do: painting one erases the other.
Ventricles and brain have one each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer

from csvd_slicer.layers import Layer, read_layer, write_layers
from csvd_slicer.naming import BRAIN, VENTRICLES, descriptions, marker_of, zone_ids

if TYPE_CHECKING:
    from csvd.result import Result


@dataclass(frozen=True, eq=False)
class Segments:
    """What the segments hold, all (i, j, k) on the scan.

    Attributes:
        labels: uint8; 0 nothing, 1 periventricular, 2 deep. Each voxel counts once, and rejected ones not at all.
        ventricles: bool.
        rejected: uint8; 0 nothing, otherwise 1 + the index in `naming.REASONS`.
    """

    labels: np.ndarray
    ventricles: np.ndarray
    rejected: np.ndarray

    @classmethod
    def of(cls, result: Result, rejected: np.ndarray | None = None) -> Segments:
        """The segments that show `result`, with the voxels that a reader rejected (none unless given)."""
        none = np.zeros(result.labels.shape, np.uint8)
        return cls(result.labels, result.ventricles, none if rejected is None else rejected)

    @property
    def mask(self) -> np.ndarray:
        """bool: all lesions, of either zone."""
        return self.labels > 0


def read_segments(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode) -> Segments:
    """Return what the segments hold now. A segment that somebody removed is empty.

    Where segments overlap (Slicer can be told to allow it), a rejected voxel is no lesion, and deep wins over
    periventricular.

    Raises:
        InputError: the segmentation and the scan do not lie in the same place, or surfaces are its source.
    """
    zones, ventricles = read_layer(node, scan, zone_ids(marker_of(node))), read_layer(node, scan, (VENTRICLES,))
    return Segments(np.where(zones <= 2, zones, 0), ventricles.view(bool), np.where(zones > 2, zones - 2, 0))


def remeasure(result: Result, segments: Segments) -> Result:
    """Measure `result` anew on what the segments hold.

    A voxel that was a lesion before and lies in the other zone now was moved by the reader and stays there; a
    new one is given to the zone of its distance. Ventricles cost a distance map and count only when changed.
    """
    ventricles = None if np.array_equal(segments.ventricles, result.ventricles) else segments.ventricles
    before, now, moved = result.labels, segments.labels, result.moved
    relabelled = (now != before) & (now > 0) & (before > 0)
    if relabelled.any():
        automatic = (result.automatic or result).labels
        moved = np.zeros_like(now) if moved is None else moved.copy()
        moved[relabelled] = np.where(now == automatic, 0, now)[relabelled]
    return result.remeasure(segments.mask, ventricles=ventricles, moved=moved)


def read_mask(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode, id: str) -> np.ndarray:
    """Return one segment, bool (i, j, k), empty where there is none; raises InputError as `read_segments`."""
    return read_layer(node, scan, (id,)).view(bool)


def read_brain(node: slicer.vtkMRMLSegmentationNode, scan: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Return the segment "Brain", bool (i, j, k); raises InputError as `read_segments`."""
    return read_mask(node, scan, BRAIN)


def write_segments(
    node: slicer.vtkMRMLSegmentationNode,
    scan: slicer.vtkMRMLScalarVolumeNode,
    segments: Segments,
    *,
    brain: np.ndarray | None = None,
    save_state: Callable[[], object] | None = None,
) -> set[str]:
    """Make the segments hold `segments` (and `brain`, where given), and touch only what differs.

    Segments that are missing are made, with name, colour and terminology; those of rejected voxels only when there
    are any. Segments of the reader's own keep their voxels. Surfaces in 3D follow.

    Args:
        save_state: called once before the first change and not at all without one: the Segment Editor's
            ``saveStateForUndo`` or a vtkSegmentationHistory's ``SaveState``. Leave it out to follow an edit that the
            Segment Editor has made and saved the state for.

    Returns:
        The ids of the segments whose voxels changed.

    Raises:
        InputError: as `read_segments`, or an array of another shape than the scan.
    """
    marker = marker_of(node)
    listed, ids = descriptions(marker), zone_ids(marker)
    zones = np.where(segments.rejected > 0, segments.rejected + np.uint8(2), segments.labels).astype(np.uint8)
    layers = (
        Layer([listed[id] for id in ids], zones, optional=ids[2:]),
        Layer([listed[VENTRICLES]], segments.ventricles, hidden=(VENTRICLES,)),
        Layer([listed[BRAIN]], brain, hidden=(BRAIN,)),
    )
    return write_layers(node, scan, layers, save_state=save_state)


def spare_hidden_segments(editor: slicer.vtkMRMLSegmentEditorNode) -> None:
    """Let a stroke erase what it covers of shown segments only; by default it would eat ventricles and brain too."""
    editor.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments)
