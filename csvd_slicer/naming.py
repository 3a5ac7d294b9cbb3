"""What the segments of a marker are called: ids, names, colours, terminology, and which marker a segmentation holds."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import slicer

from csvd.marker import MARKERS, WMH, Marker

BURDEN = "csvd.burden"  # attribute of a segmentation that belongs to a burden, which no other module touches
MARKER = "csvd.marker"  # attribute of a segmentation: the key of its marker; scenes from before CT have none
VENTRICLES, BRAIN = "Ventricles", "Brain"
REASONS = ("infarct", "artefact", "other")  # why a reader rejected a lesion


def marker_of(node: slicer.vtkMRMLSegmentationNode) -> Marker:
    """What the lesions of a segmentation are; WMH where it does not say, as in scenes from before CT."""
    return MARKERS[node.GetAttribute(MARKER) or WMH.key]


def zone_ids(marker: Marker) -> tuple[str, ...]:
    """Ids of the segments that share the labelmap of the lesions, in the order of their label values from 1:
    periventricular, deep, and what was rejected for each of `REASONS`."""
    return (
        *(f"{zone}_{marker.short}" for zone in ("Periventricular", "Deep")),
        *(f"Not_{marker.short}_{reason}" for reason in REASONS),
    )


@cache
def descriptions(marker: Marker) -> dict[str, dict]:
    """Every segment by id: name, color (0-255), layer, label value and DICOM codes."""
    from csvd.report.segmentation import named_after, segments

    ours = _listed()["segments"]
    return {s["id"]: s for s in (*segments(marker), *(named_after(marker, segment) for segment in ours))}


@cache
def focal_descriptions(marker: str) -> tuple[dict, dict]:
    """The segments of a marker of small foci, a key of `csvd.sequences.SEQUENCE_OF`: what counts, and what does not."""
    from csvd.report.segmentation import focal_segments

    counts = focal_segments()[marker]
    words = {"id": counts["id"], "name": counts["name"].lower()}
    rejected = _listed()["focal_rejected"]
    return counts, rejected | {key: rejected[key].format(**words) for key in words}


def _listed() -> dict:
    return json.loads(Path(__file__).with_name("segments.json").read_text(encoding="utf-8"))


def terminology(description: dict) -> str:
    """The terminology entry of a segment in Slicer's own words, from one of `descriptions`."""
    from csvd.report.segmentation import CATEGORY_CONTEXT, REGION_CONTEXT

    category, kind, region = (
        (value, scheme, meaning) for scheme, value, meaning in map(description.get, ("category", "type", "region"))
    )
    none = ("", "", "")
    return slicer.vtkSlicerTerminologiesModuleLogic.SerializeTerminologyEntry(
        CATEGORY_CONTEXT, *category, *kind, *none, REGION_CONTEXT, *region, *none
    )
