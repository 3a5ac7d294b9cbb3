"""The Z-score burden: how far each marker lies from a declared reference, in its standard deviations, added up.

MO-UNet adds the z-scores of the four markers within its own cohort, so a single patient has none of his own. The
reference here is declared by the user: the cohort at hand, or a CSV file. There is no built-in norm, for no published
table of means and SDs of all four markers was found.

**Reference CSV**: UTF-8, a header and one row a marker::

    marker,mean,sd,n,transform,source
    total_volume,2.1,0.9,250,log1p,"Our memory clinic, 2019-2024, controls without stroke"
    lacune_count,0.3,0.8,250,none,"Our memory clinic, 2019-2024, controls without stroke"

``marker`` is one of ``MARKERS``; ``mean`` and ``sd`` are in its unit (mL, count), or those of log(1 + value) where
``transform`` is ``log1p`` instead of ``none``; ``n`` is the number of people behind them, ``source`` who they are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csvd.errors import InputError
from csvd.measure.measurement import Measurement
from csvd.measure.reference import citation
from csvd.measure.table import read_table

MARKERS = {
    "total_volume": "WMH volume",
    "microbleed_count": "Microbleeds",
    "lacune_count": "Lacunes",
    "perivascular_space_count": "Perivascular spaces",
}
"""Names of the measurements that are added up, and their titles."""
TRANSFORMS = {"none": float, "log1p": math.log1p}
COLUMNS = ("marker", "mean", "sd", "n", "transform", "source")
FEWEST = 2
"""Values from which there is a sample SD."""
SAME = 1e-12
"""Spread below this share of the mean is rounding and no spread. A choice."""


@dataclass(frozen=True)
class MarkerReference:
    """Mean and sample SD (over n - 1) of a marker after ``transform``, a key of ``TRANSFORMS``, in ``n`` people."""

    mean: float
    sd: float
    n: int
    transform: str
    source: str

    def z(self, value: float) -> float:
        return (TRANSFORMS[self.transform](value) - self.mean) / self.sd


@dataclass(frozen=True)
class Reference:
    """The reference of each marker that has one, and for the others of ``MARKERS`` the reason why not."""

    markers: Mapping[str, MarkerReference]
    unusable: Mapping[str, str]


@dataclass(frozen=True)
class Burden:
    """``z`` by marker, and the markers that are ``missing`` from it, each with the reason."""

    z: Mapping[str, float]
    missing: Mapping[str, str]

    @property
    def total(self) -> float | None:
        """The sum; ``None`` when there is nothing to add up."""
        return math.fsum(self.z.values()) if self.z else None

    @property
    def note(self) -> str:
        """In words of how many markers it is the sum, and why the others are not in it."""
        reasons = "; ".join(f"{MARKERS[marker]}: {reason}" for marker, reason in self.missing.items())
        return f"Sum over {len(self.z)} of {len(MARKERS)} markers" + (f" ({reasons})" if reasons else "")


def reference_of(cohort: Mapping[str, Sequence[float | None]], *, log1p: bool = False, source: str = "") -> Reference:
    """Return the reference that a cohort is for its own cases.

    ``cohort`` holds the values of each marker, one a case, ``None`` where a sequence was missing. A marker with fewer
    than two known values or with the same value in all has no spread, so no reference. Raises ``InputError`` for a
    value that is negative or not finite.
    """
    transform = "log1p" if log1p else "none"
    markers, unusable = {}, {}
    for marker in MARKERS:
        known = [_checked(marker, value) for value in cohort.get(marker, ()) if value is not None]
        values = [TRANSFORMS[transform](value) for value in known]
        n = len(values)
        if n < FEWEST:
            unusable[marker] = f"known in {n} {'case' if n == 1 else 'cases'} of the cohort, so without a spread"
            continue
        mean = math.fsum(values) / n
        sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
        if sd <= SAME * max(abs(mean), 1.0):
            unusable[marker] = f"the same in all {n} cases of the cohort"
            continue
        markers[marker] = MarkerReference(mean, sd, n, transform, source or f"The cohort at hand, n={n}")
    return Reference(markers, unusable)


def read_reference(path: str | Path) -> Reference:
    """Read the reference CSV that the module's head describes.

    Raises ``InputError`` for a file that cannot be read, lacks a column or has no row, and for a row with an unknown or
    repeated marker, a number that is none, an SD or n that is not above 0, an unknown transform or no source.
    """
    path = Path(path)
    columns, rows = read_table(path, "reference")
    absent = [column for column in COLUMNS if column not in columns]
    if absent or not rows:
        lacks = f"the column {absent[0]!r}" if absent else "any row"
        raise InputError(
            f"The reference {path} lacks {lacks}: it needs the columns {', '.join(COLUMNS)}, one marker a row."
        )
    markers = {}
    for row in rows:
        marker = row["marker"]
        if marker not in MARKERS:
            raise InputError(f"The reference {path} has the marker {marker!r}: use {', '.join(MARKERS)}.")
        if marker in markers:
            raise InputError(f"The reference {path} has the marker {marker!r} twice: leave one row.")
        markers[marker] = _row(path, marker, row)
    return Reference(markers, {marker: "not in the reference" for marker in MARKERS if marker not in markers})


def burden(values: Mapping[str, float | None], reference: Reference) -> Burden:
    """Return the z-scores of one case and their sum.

    ``values`` by marker; what is absent or ``None`` is missing, never 0. A sum over fewer markers is no smaller burden
    and is comparable only with sums over the same markers. Raises ``InputError`` for a value that is negative or not
    finite.
    """
    z, missing = {}, {}
    for marker in MARKERS:
        value = values.get(marker)
        if value is None:
            missing[marker] = "missing"
        elif marker in reference.unusable:
            missing[marker] = reference.unusable[marker]
        else:
            z[marker] = reference.markers[marker].z(_checked(marker, value))
    return Burden(z, missing)


def measure_burden(values: Mapping[str, float | None], reference: Reference) -> dict[str, Measurement]:
    """Return z of every marker and the sum as measurements by name, each with the reference in its source."""
    found = burden(values, reference)
    measured = []
    for marker, title in MARKERS.items():
        if marker in found.z:
            norm = reference.markers[marker]
            scale = "log(1 + value)" if norm.transform == "log1p" else "value"
            source = f"({scale} - {norm.mean:.4g}) / {norm.sd:.4g}. {norm.source}, n={norm.n}"
        else:
            source = f"None: {found.missing[marker]}"
        measured.append(Measurement(f"z_{marker}", f"{title}, z", found.z.get(marker), "SD", source))
    rule = f"{found.note}. {citation('mounet2025')}"
    measured.append(Measurement("z_burden", "Z-score burden", found.total, "SD", rule))
    return {m.name: m for m in measured}


def _checked(marker: str, value: float) -> float:
    value = float(value)
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{MARKERS[marker]} is {value:g}: a volume or count is a number from 0 on, or missing.")
    return value


def _row(path: Path, marker: str, row: Mapping[str, str]) -> MarkerReference:
    where = f"The reference {path}, row {marker},"
    try:
        mean, sd, n = float(row["mean"]), float(row["sd"]), int(row["n"])
    except ValueError:
        raise InputError(
            f"{where} has a mean, sd or n that is no number: give mean and sd in figures, n whole."
        ) from None
    if not (math.isfinite(mean) and 0 < sd < math.inf and n > 0):
        raise InputError(f"{where} has mean {mean:g}, sd {sd:g}, n {n}: sd and n must be above 0 and all finite.")
    if row["transform"] not in TRANSFORMS:
        raise InputError(f"{where} has the transform {row['transform']!r}: use {' or '.join(TRANSFORMS)}.")
    if not row["source"]:
        raise InputError(f"{where} does not say where its numbers are from: fill in the column source.")
    return MarkerReference(mean, sd, n, row["transform"], row["source"])
