"""Measurements and lesions as table nodes, with a title, a unit and a description for every column.

Slicer writes its tables as text without escaping: a double quote, tab or line break in a cell breaks the row when the
scene is opened again. `fill_table`, through which every table of ours goes, puts an apostrophe or a space there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer
import vtk

if TYPE_CHECKING:
    from csvd.measure import Measurement
    from csvd.measure.lesions import Lesion
    from csvd.result import Result


@dataclass(frozen=True)
class Column:
    """``name`` is the machine name; ``kind`` int, float or str."""

    name: str
    kind: type
    title: str
    unit: str = ""
    description: str = ""


MEASUREMENTS = (
    Column("name", str, "Name", description="Machine name, as in measurements.tsv"),
    Column("title", str, "Measurement"),
    Column("value", str, "Automatic", description="What the networks found, before any edit; empty: not measurable"),
    Column("edited", str, "Edited by reader", description="The same on the segments as a reader left them"),
    Column("unit", str, "Unit", description="Unit of both values"),
    Column("source", str, "Source", description="Rule, and the paper of its constants"),
)
LESIONS = (
    Column("id", int, "Lesion", description="By falling volume, from 1"),
    Column("volume_ml", float, "Volume", "mL"),
    Column("diameter_mm", float, "Diameter", "mm", "Longest line within one slice"),
    Column("centroid_mm_r", float, "R", "mm", "Centroid, world, towards right"),
    Column("centroid_mm_a", float, "A", "mm", "Centroid, world, towards anterior"),
    Column("centroid_mm_s", float, "S", "mm", "Centroid, world, towards superior"),
    Column("zone", str, "Zone", description="Where most of its voxels lie"),
    Column("mean_probability", float, "Probability", description="Mean over its voxels, 0 to 1"),
    Column("uncertain_share", float, "Uncertain", description="Share of its voxels that are uncertain, 0 to 1"),
    Column("size", str, "Size", description="small, medium or large"),
)
ARRAYS = {int: vtk.vtkIntArray, float: vtk.vtkDoubleArray, str: vtk.vtkStringArray}


def write_measurements(node: slicer.vtkMRMLTableNode, result: Result) -> None:
    """One row for each measurement: the automatic value and, once the segments were edited, the reader's beside it."""
    fill_measurements(node, (result.automatic or result).measurements, result.measurements, edited=result.edited)


def fill_measurements(
    node: slicer.vtkMRMLTableNode,
    automatic: Mapping[str, Measurement],
    now: Mapping[str, Measurement],
    *,
    edited: bool,
) -> None:
    """As `write_measurements`; what only one of both has is empty in the other."""
    rows = [
        (m.name, m.title, _text(automatic[name].value if name in automatic else None), _text(m.value), m.unit, m.source)
        for name, m in now.items()
    ]
    column = MEASUREMENTS.index(next(column for column in MEASUREMENTS if column.name == "edited"))
    if edited:
        fill_table(node, MEASUREMENTS, rows)
    else:
        fill_table(
            node, MEASUREMENTS[:column] + MEASUREMENTS[column + 1 :], [row[:column] + row[column + 1 :] for row in rows]
        )


def write_lesions(node: slicer.vtkMRMLTableNode, lesions: Iterable[Lesion]) -> None:
    """One row for each lesion, largest first; the columns are there even when no lesion is."""
    rows = [
        (x.id, x.volume_ml, x.diameter_mm, *x.centroid_mm, x.zone, x.mean_probability, x.uncertain_share, x.size)
        for x in lesions
    ]
    fill_table(node, LESIONS, rows)


def fill_table(node: slicer.vtkMRMLTableNode, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> None:
    """Give `node` a new table, locked against typing; None becomes not-a-number or an empty cell.

    The table that it had stays as it was, for whoever still holds it.
    """
    rows = list(rows)
    table = vtk.vtkTable()
    for number, column in enumerate(columns):
        array = ARRAYS[column.kind]()
        array.SetName(column.name)
        for row in rows:
            array.InsertNextValue(_cell(row[number], column.kind))
        table.AddColumn(array)
    modifying = node.StartModify()
    try:
        node.SetLocked(True)
        node.SetUseColumnTitleAsColumnHeader(True)
        node.SetAndObserveTable(table)
        for column in columns:
            node.SetColumnTitle(column.name, _cell(column.title, str))
            node.SetColumnUnitLabel(column.name, _cell(column.unit, str))
            node.SetColumnDescription(column.name, _cell(column.description, str))
    finally:
        node.EndModify(modifying)


def _cell(value: Any, kind: type) -> Any:
    if kind is str:
        return " ".join(str("" if value is None else value).replace('"', "'").split())
    return kind(math.nan if value is None else value)


def _text(value: Any) -> str:
    """A value in words: six significant digits as in measurements.tsv, yes or no for a flag, empty for None."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
