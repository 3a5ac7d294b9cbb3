"""``csvd ct``: leukoaraiosis on a noncontrast head CT."""

from __future__ import annotations

import argparse

from .segmentation import FORMS, add_options, check_options, pipeline_options, progress_bar, tell
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
    parser.add_argument("ct", metavar="CT", help=f"the CT in HU: {FORMS}")
    add_options(parser, "leukoaraiosis", "leukoaraiosis-nnunet", mirror=True)
    parser.add_argument(
        "--flair", metavar="FLAIR",
        help="a FLAIR of the same patient: its hyperintensities are outlined and compared with the leukoaraiosis; "
        "adds comparison.tsv and comparison.png",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    output = check_options(arguments)

    from ..checks import check_flair
    from ..checks_ct import check_ct
    from ..image import read_image

    ct = read_image(arguments.ct, slanted=True)
    check_ct(ct)  # before torch is loaded, so that a wrong file is named at once
    flair = read_image(arguments.flair) if arguments.flair is not None else None
    if flair is not None:
        check_flair(flair)

    from ..pipelines.ct import segment_leukoaraiosis

    with progress_bar(arguments) as bar:
        result = segment_leukoaraiosis(
            ct, arguments.model, threshold=arguments.threshold, **pipeline_options(arguments), progress=bar
        )
        comparison = None if flair is None else compared(result, flair, arguments, bar)
    files = result.save(output, report=not arguments.no_report)
    if comparison is not None:
        files |= comparison.save(output)
    tell(arguments, result, HEADLINE, len(files))
    if comparison is not None and not (arguments.quiet or arguments.json):
        print(
            f"On the FLAIR {comparison.volume_flair_ml:.2f} mL, on the CT {comparison.volume_ct_ml:.2f} mL "
            f"({comparison.difference_ml:+.2f}); Dice {comparison.dice:.2f}. {comparison.quality}"
        )


def compared(result, flair, arguments: argparse.Namespace, progress):
    """The Comparison with the FLAIR's own result, under the same rules of zones and on the same device."""
    from ..comparison import compare_with_flair
    from ..pipelines.wmh import segment_wmh

    rules = {"pv_distance_mm": arguments.pv_distance, "pv_rule": arguments.pv_rule, "device": arguments.device}
    return compare_with_flair(result, segment_wmh(flair, **rules, progress=progress))
