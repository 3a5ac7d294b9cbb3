"""A BurdenResult in the scene: shown, changed by a reader, found again after a reload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import slicer

from csvd.errors import InputError
from csvd.sequences import SEQUENCES, TITLES
from csvd_slicer.burden_memory import (
    foci_layers,
    follow,
    recall_foci,
    recall_patient,
    remember_decisions,
    remember_foci,
    remember_patient,
)
from csvd_slicer.burden_nodes import BurdenNodes, complete, drop, find_sharing
from csvd_slicer.burden_tables import write_tables
from csvd_slicer.layers import write_layers
from csvd_slicer.maps import PROBABILITY, write_map
from csvd_slicer.memory import recall, remember, remember_parameters
from csvd_slicer.rollback import all_or_nothing
from csvd_slicer.segments import Segments, read_segments, remeasure, write_segments
from csvd_slicer.volumes import grid_of

if TYPE_CHECKING:
    from csvd.burden_result import BurdenResult

SaveStates = Mapping[str, Callable[[], object] | None]  # by sequence, each as in `segments.write_segments`


def show(
    result: BurdenResult,
    scans: Mapping[str, slicer.vtkMRMLScalarVolumeNode],
    nodes: BurdenNodes | None = None,
    *,
    save_states: SaveStates | None = None,
) -> BurdenNodes:
    """Show a new result: make the family of a patient, or write over the one that is there, edits included.

    Ask `edited_by_reader` before. An error leaves the scene as it was, without a new node.

    Args:
        scans: by sequence, those that `result` was made from.
        nodes: the family to write over; unless given, that which has a scan in common with `scans`.

    Raises:
        InputError: a scan was changed or moved since the result was made from it.
    """
    for name, image in result.sequences.items():
        if name not in scans or not image.grid.matches(grid_of(scans[name]), tolerance_mm=0.01):
            raise InputError(f"The {TITLES[name]} was changed or moved after the run had started: press Apply again.")
    scans = {name: scans[name] for name in result.sequences}
    before = nodes or find_sharing(scans)
    with all_or_nothing(next(iter(scans.values())).GetScene(), before.made if before else []):
        nodes = complete(scans, before)
        for name, scan in scans.items():
            segmentation = nodes.segmentations[name]
            for node in (segmentation, *(nodes.probabilities[marker] for marker in SEQUENCES[name])):
                node.SetAndObserveTransformNodeID(scan.GetTransformNodeID())
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(scan)
            for marker in SEQUENCES[name]:
                write_map(nodes.probabilities[marker], result.markers[marker].probability, scan, PROBABILITY)
            if name == "flair":
                remember(segmentation, scan, result.wmh)
            else:
                remember_foci(segmentation, scan, _foci(result, name))
        _write(nodes, result, result.sequences, save_states or {}, brain=True)
    if before is not None:
        drop(before, nodes)
    return nodes


def update(
    nodes: BurdenNodes, result: BurdenResult, sequences: Iterable[str] = (), *, save_states: SaveStates | None = None
) -> BurdenResult:
    """Show what a reader decided or set: tables and chart, and the segments of those `sequences` that changed.

    What a reader rejected of the hyperintensities stays rejected. Returns the result as it is shown.

    Raises:
        InputError: as `read_segments`.
    """
    if "flair" in sequences:
        rejected = read_segments(nodes.segmentations["flair"], nodes.scans["flair"]).rejected > 0
        if (result.wmh.mask & rejected).any():
            result = replace(result, wmh=result.wmh.remeasure(result.wmh.mask & ~rejected))
    with all_or_nothing(nodes.scores.GetScene(), nodes.made):
        for name in sequences:
            if name == "flair":
                remember_parameters(nodes.segmentations[name], nodes.scans[name], result.wmh)
            else:
                remember_decisions(nodes.segmentations[name], nodes.scans[name], _foci(result, name))
        _write(nodes, result, sequences, save_states or {})
    return result


def follow_edit(nodes: BurdenNodes, result: BurdenResult, sequences: Iterable[str] = tuple(SEQUENCES)) -> BurdenResult:
    """Measure what a reader made of the segments of `sequences`, and bring every score, table and bar after it.

    Nothing is saved for undo: the editor did.

    Raises:
        InputError: as `read_segments`.
    """
    sequences = [name for name in sequences if name in nodes.scans]
    wmh, focal = result.wmh, dict(result.focal)
    for name in sequences:
        place = nodes.segmentations[name], nodes.scans[name]
        if name == "flair":
            wmh = remeasure(wmh, read_segments(*place))
        else:
            focal |= {marker: follow(focal[marker], *place) for marker in SEQUENCES[name]}
    return update(nodes, replace(result, wmh=wmh, focal=focal), sequences)


def edited_by_reader(nodes: BurdenNodes) -> bool:
    """Whether the nodes hold work of a reader that writing over them would lose; true also after a reload.

    What cannot be read is taken for edited. Superficial siderosis does not count, as it is set before a run too.
    """
    try:
        return has_edits(result_from_nodes(nodes))
    except InputError:
        return True


def has_edits(result: BurdenResult) -> bool:
    """Whether a result holds work of a reader, as `edited_by_reader` counts it."""
    return bool(set(result.set_inputs) - {"superficial_siderosis"}) or any(m.edited for m in result.markers.values())


def result_from_nodes(nodes: BurdenNodes) -> BurdenResult:
    """The BurdenResult that a scene shows, edits included, as it was before the scene was saved and opened again.

    Raises:
        InputError: a scan, a segmentation or a probability map is gone or changed.
    """
    from csvd.burden_result import BurdenResult

    sequences, wmh, focal = {}, None, {}
    for name, scan in nodes.scans.items():
        segmentation = nodes.segmentations[name]
        maps = {marker: nodes.probabilities[marker] for marker in SEQUENCES[name]}
        if None in (scan, segmentation, *maps.values()):
            raise InputError(
                f"The {TITLES[name]} of {nodes.scores.GetName()}, its segmentation or a probability map is no longer "
                "in the scene: load what is missing and run again."
            )
        if name == "flair":
            wmh = recall(segmentation, scan, maps["wmh"])
            sequences[name] = wmh.image
        else:
            found = recall_foci(segmentation, scan, maps)
            focal |= found
            sequences[name] = next(iter(found.values())).image
    return BurdenResult(sequences=sequences, wmh=wmh, focal=focal, **recall_patient(nodes.scores))


def _foci(result: BurdenResult, sequence: str) -> list:
    return [result.focal[marker] for marker in SEQUENCES[sequence]]


def _write(
    nodes: BurdenNodes, result: BurdenResult, sequences: Iterable[str], save_states: SaveStates, *, brain: bool = False
) -> None:
    """Segments of `sequences`, and what is of the whole patient; `brain` too after a run."""
    write_tables(nodes, result)
    remember_patient(nodes.scores, result)
    for name in sequences:
        place, saved = (nodes.segmentations[name], nodes.scans[name]), save_states.get(name)
        if name != "flair":
            write_layers(*place, foci_layers(_foci(result, name), brain=brain), save_state=saved)
        elif brain:
            write_segments(*place, Segments.of(result.wmh), brain=result.wmh.brain, save_state=saved)
        else:
            write_segments(*place, Segments.of(result.wmh, read_segments(*place).rejected), save_state=saved)
