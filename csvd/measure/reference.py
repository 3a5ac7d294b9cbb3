"""The published cut-offs and norms that the measures use, each with its source; kept in ``reference.json``.

Every number in that file can be traced: ``source`` names the paper, or says plainly that the number is quoted from
memory or is a choice of this software.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Cutoff:
    """One limit, or the ascending limits between grades. ``source`` is the citation, ``note`` what the limit means."""

    value: float | tuple[float, ...]
    unit: str
    source: str
    note: str

    def grade(self, measured: float) -> int:
        """Return how many of the limits are reached: 0 below the first, 1 from the first on, and so forth."""
        return sum(int(measured >= limit) for limit in self.value)


@dataclass(frozen=True)
class Norm:
    """A published value to set beside ``measurement``; for reading, not for grading. ``marker`` is a key of
    `csvd.marker.MARKERS`."""

    title: str
    measurement: str
    value: str
    unit: str
    source: str
    note: str
    marker: str = "wmh"


@dataclass(frozen=True)
class VolumeByGrade:
    """Mean and SD of the volume (mL) of patients with each visual grade, ``grades`` being "0-1", "2" and "3"."""

    grades: tuple[str, ...]
    mean_ml: tuple[float, ...]
    sd_ml: tuple[float, ...]
    source: str


def cutoff(name: str) -> Cutoff:
    """Return a cut-off of ``reference.json`` by name; ``KeyError`` when there is none."""
    entry = _table()["cutoffs"][name]
    value = tuple(entry["value"]) if isinstance(entry["value"], list) else entry["value"]
    return Cutoff(value, entry["unit"], citation(entry["source"]), entry["note"])


def norms(marker: str = "wmh") -> list[Norm]:
    """Return the published values to print beside ours of a marker, in the order of the file."""
    listed = (Norm(**entry | {"source": citation(entry["source"])}) for entry in _table()["norms"])
    return [norm for norm in listed if norm.marker == marker]


def volume_by_grade(zone: str) -> VolumeByGrade:
    """Return the volumes by Fazekas grade of ``zone``, "periventricular" or "deep" (Lee 2024)."""
    table = _table()["volume_by_grade"]
    numbers = table[zone]
    return VolumeByGrade(
        tuple(table["grades"]), tuple(numbers["mean_ml"]), tuple(numbers["sd_ml"]), citation(table["source"])
    )


def on_other_image(rule: str, image: str) -> str:
    """Return what is known of a rule made on FLAIR when it is used on ``image`` ("CT"): what to put behind its
    source, or nothing."""
    entry = _table()["on_other_images"].get(image, {}).get(rule)
    return f". {entry['note']} ({citation(entry['source'])})" if entry else ""


def citation(key: str) -> str:
    """Return the citation behind a short source name such as ``kim2024``."""
    return _table()["sources"][key]


@cache
def _table() -> dict:
    return json.loads(resources.files(__package__).joinpath("reference.json").read_text(encoding="utf-8"))
