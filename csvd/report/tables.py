"""Tables of a result: measurements and lesions as TSV, measurements and provenance as JSON."""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from csvd.measure import Measurement
from csvd.measure.lesions import Lesion
from csvd.measure.strive import Candidate

MEASUREMENT_COLUMNS = ("name", "title", "value", "unit", "source")
AXES = ("r", "a", "s")


def plain(value: Any) -> Any:
    """`value` in JSON's own types: numpy scalars and arrays unpacked, not-a-number and infinity as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def measurements_json(measurements: Mapping[str, Measurement]) -> dict[str, dict[str, Any]]:
    """The measurements as ``{name: {"value", "unit", "title", "source"}}``; a value that does not exist is None."""
    return {
        name: {"value": plain(m.value), "unit": m.unit, "title": m.title, "source": m.source}
        for name, m in measurements.items()
    }


def write_json(content: Any, path: Path) -> None:
    """Write `content` as strict JSON, UTF-8, keys in their given order."""
    path.write_text(json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_measurements(measurements: Mapping[str, Measurement], path: Path) -> None:
    """Write one measurement a line, tab-separated, with the columns name, title, value, unit and source."""
    rows = ((name, m.title, _cell(m.value), m.unit, m.source) for name, m in measurements.items())
    _write_tsv(MEASUREMENT_COLUMNS, rows, path)


def write_lesions(lesions: Iterable[Lesion], path: Path) -> None:
    """Write one lesion a line, tab-separated; the columns are there even when no lesion is.

    A field that holds a point in the world becomes three columns, ``_r``, ``_a`` and ``_s`` (RAS, mm).
    """
    _write_records(Lesion, lesions, path)


def write_candidates(candidates: Iterable[Candidate], path: Path) -> None:
    """Write one candidate of any marker a line, as `write_lesions` does; ``accepted`` is empty before a review."""
    _write_records(Candidate, candidates, path)


def _write_records(kind: type, records: Iterable[Any], path: Path) -> None:
    records = list(records)
    points = {field.name for field in fields(kind) if field.name.startswith("centroid")}
    columns, rows = [], [[] for _ in records]
    for field in fields(kind):
        columns += [f"{field.name}_{axis}" for axis in AXES] if field.name in points else [field.name]
        for row, record in zip(rows, records, strict=True):
            value = getattr(record, field.name)
            row += [_cell(part) for part in value] if field.name in points else [_cell(value)]
    _write_tsv(columns, rows, path)


def _write_tsv(columns: Iterable[str], rows: Iterable[Iterable[Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, dialect="excel-tab", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _cell(value: Any) -> Any:
    """A number rounded to six significant digits: finer than any voxel, and the same on every machine."""
    value = plain(value)
    if value is None:
        return ""
    return float(f"{value:.6g}") if isinstance(value, float) else value
