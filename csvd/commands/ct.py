"""``csvd ct``: leukoaraiosis on a noncontrast head CT."""

from __future__ import annotations

import argparse

from .segmentation import add_options, check_options, pipeline_options, progress_bar, tell
from .terminal import NOT_A_DEVICE

HEADLINE = (
    "total_volume", "periventricular_volume", "deep_volume", "total_percent_icv", "icv_volume", "lesion_count",
    "left_volume", "right_volume", "asymmetry_index", "burden_class", "fazekas_volume_grade",
    "uncertainty_index", "review_recommended",
)  # fmt: skip


def add(commands) -> None:
    parser = commands.add_parser(
        "ct",
        help="leukoaraiosis on a noncontrast head CT",
        description="Outline leukoaraiosis on a noncontrast head CT, split it into periventricular and deep, measure "
        "and grade it, say how sure the result is, and write masks, tables and a report into a folder.",
        epilog=NOT_A_DEVICE,
    )
    parser.add_argument(
        "ct", metavar="CT", help="the CT in HU: a NIfTI or NRRD file, or a folder with one DICOM series"
    )
    mirror = "predict every slice mirrored too: twice the time, a little steadier (default: on)"
    add_options(parser, "leukoaraiosis", "leukoaraiosis-nnunet", mirror, True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    output = check_options(arguments)

    from ..checks_ct import check_ct
    from ..image import read_image

    ct = read_image(arguments.ct, slanted=True)
    check_ct(ct)  # before torch is loaded, so that a wrong file is named at once

    from ..pipelines.ct import segment_leukoaraiosis

    with progress_bar(arguments) as bar:
        result = segment_leukoaraiosis(ct, arguments.model, **pipeline_options(arguments), progress=bar)
    tell(arguments, result, HEADLINE, len(result.save(output, report=not arguments.no_report)))
