"""The review of one scan: its lesions, the most uncertain first, and what a reader decided on each.

A decision is kept as a point in the lesion, in an attribute of the segmentation node, so it is saved with the scene and
survives that lesions get other numbers or outlines. It counts only while the segments agree with it: after an undo, a
deleted lesion is there again and waits for a decision. Points are millimetres of the scan's own RAS, since Slicer may
turn its voxels round when it reads a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from csvd_slicer.highlight import nearest_to_centroid
from csvd_slicer.naming import REASONS
from csvd_slicer.scene import Family, follow_edit
from csvd_slicer.segments import Segments, read_segments, write_segments
from csvd_slicer.volumes import own_affine

if TYPE_CHECKING:
    from csvd.measure.lesions import Lesion
    from csvd.result import Result

ATTRIBUTE = "csvd.review"
ACCEPTED, DELETED = "accepted", "deleted"
MOVED = {"periventricular": 1, "deep": 2}  # by label
REJECTED = {reason: code for code, reason in enumerate(REASONS, start=1)}


@dataclass(frozen=True, eq=False)
class Item:
    """A lesion to decide on.

    Attributes:
        lesion: its row in the table of lesions.
        voxels: its voxels, three arrays of indices (i, j, k).
        voxel: the one of them that is nearest to the centroid.
        decision: "accepted", "periventricular", "deep", or "" before any.
    """

    lesion: Lesion
    voxels: tuple[np.ndarray, np.ndarray, np.ndarray]
    voxel: tuple[int, int, int]
    decision: str


def review_items(nodes: Family, result: Result) -> list[Item]:
    """Every lesion of `result`: those not decided on and decided ones alike, by falling uncertainty, then volume."""
    from csvd.measure.clusters import Clusters
    from csvd.measure.slices import slice_axis

    decided = {voxel: decision for voxel, decision in _voxels_decided(nodes) if decision in (ACCEPTED, *MOVED)}
    clusters = Clusters.of(result.mask, slice_axis(result.image.spacing_mm))
    ends = np.append(clusters.first, len(clusters.label))
    # Lesions are numbered as csvd.measure.lesions does: by falling volume, equal ones in the order of the clusters.
    largest_first = np.argsort(-clusters.voxels, kind="stable")
    items = []
    for lesion, n in zip(result.lesions, largest_first, strict=True):
        voxels = tuple(coordinate[ends[n] : ends[n + 1]] for coordinate in clusters.index)
        voxel = nearest_to_centroid(voxels, result.image.spacing_mm)
        inside = [decided[v] for v in decided if any((voxels[0] == v[0]) & (voxels[1] == v[1]) & (voxels[2] == v[2]))]
        items.append(Item(lesion, voxels, voxel, inside[-1] if inside else ""))
    return sorted(items, key=lambda item: (-item.lesion.uncertain_share, -item.lesion.volume_ml))


def progress(nodes: Family, items: list[Item], result: Result) -> tuple[int, int]:
    """How many lesions were decided on, and of how many; deleted and rejected ones count while they stay so."""
    kept = [(voxel, decision) for voxel, decision in _voxels_decided(nodes) if decision in (DELETED, *REJECTED)]
    rejected = read_segments(nodes.segmentation, nodes.scan).rejected if kept else None
    gone = sum(
        rejected[voxel] == REJECTED[decision] if decision in REJECTED else not result.mask[voxel]
        for voxel, decision in kept
    )
    decided = sum(bool(item.decision) for item in items)
    return int(decided + gone), int(len(items) + gone)


def decide(
    nodes: Family, result: Result, item: Item, decision: str, *, save_state: Callable[[], object] | None = None
) -> Result:
    """Carry a decision out and keep it; returns what is measured then.

    Args:
        item: one of ``review_items(nodes, result)``.
        decision: "accepted"; "deleted"; "periventricular" or "deep", the zone of the whole lesion; "infarct",
            "artefact" or "other", not counted but kept in a segment of its own.
        save_state: as in `csvd_slicer.segments.write_segments`.

    Raises:
        ValueError: another decision. InputError: as `read_segments`.
    """
    if decision not in (ACCEPTED, DELETED, *MOVED, *REJECTED):
        raise ValueError(f"{decision!r} is no decision.")
    if decision != ACCEPTED:
        segments = read_segments(nodes.segmentation, nodes.scan)
        labels, rejected = segments.labels.copy(), segments.rejected.copy()
        labels[item.voxels] = MOVED.get(decision, 0)
        rejected[item.voxels] = REJECTED.get(decision, 0)
        changed = Segments(labels, segments.ventricles, rejected)
        write_segments(nodes.segmentation, nodes.scan, changed, save_state=save_state)
        result = follow_edit(nodes, result)
    _keep(nodes, item, decision)
    return result


def decided_by_reader(nodes: Family) -> bool:
    """Whether any decision is kept, which a new run would lose."""
    return bool(_kept(nodes))


def forget_decisions(nodes: Family) -> None:
    """After a new run: nothing is decided."""
    nodes.segmentation.RemoveAttribute(ATTRIBUTE)


def _kept(nodes: Family) -> list[list]:
    return json.loads(nodes.segmentation.GetAttribute(ATTRIBUTE) or "[]")


def _keep(nodes: Family, item: Item, decision: str) -> None:
    """Add a decision; earlier ones on the same lesion go."""
    among = set(zip(*(c.tolist() for c in item.voxels), strict=True))
    kept = [k for k, (voxel, _) in zip(_kept(nodes), _voxels_decided(nodes), strict=True) if voxel not in among]
    point = own_affine(nodes.scan) @ (*item.voxel, 1)
    nodes.segmentation.SetAttribute(ATTRIBUTE, json.dumps([*kept, [*np.round(point[:3], 3).tolist(), decision]]))


def _voxels_decided(nodes: Family) -> list[tuple[tuple[int, int, int], str]]:
    """The voxel and the decision of each, the oldest first."""
    to_voxel = np.linalg.inv(own_affine(nodes.scan))
    last = np.array(nodes.scan.GetImageData().GetDimensions()) - 1
    found = []
    for *point, decision in _kept(nodes):
        voxel = np.rint(to_voxel @ (*point, 1))[:3].astype(int).clip(0, last)
        found.append((tuple(voxel.tolist()), decision))
    return found
