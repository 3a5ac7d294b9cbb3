"""What every command shares that outlines lesions on one scan: its options, their limits, and what it tells."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from ..errors import InputError
from .terminal import NOT_A_DEVICE, ProgressBar, check_output, print_measurements

FORMS = "a NIfTI or NRRD file, or a folder with one DICOM series"
"""How a scan can be given."""


def add_options(parser: argparse.ArgumentParser, lesion: str, model: str, mirror: bool) -> None:
    """Add the options to ``parser``; ``lesion`` is what a voxel is called, ``mirror`` the default of --mirror."""
    parser.add_argument(
        "--threshold", type=float, metavar="P",
        help=f"a voxel is {lesion} when the members' mean probability reaches P, between 0 and 1; lower finds more "
        "(default: the model's own)",
    )  # fmt: skip
    add_run_options(parser, lesion, model, mirror)


def add_run_options(parser: argparse.ArgumentParser, lesion: str, model: str, mirror: bool) -> None:
    """Those options that do not depend on how many markers there are; see `add_options`."""
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="where to write; made if it is not there"
    )
    parser.add_argument(
        "--pv-distance", type=float, default=10.0, metavar="MM",
        help=f"{lesion} nearer than this to a lateral ventricle are periventricular, the others deep (default: 10; "
        "7.5 is also in use)",
    )  # fmt: skip
    parser.add_argument(
        "--pv-rule", choices=("voxel", "cluster"), default="voxel",
        help="split lesions at that distance voxel by voxel (default), or give each lesion whole to one zone",
    )  # fmt: skip
    parser.add_argument("--model", default=model, metavar="ID", help="model to use; csvd models lists them")
    parser.add_argument(
        "--members", type=int, metavar="N", help="use only the first N networks of the ensemble: faster, less sure"
    )
    parser.add_argument(
        "--mirror", action=argparse.BooleanOptionalAction, default=mirror,
        help="predict every slice mirrored too: twice the time, a little steadier "
        f"(default: {'on' if mirror else 'off'})",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cuda, mps or cpu (default: auto)")
    parser.add_argument("--no-report", action="store_true", help="do not write report.html")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON instead of a table")


def check_options(arguments: argparse.Namespace) -> Path:
    """The output folder, once the options can be right; raises InputError before any long work is done."""
    if not 0 < arguments.pv_distance < math.inf:
        raise InputError(f"--pv-distance is {arguments.pv_distance:g}: give a distance in mm above 0, 10 is usual.")
    if isinstance(arguments.threshold, float) and not 0 < arguments.threshold < 1:
        raise InputError(f"--threshold is {arguments.threshold:g}: give a number between 0 and 1.")
    return check_output(arguments.output)


def pipeline_options(arguments: argparse.Namespace) -> dict:
    """The options that go to every pipeline as they are."""
    return {
        "pv_distance_mm": arguments.pv_distance,
        "pv_rule": arguments.pv_rule,
        "device": arguments.device,
        "mirror": arguments.mirror,
        "members": arguments.members,
    }


def progress_bar(arguments: argparse.Namespace) -> ProgressBar:
    return ProgressBar(enabled=not arguments.quiet and sys.stderr.isatty())


def tell(arguments: argparse.Namespace, result, headline: tuple[str, ...], files: int) -> None:
    """Print what ``arguments`` ask for of a saved Result: its JSON, or the measurements named in ``headline``."""
    output = Path(arguments.output)
    if arguments.json:
        print((output / "measurements.json").read_text(encoding="utf-8"))
    elif not arguments.quiet:
        print_measurements([result.measurements[name] for name in headline])
        for warning in result.warnings:
            print(f"warning: {warning}")
        print(f"\n{files} files in {output}" + ("" if arguments.no_report else f"; report: {output / 'report.html'}"))
        print(NOT_A_DEVICE)
