"""``csvd``: the command line. Exit status: 0 done, 2 wrong input or call, 3 damaged or absent model, 130 cancelled."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
from pathlib import Path

from . import __version__
from .errors import Cancelled, CsvdError, InputError

NOT_A_DEVICE = "For research and teaching. Not a medical device; do not use it to diagnose or treat."
HEADLINE = (
    "total_volume", "periventricular_volume", "deep_volume", "total_percent_icv", "icv_volume", "lesion_count",
    "fazekas_periventricular", "fazekas_deep", "fazekas_total", "fazekas_agreement", "uncertainty_index",
    "review_recommended",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says what is wrong in one line."""

    def error(self, message: str):
        raise InputError(f"{message} (see {self.prog} --help)")


def build_parser() -> Parser:
    parser = Parser(
        prog="csvd", description="Markers of cerebral small vessel disease on brain images.", epilog=NOT_A_DEVICE
    )
    parser.add_argument("--version", action="version", version=f"csvd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    wmh = commands.add_parser(
        "wmh",
        help="white matter hyperintensities on a FLAIR",
        description="Outline white matter hyperintensities (WMH) on a FLAIR, split them into periventricular and deep, "
        "measure and grade them, say how sure the result is, and write masks, tables and a report into a folder.",
        epilog=NOT_A_DEVICE,
    )
    wmh.add_argument(
        "flair", metavar="FLAIR", help="the FLAIR: a NIfTI or NRRD file, or a folder with one DICOM series"
    )
    wmh.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where to write; made if it is not there")
    wmh.add_argument(
        "--threshold", type=float, metavar="P",
        help="a voxel is WMH when the members' mean probability reaches P, between 0 and 1; lower finds more "
        "(default: the model's own)",
    )  # fmt: skip
    wmh.add_argument(
        "--pv-distance", type=float, default=10.0, metavar="MM",
        help="WMH nearer than this to a lateral ventricle are periventricular, the others deep (default: 10; 7.5 is "
        "also in use)",
    )  # fmt: skip
    wmh.add_argument(
        "--pv-rule", choices=("voxel", "cluster"), default="voxel",
        help="split lesions at that distance voxel by voxel (default), or give each lesion whole to one zone",
    )  # fmt: skip
    wmh.add_argument("--model", default="wmh-seunet", metavar="ID", help="model to use; csvd models lists them")
    wmh.add_argument(
        "--members", type=int, metavar="N", help="use only the first N networks of the ensemble: faster, less sure"
    )
    wmh.add_argument(
        "--mirror", action="store_true", help="also predict every slice mirrored: twice the time, a little steadier"
    )
    wmh.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cuda, mps or cpu (default: auto)")
    wmh.add_argument(
        "--t1", metavar="T1", help="reserved for a T1 of the same head; not used by the models of this version"
    )
    wmh.add_argument("--no-report", action="store_true", help="do not write report.html")
    wmh.add_argument("--quiet", action="store_true", help="print nothing but errors")
    wmh.add_argument("--json", action="store_true", help="print the measurements as JSON instead of a table")
    wmh.set_defaults(run=run_wmh)

    evaluate = commands.add_parser(
        "evaluate",
        help="compare a mask with a reference mask",
        description="Compare a lesion mask with a reference on the same grid: Dice, Hausdorff distances, volume "
        "difference, lesion recall, precision and F1 as in the MICCAI WMH challenge and under the 40 % and 50 % hit "
        "rules.",
    )
    evaluate.add_argument("mask", metavar="MASK", help="the mask to judge; every value above 0 counts")
    evaluate.add_argument("truth", metavar="TRUTH", help="the reference mask on the same grid")
    evaluate.add_argument("--json", action="store_true", help="print JSON instead of a table")
    evaluate.set_defaults(run=run_evaluate)

    models = commands.add_parser(
        "models",
        help="list the models and check their files",
        description="List the model bundles, check every weight file against its checksum and build every network.",
    )
    models.add_argument("--json", action="store_true", help="print the model cards as JSON")
    models.set_defaults(run=run_models)
    return parser


def run_wmh(arguments: argparse.Namespace) -> None:
    if not 0 < arguments.pv_distance < math.inf:
        raise InputError(f"--pv-distance is {arguments.pv_distance:g}: give a distance in mm above 0, 10 is usual.")
    if arguments.threshold is not None and not 0 < arguments.threshold < 1:
        raise InputError(f"--threshold is {arguments.threshold:g}: give a number between 0 and 1.")
    output = Path(arguments.output)
    check_output(output)

    from .checks import check_flair
    from .image import read_image

    flair = read_image(arguments.flair)
    check_flair(flair)  # before torch is loaded, so that a wrong file is named at once
    if arguments.t1 is not None:
        check_reserved_t1(arguments.t1)

    from .pipelines.wmh import segment_wmh

    bar = ProgressBar(enabled=not arguments.quiet and sys.stderr.isatty())
    with bar:
        result = segment_wmh(
            flair,
            arguments.model,
            threshold=arguments.threshold,
            pv_distance_mm=arguments.pv_distance,
            pv_rule=arguments.pv_rule,
            device=arguments.device,
            mirror=arguments.mirror,
            members=arguments.members,
            progress=bar,
        )
    if arguments.t1 is not None:
        result.warnings.append("A T1 was given; the models of this version do not use it.")
    files = result.save(output, report=not arguments.no_report)
    if arguments.json:
        print((output / "measurements.json").read_text(encoding="utf-8"))
    elif not arguments.quiet:
        print_measurements([result.measurements[name] for name in HEADLINE])
        for warning in result.warnings:
            print(f"warning: {warning}")
        print(
            f"\n{len(files)} files in {output}" + ("" if arguments.no_report else f"; report: {output / 'report.html'}")
        )
        print(NOT_A_DEVICE)


def check_output(folder: Path) -> None:
    """Refuse an output folder that cannot be written before an hour of work is done for it."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the results.")
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"Nothing can be written into {folder}; choose another output folder.")


def check_reserved_t1(path: str) -> None:
    from .image import read_image

    read_image(path)


def run_evaluate(arguments: argparse.Namespace) -> None:
    import numpy as np

    from .image import read_image
    from .measure.agreement import evaluate

    mask, truth = read_image(arguments.mask), read_image(arguments.truth)
    if mask.voxels.shape != truth.voxels.shape or not np.allclose(mask.affine, truth.affine, atol=1e-3):
        raise InputError(
            f"{arguments.mask} and {arguments.truth} lie on different grids; resample one onto the other first."
        )
    rows = evaluate(mask.voxels > 0, truth.voxels > 0, truth.spacing_mm)
    if arguments.json:
        from .report.tables import measurements_json

        print(json.dumps(measurements_json({row.name: row for row in rows}), indent=2, ensure_ascii=False))
    else:
        print_measurements(rows)


def run_models(arguments: argparse.Namespace) -> None:
    from .bundle import available_models, load_bundle
    from .errors import ModelError

    known = available_models()
    if not known:
        raise ModelError(
            "No model was found. Install SmallVesselDisease again, or set CSVD_MODELS to the folder of the models."
        )
    cards, width = [], max(map(len, known))
    for folder in known.values():
        bundle = load_bundle(folder)
        bundle.verify()
        cards.append(bundle.card)
        if not arguments.json:
            size = sum(row["bytes"] for row in bundle.card["weights"]) / 1e6
            files = f"{bundle.members} x {size / bundle.members:.1f} MB, intact"
            needed = "".join(f"; needs {requirement}" for requirement in bundle.missing_packages)
            print(f"{bundle.id:<{width}}  {bundle.card['version']}  {files}{needed}  {bundle.card['title']}")
    if arguments.json:
        print(json.dumps(cards, indent=2, ensure_ascii=False))


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


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; errors are one line on stderr."""
    try:
        status = run(argv)
        if sys.stdout:  # None where standard output is closed
            sys.stdout.flush()  # at exit it would be too late to forgive
    except BrokenPipeError:  # the reader of our output, such as head, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def run(argv: list[str] | None) -> int:
    try:
        arguments = build_parser().parse_args(argv)
        stop_on_terminate()
        arguments.run(arguments)
    except SystemExit as leave:  # --help and --version
        return int(leave.code or 0)
    except CsvdError as error:
        print(f"csvd: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("csvd: Cancelled; nothing was written.", file=sys.stderr)
        return Cancelled.exit_status
    return 0


def stop_on_terminate() -> None:
    """A cluster's SIGTERM ends a run as Ctrl-C does; only the main thread may say so."""
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
