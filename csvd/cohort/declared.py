"""The reference of the Z-score as a user declares it: means and SDs, or the results of the people they come from."""

from pathlib import Path

from csvd.cohort.collect import number
from csvd.errors import InputError
from csvd.measure.table import read_table
from csvd.measure.zscore import COLUMNS, MARKERS, Reference, read_reference, reference_of


def declared_reference(path: str | Path, *, log1p: bool = False) -> Reference:
    """Read a reference CSV as ``measure.zscore`` describes it, or a table of results.

    A table of results has a header and one row a person, with the values of a marker in the column of its name, as
    ``csvd cohort`` writes it; other columns are not looked at, an empty cell is a missing value. Its means and SDs are
    those of log(1 + value) with ``log1p``.

    Raises ``InputError`` for a file that cannot be read, is neither of them, or has no spread in any marker.
    """
    path = Path(path)
    columns, rows = read_table(path, "reference")
    known = [marker for marker in MARKERS if marker in columns]
    if not known or set(COLUMNS) <= set(columns):
        return read_reference(path)
    cohort = {marker: [_value(path, marker, row[marker]) for row in rows] for marker in known}
    reference = reference_of(cohort, log1p=log1p, source=f"The people in {path.name}")
    if not reference.markers:
        raise InputError(
            f"The table {path} has no reference in it: each marker needs two people or more with different values."
        )
    return reference


def _value(path: Path, marker: str, text: str) -> float | None:
    if text and number(text) is None:
        raise InputError(f"The table {path} has {text!r} in the column {marker}: write a number, or nothing.")
    return number(text)
