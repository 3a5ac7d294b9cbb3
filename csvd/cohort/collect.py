"""The results of many cases, found in folders and read into one table; and a table of truths beside them."""

import glob
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from csvd.errors import InputError
from csvd.measure.table import read_table

MEASUREMENTS, PROVENANCE = "measurements.json", "provenance.json"
LISTED = 5
"""Names that one sentence lists before it only counts. A choice."""
MADE_WITH = {
    "markers": ("marker",),
    "models": ("parameters", "model"),
    "thresholds": ("parameters", "threshold"),
    "versions of csvd": ("software", "csvd"),
}
"""What of the provenance should be the same in all cases of a cohort."""


@dataclass(frozen=True)
class Case:
    """One result: ``measurements`` as in its ``measurements.json``, ``provenance`` as in its ``provenance.json``."""

    id: str
    folder: Path
    measurements: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]

    def value(self, name: str) -> Any:
        """A measured value, ``None`` where it was not measured."""
        return self.measurements.get(name, {}).get("value")

    def number(self, name: str) -> float | None:
        """A measured number; ``None`` where there is none or the value is a word or a yes or no."""
        return number(self.value(name))


class Column(NamedTuple):
    title: str
    unit: str

    @property
    def label(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Cohort:
    """``cases`` in the order of their ids, and ``notes``: sentences on what a reader of the table must know."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...]

    @property
    def columns(self) -> dict[str, Column]:
        """Every measurement of any case, in the order of first appearance."""
        found = {}
        for case in self.cases:
            for name, m in case.measurements.items():
                found.setdefault(name, Column(str(m.get("title") or name), str(m.get("unit") or "")))
        return found


@dataclass(frozen=True)
class Truth:
    """A table by id, as text; ``columns`` without the id."""

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]


def number(value: Any) -> float | None:
    """``value`` as a finite number, ``None`` for everything else; text counts when it is a figure."""
    if value is None or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def collect(places: Sequence[str]) -> Cohort:
    """Read every result in ``places``: folders of results, folders above them, or patterns such as ``study/*``.

    The id of a case is the name of its folder; where several share it, it is that of the folders above too, as far as
    it takes. What cannot be read is left out and named in the notes.

    Raises ``InputError`` for a place where nothing is, and when nothing could be read.
    """
    folders = list(dict.fromkeys(folder.resolve() for place in places for folder in _results(place)))
    ids, notes = _ids(folders)
    cases, unreadable = [], []
    for folder in folders:
        try:
            cases.append(Case(ids[folder], folder, _measurements(folder), _provenance(folder)))
        except (OSError, ValueError):
            unreadable.append(str(folder))
    if not cases:
        raise InputError(f"No result could be read: {named(unreadable)} holds a damaged {MEASUREMENTS}.")
    if unreadable:
        notes.append(f"Left out, since the results there could not be read: {named(unreadable)}.")
    cases.sort(key=lambda case: case.id)
    return Cohort(tuple(cases), (*notes, *_mixtures(cases)))


def read_truth(path: str | Path) -> Truth:
    """Read a CSV with a column ``id`` and others.

    Raises ``InputError`` where it cannot be read, lacks that column or any other, or has an id twice or none.
    """
    columns, rows = read_table(path, "table")
    if "id" not in columns or len(columns) < 2:
        raise InputError(f"The table {path} has {', '.join(columns) or 'no columns'}: give it a column id and another.")
    if not all(row["id"] for row in rows):
        raise InputError(f"The table {path} has a row without an id: fill it in.")
    twice = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
    if twice:
        raise InputError(f"The table {path} has the id {named(twice)} more than once: leave one row each.")
    return Truth(Path(path), tuple(name for name in columns if name != "id"), {row["id"]: row for row in rows})


def named(names: Iterable[str]) -> str:
    """A list for a sentence; long ones end in a count."""
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _results(place: str) -> list[Path]:
    # Path.exists raises where a name is too long, and takes an empty one for the current folder.
    paths = [Path(place)] if os.path.exists(place) else [Path(found) for found in sorted(glob.glob(place))]
    if not paths:
        raise InputError(
            f"{place or 'An empty name'} is not there: give folders written by csvd, folders above them, or a pattern."
        )
    found = []
    for path in paths:
        if (path / MEASUREMENTS).is_file():
            found.append(path)
        elif path.is_dir():
            within = (file.parent for file in path.rglob(MEASUREMENTS))
            # Names that begin with a dot are drafts of a result that is being written.
            found += sorted(one for one in within if not any(p.startswith(".") for p in one.relative_to(path).parts))
    if not found:
        raise InputError(f"{place} holds no result of csvd: no {MEASUREMENTS} is in it or below it.")
    return found


def _ids(folders: list[Path]) -> tuple[dict[Path, str], list[str]]:
    shared = {name for name, count in Counter(folder.name for folder in folders).items() if count > 1}
    ids, alike, depth = {}, list(folders), 1
    while alike:
        ends = Counter(folder.parts[-depth:] for folder in alike)
        ids |= {folder: "/".join(folder.parts[-depth:]) for folder in alike if ends[folder.parts[-depth:]] == 1}
        alike = [folder for folder in alike if folder not in ids]
        depth += 1
    if not shared:
        return ids, []
    longer = [name for folder, name in ids.items() if folder.name in shared]
    return ids, [f"Folders of the same name are told apart by those above them: {named(sorted(longer))}."]


def _measurements(folder: Path) -> dict[str, dict]:
    content = _json(folder / MEASUREMENTS)
    if not content or not all(isinstance(entry, dict) and "value" in entry for entry in content.values()):
        raise ValueError(f"{folder} holds no measurements.")
    return content


def _provenance(folder: Path) -> dict:
    return _json(folder / PROVENANCE) if (folder / PROVENANCE).exists() else {}


def _json(path: Path) -> dict:
    # None of our writers writes NaN, which no JSON knows; float() of it would spoil every mean.
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no table.")
    return content


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number.")


def _mixtures(cases: Sequence[Case]) -> list[str]:
    """Sentences on what makes cases hard to compare: one scan twice, and results made in different ways."""
    notes, by_scan = [], {}
    for case in cases:
        for sha256 in _scans(case.provenance.get("input")):
            by_scan.setdefault(sha256, []).append(case.id)
    # Sequences of one patient are counted again together, so their cases are named once.
    twice = dict.fromkeys(" and ".join(ids) for ids in by_scan.values() if len(ids) > 1)
    if twice:
        notes.append(f"The same scan is counted more than once: {named(twice)}.")
    for what, path in MADE_WITH.items():
        kinds = Counter(kind for kind in (_told(case.provenance, path) for case in cases) if kind is not None)
        if len(kinds) > 1:
            counted = ", ".join(f"{kind} (n={count})" for kind, count in sorted(kinds.items()))
            notes.append(f"The results were made with different {what}: {counted}.")
    edited = [case.id for case in cases if case.provenance.get("edited")]
    if edited:
        notes.append(f"{len(edited)} of {len(cases)} results were edited by hand: {named(edited)}.")
    return notes


def _scans(facts: Any) -> list[str]:
    """The SHA-256 of the scan of a result, or of each of its sequences."""
    if not isinstance(facts, dict):
        return []
    return [str(one["sha256"]) for one in (facts, *facts.values()) if isinstance(one, dict) and one.get("sha256")]


def _told(provenance: Any, path: Sequence[str]) -> str | None:
    for key in path:
        provenance = provenance.get(key) if isinstance(provenance, dict) else None
    if isinstance(provenance, dict):  # the thresholds of several markers
        return " ".join(f"{name} {value}" for name, value in provenance.items())
    return None if provenance is None else str(provenance)
