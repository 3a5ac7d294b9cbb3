"""A CSV table that a user gives: a reference of the Z-score, or truths beside the results of a cohort."""

import csv
from pathlib import Path

from csvd.errors import InputError


def read_table(path: str | Path, name: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a CSV file in UTF-8 with a header, every cell as text without outer blanks.

    Columns without a name, cells beyond the header and rows in which every cell is empty are left out: spreadsheets
    write such. ``name`` is what the sentences of errors call the file.

    Raises ``InputError`` for a file that cannot be read, and one whose cells are separated by semicolons or tabs.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream)
            rows, header = list(table), table.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is no CSV file in UTF-8"
        raise InputError(f"The {name} {path} cannot be read: {reason}.") from error
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise InputError(f"The {name} {path} has semicolons or tabs between its columns: save it with commas.")
    columns = [column.strip() for column in header if column.strip()]
    cells = [{(column or "").strip(): cell for column, cell in row.items()} for row in rows]
    texts = [{column: (row[column] or "").strip() for column in columns} for row in cells]
    return columns, [row for row in texts if any(row.values())]
