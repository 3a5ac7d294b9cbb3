"""The tables of a burden, and the chart of how much there is of each marker.

The chart shows Z-scores where a reference was declared, and volumes and counts as they are without one. A marker whose
sequence is missing has no bar, since it is not 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import slicer

from csvd_slicer.burden_nodes import BurdenNodes
from csvd_slicer.tables import Column, fill_measurements, fill_table

if TYPE_CHECKING:
    from csvd.burden_result import BurdenResult
    from csvd.measure.strive import Candidate

CANDIDATES = (
    Column("marker", str, "Marker", description="Name in STRIVE-2"),
    Column("id", int, "Candidate", description="Within its marker, by falling volume, from 1"),
    Column("counts", str, "Counts", description="Whether it counts in the scores, and who or what decided it"),
    Column("region", str, "Region", description="Where most of its voxels lie"),
    Column("hemisphere", str, "Hemisphere"),
    Column("diameter_mm", float, "Diameter", "mm", "Of the sphere with the same volume"),
    Column("longest_mm", float, "Length", "mm", "Longest axis"),
    Column("shortest_mm", float, "Width", "mm", "Shortest axis"),
    Column("volume_mm3", float, "Volume", "mm3"),
    Column("centroid_mm_r", float, "R", "mm", "Centroid, world, towards right"),
    Column("centroid_mm_a", float, "A", "mm", "Centroid, world, towards anterior"),
    Column("centroid_mm_s", float, "S", "mm", "Centroid, world, towards superior"),
    Column("mean_probability", float, "Probability", description="Mean over its voxels, 0 to 1"),
)
BY_MARKER = (
    Column("label", str, "Marker"),
    Column("value", float, "Value", description="mL of white matter hyperintensities; counts of the others"),
    Column("z", float, "Z-score", "SD", "Against the declared reference; empty without one"),
    Column("source", str, "Source", description="Rule of the value, or of the Z-score where there is a reference"),
)
COLOR = (0.35, 0.55, 0.85)  # a choice: that of no marker, as one series holds all of them


def write_tables(nodes: BurdenNodes, result: BurdenResult) -> None:
    """Scores, candidates, burden by marker and chart; those that somebody removed are left out."""
    fill_measurements(nodes.scores, automatic_of(result).measurements, result.measurements, edited=result.edited)
    if nodes.candidates is not None:
        fill_table(nodes.candidates, CANDIDATES, _candidates(result))
    if nodes.burden is not None:
        fill_table(nodes.burden, BY_MARKER, _by_marker(result))
        if None not in (nodes.series, nodes.chart):
            _write_chart(nodes, with_reference=result.reference is not None)


def automatic_of(result: BurdenResult) -> BurdenResult:
    """The same patient before anything was decided, edited or set by hand."""
    wmh = result.wmh and (result.wmh.automatic or result.wmh)
    focal = {marker: found.automatic or found for marker, found in result.focal.items()}
    return replace(result, wmh=wmh, focal=focal, set_inputs={})


def counts_in_words(candidate: Candidate) -> str:
    """Whether a candidate counts, and who or what decided it."""
    if candidate.accepted:
        return "yes, by a reader"
    if candidate.counts:
        return "yes"
    return f"no: {candidate.reason}" if candidate.reason else "no, by a reader"


def _candidates(result: BurdenResult) -> list[tuple]:
    from csvd.measure.strive import DEFINITIONS

    return [
        (
            DEFINITIONS[c.marker].title, c.id, counts_in_words(c), c.region, c.hemisphere, c.diameter_mm,
            c.longest_mm, c.shortest_mm, c.volume_mm3, *c.centroid_mm, c.mean_probability,
        )
        for c in result.candidates
    ]  # fmt: skip


def _by_marker(result: BurdenResult) -> list[tuple]:
    """A row for each marker that has a bar: with a reference those that have a Z-score."""
    from csvd.measure.zscore import MARKERS

    rows = []
    for name, title in MARKERS.items():
        value, z = result.measurements[name], result.measurements.get(f"z_{name}")
        if (z or value).value is not None:
            label = f"{title} (mL)" if value.unit and z is None else title
            rows.append((label, value.value, z and z.value, (z or value).source))
    return rows


def _write_chart(nodes: BurdenNodes, *, with_reference: bool) -> None:
    """One bar a marker. What a reader changed stays, unless another quantity is shown now."""
    series, chart, column = nodes.series, nodes.chart, "z" if with_reference else "value"
    if series.GetTableNode() is not nodes.burden or series.GetYColumnName() != column:
        series.SetAndObserveTableNodeID(nodes.burden.GetID())
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)
        series.SetLabelColumnName("label")
        series.SetYColumnName(column)
        series.SetColor(COLOR)
        chart.SetTitle("Z-score by marker" if with_reference else "Burden by marker (no reference, so no Z-score)")
        chart.SetYAxisTitle("Standard deviations from the reference" if with_reference else "mL or count")
        chart.SetLegendVisibility(False)
    if not chart.HasPlotSeriesNodeID(series.GetID()):
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
