"""The reference of the Z-score burden, for the commands that compare with one."""

from __future__ import annotations

import argparse


def add_reference(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """Add ``--reference``; ``otherwise`` is what holds without it."""
    parser.add_argument(
        "--reference", metavar="REFERENCE.csv",
        help="z-scores of the markers and their sum against these means and SDs (columns marker, mean, sd, n, "
        f"transform, source); {otherwise}",
    )  # fmt: skip


def read_reference(arguments: argparse.Namespace):
    """The Reference that was asked for, or None. Raises InputError for a file that is none."""
    from ..measure import zscore

    return None if arguments.reference is None else zscore.read_reference(arguments.reference)
