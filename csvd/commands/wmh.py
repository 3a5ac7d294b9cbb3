"""``csvd wmh``: white matter hyperintensities on a FLAIR."""

from __future__ import annotations

import argparse

from .segmentation import FORMS, add_options, check_options, pipeline_options, progress_bar, tell
from .terminal import NOT_A_DEVICE

HEADLINE = (
    "total_volume", "periventricular_volume", "deep_volume", "total_percent_icv", "icv_volume", "lesion_count",
    "fazekas_periventricular", "fazekas_deep", "fazekas_total", "fazekas_agreement", "uncertainty_index",
    "review_recommended",
)  # fmt: skip


def add(commands) -> None:
    parser = commands.add_parser(
        "wmh",
        help="white matter hyperintensities on a FLAIR",
        description="Outline white matter hyperintensities (WMH) on a FLAIR, split them into periventricular and deep, "
        "measure and grade them, say how sure the result is, and write masks, tables and a report into a folder.",
        epilog=NOT_A_DEVICE,
    )
    parser.add_argument("flair", metavar="FLAIR", help=f"the FLAIR: {FORMS}")
    add_options(parser, "WMH", "wmh-hybrid", mirror=False)
    parser.add_argument(
        "--t1", metavar="T1", help="reserved for a T1 of the same head; not used by the models of this version"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    output = check_options(arguments)

    from ..checks import check_flair
    from ..image import read_image

    flair = read_image(arguments.flair)
    check_flair(flair)  # before torch is loaded, so that a wrong file is named at once
    if arguments.t1 is not None:
        read_image(arguments.t1)

    from ..pipelines.wmh import segment_wmh

    with progress_bar(arguments) as bar:
        result = segment_wmh(
            flair, arguments.model, threshold=arguments.threshold, **pipeline_options(arguments), progress=bar
        )
    if arguments.t1 is not None:
        result.warnings.append("A T1 was given; the models of this version do not use it.")
    tell(arguments, result, HEADLINE, len(result.save(output, report=not arguments.no_report)))
