"""``csvd burden``: the total burden of small vessel disease on FLAIR, T1 and SWI."""

from __future__ import annotations

import argparse

from ..errors import InputError
from .reference import add_reference, read_reference
from .segmentation import FORMS, add_run_options, check_options, pipeline_options, progress_bar, tell
from .terminal import NOT_A_DEVICE

HEADLINE = (
    "svd_score", "amended_svd_score", "caa_svd_score", "z_burden", "total_volume", "input_fazekas_periventricular",
    "input_fazekas_deep", "microbleed_count", "microbleed_pattern", "lacune_count", "perivascular_space_count",
    "pvs_grade_basal_ganglia", "pvs_grade_centrum_semiovale",
)  # fmt: skip


def add(commands) -> None:
    parser = commands.add_parser(
        "burden",
        help="four markers and their scores on FLAIR, T1 and SWI",
        description="Find white matter hyperintensities on the FLAIR, lacunes and perivascular spaces on the T1 and "
        "microbleeds on the SWI of one head, measure them, add up the scores of small vessel disease, and write masks, "
        "tables and a report into a folder. Give one sequence or more; what is missing is not counted as zero.",
        epilog=NOT_A_DEVICE,
    )
    for name, what in (("flair", "FLAIR"), ("t1", "T1"), ("swi", "SWI or T2* magnitude")):
        parser.add_argument(f"--{name}", metavar=name.upper(), help=f"the {what}: {FORMS}")
    add_reference(parser, "without it there is no Z-score")
    parser.add_argument(
        "--siderosis", choices=("none", "focal", "disseminated"),
        help="superficial siderosis as you see it on the SWI; the CAA-SVD score is withheld without it",
    )  # fmt: skip
    parser.add_argument(
        "--pvs-above", type=int, default=10, metavar="N",
        help="a point of the total score for more than N perivascular spaces in the basal ganglia (default: 10; 20 is "
        "also in use)",
    )  # fmt: skip
    parser.add_argument(
        "--threshold", action="append", default=[], metavar="MARKER=P",
        help="a voxel belongs to MARKER (wmh, microbleed, lacune or perivascular_space) when its probability reaches "
        "P, between 0 and 1; may be given for each (default: the model's own)",
    )  # fmt: skip
    parser.add_argument(
        "--wmh-model", metavar="ID",
        help="model that outlines hyperintensities: one for csvd wmh, or the ID of --model for its own decoder "
        "(default: what the card of --model names)",
    )  # fmt: skip
    parser.add_argument(
        "--own-decoders", action="store_true",
        help="every marker by the decoders of --model, as published, instead of the models that its card names for "
        "single markers",
    )  # fmt: skip
    add_run_options(parser, "WMH", "burden-mounet", mirror=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    output = check_options(arguments)
    thresholds = dict(read_threshold(text) for text in arguments.threshold)

    from ..checks_sequences import check_sequences
    from ..image import read_image

    paths = {name: getattr(arguments, name) for name in ("flair", "t1", "swi")}
    given = {name: read_image(path) for name, path in paths.items() if path is not None}
    check_sequences(**given)  # before torch is loaded, so that a wrong file is named at once

    reference = read_reference(arguments)

    from ..pipelines.burden import measure_burden

    with progress_bar(arguments) as bar:
        result = measure_burden(
            **given,
            **pipeline_options(arguments),
            model=arguments.model,
            wmh_model=arguments.wmh_model,
            own_decoders=arguments.own_decoders,
            reference=reference,
            thresholds=thresholds,
            siderosis=arguments.siderosis,
            pvs_threshold=arguments.pvs_above,
            progress=bar,
        )
    headline = tuple(name for name in HEADLINE if name in result.measurements)
    tell(arguments, result, headline, len(result.save(output, report=not arguments.no_report)))


def read_threshold(text: str) -> tuple[str, float]:
    """``microbleed=.4`` as a marker and a number. Raises InputError where it is not of this form."""
    marker, _, number = text.partition("=")
    try:
        return marker.strip(), float(number)
    except ValueError:
        raise InputError(f"--threshold is {text!r}: write a marker and a number, such as microbleed=0.4.") from None
