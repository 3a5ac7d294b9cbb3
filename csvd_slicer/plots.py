"""A chart of where the lesions lie: their volume slice by slice, periventricular and deep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer

from csvd.marker import Marker
from csvd_slicer.naming import descriptions, zone_ids
from csvd_slicer.tables import Column, fill_table

if TYPE_CHECKING:
    from csvd.result import Result

DIRECTIONS = ("right", "anterior", "superior")


def write_slices(node: slicer.vtkMRMLTableNode, result: Result) -> None:
    """One row for each slice: its number from 1, its place in the world in mm, and the mL of each zone in it."""
    from csvd.grid import world_axes

    grid = result.image.grid
    axis = grid.slice_axis
    towards = world_axes(grid).index(axis)
    others = tuple(a for a in range(3) if a != axis)
    volumes_ml = [np.count_nonzero(result.labels == zone, axis=others) * grid.voxel_volume_ml for zone in (1, 2)]
    middle = (np.array(grid.shape) - 1) / 2
    rows = []
    for number in range(grid.shape[axis]):
        centre = np.where(np.arange(3) == axis, number, middle)
        position_mm = grid.affine[towards, :3] @ centre + grid.affine[towards, 3]
        rows.append((number + 1, position_mm, *(float(ml[number]) for ml in volumes_ml)))
    columns = (
        Column("slice", int, "Slice", description="Along the scan, from 1"),
        Column("position_mm", float, f"Position, {DIRECTIONS[towards]}", "mm", "Centre of the slice, world"),
        Column("periventricular_ml", float, f"Periventricular {result.marker.short}", "mL"),
        Column("deep_ml", float, f"Deep {result.marker.short}", "mL"),
    )
    fill_table(node, columns, rows)


def write_chart(
    chart: slicer.vtkMRMLPlotChartNode,
    periventricular: slicer.vtkMRMLPlotSeriesNode,
    deep: slicer.vtkMRMLPlotSeriesNode,
    slices: slicer.vtkMRMLTableNode,
    marker: Marker,
) -> None:
    """Plot the table of `write_slices`, one line for each zone in the colour of its segment.

    A chart and a series that plot the table already are left alone: what a reader changed stays.
    """
    columns = ("periventricular_ml", "deep_ml")
    for series, segment, column in zip((periventricular, deep), zone_ids(marker), columns, strict=False):
        if series.GetTableNode() is not slices:
            series.SetAndObserveTableNodeID(slices.GetID())
            series.SetPlotType(series.PlotTypeScatter)
            series.SetXColumnName("position_mm")
            series.SetYColumnName(column)
            series.SetMarkerStyle(series.MarkerStyleSquare)
            series.SetColor([channel / 255 for channel in descriptions(marker)[segment]["color"]])
        if not chart.HasPlotSeriesNodeID(series.GetID()):
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
            chart.SetTitle(f"{marker.title} volume by slice")
            chart.SetXAxisTitle(f"{slices.GetColumnTitle('position_mm')} (mm)")
            chart.SetYAxisTitle("Volume (mL)")
