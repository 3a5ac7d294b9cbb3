"""What a person types and sees on a terminal: where to write, measurements as a table, how far the work is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import InputError

NOT_A_DEVICE = "For research and teaching. Not a medical device; do not use it to diagnose or treat."


def check_output(folder: str | os.PathLike) -> Path:
    """The folder, which need not be there yet, where something can be written into it. Raises InputError."""
    if not os.fspath(folder):
        raise InputError("The name of the output folder is empty: give a folder for the results.")
    parent = folder = Path(folder)
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give a folder for the results.")
        while not parent.exists():
            parent = parent.parent
        possible = parent.is_dir() and os.access(parent, os.W_OK)
    except OSError:  # a name that is too long, a folder that may not be looked into
        possible = False
    if not possible:
        raise InputError(f"Nothing can be written into {folder}; choose another output folder.")
    return folder


def print_measurements(rows) -> None:
    width = max(len(row.title) for row in rows)
    for row in rows:
        print(f"{row.title:<{width}}  {format_value(row.value)} {row.unit}".rstrip())


def format_value(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not known"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


class ProgressBar:
    """One line on a terminal that shows how far the work is; nothing where there is no terminal."""

    WIDTH = 30

    def __init__(self, enabled: bool):
        self.enabled = enabled

    def __call__(self, done: float, what: str) -> None:
        if self.enabled:
            filled = round(done * self.WIDTH)
            print(
                f"\r{what:<8} [{'#' * filled}{'.' * (self.WIDTH - filled)}] {done:4.0%}",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_) -> None:
        if self.enabled:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
