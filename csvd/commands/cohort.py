"""``csvd cohort``: the results of many cases as one table, with the statistics of the cohort."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from ..errors import InputError
from .reference import add_reference, read_reference
from .terminal import NOT_A_DEVICE, check_output


def add(commands) -> None:
    parser = commands.add_parser(
        "cohort",
        help="many results as one table, with statistics",
        description="Collect the results of many cases into one CSV table and write beside it, under the same name, an "
        "HTML report with pictures: the Z-score burden within the cohort, quintiles, and if asked agreement with a "
        "table of truths and differences between visual grades.",
        epilog=NOT_A_DEVICE,
    )
    parser.add_argument(
        "results", nargs="+", metavar="RESULTS",
        help="folders written by csvd, folders above them, or quoted patterns such as 'study/*'",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="TABLE.csv", help="the table to write")
    parser.add_argument(
        "--measure", default="total_volume", metavar="NAME",
        help="the measurement that is compared (default: total_volume)",
    )  # fmt: skip
    parser.add_argument(
        "--truth", metavar="TRUTH.csv", help="a table with a column id, the names of the folders, and columns of truths"
    )
    parser.add_argument(
        "--truth-column",
        metavar="COLUMN",
        help="the column of TRUTH that the measure is compared with, if it has several",
    )
    parser.add_argument(
        "--grade", metavar="COLUMN",
        help="a visual grade, of TRUTH or of the results: compare the measure between its grades (ANOVA, "
        "Kruskal-Wallis, Tukey)",
    )  # fmt: skip
    parser.add_argument(
        "--log1p", action="store_true", help="z-scores of log(1 + value), for skewed volumes and counts"
    )
    add_reference(parser, "without it the cohort is its own reference")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the statistics as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    output = Path(arguments.output)
    if output.suffix.lower() != ".csv" or os.path.isdir(output):  # Path.is_dir raises where a name is too long
        raise InputError(f"{output} is no name for the table: give one that ends in .csv.")
    for given in (arguments.truth, arguments.reference):
        if given is not None and Path(given).resolve() == output.resolve():
            raise InputError(f"{output} is read here and would be lost: give another name for the table to write.")
    check_output(output.absolute().parent)
    if arguments.log1p and arguments.reference is not None:
        raise InputError("--log1p and --reference were given: the reference says itself which transform it takes.")

    from ..cohort.collect import collect, read_truth
    from ..cohort.plots import check_matplotlib
    from ..cohort.report import save
    from ..cohort.study import Question, study

    check_matplotlib()
    found = study(
        collect(arguments.results),
        Question(arguments.measure, arguments.truth_column, arguments.grade),
        read_truth(arguments.truth) if arguments.truth is not None else None,
        log1p=arguments.log1p,
        reference=read_reference(arguments),
    )
    files = save(found, output)
    statistics = [*found.agreement, *found.differences]
    if arguments.json:
        from dataclasses import asdict

        told = {"n": len(found.cohort.cases), "notes": found.notes, "statistics": [asdict(row) for row in statistics]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    elif not arguments.quiet:
        n = len(found.cohort.cases)
        print(f"{n} {'case' if n == 1 else 'cases'}, {len(found.values)} with {found.measured.label}")
        for row in statistics:
            value = "" if row.value is None else f"{row.value:.4g} {row.unit}".strip()
            interval = "" if row.low is None else f" ({row.low:.4g} to {row.high:.4g})"
            print(f"{row.title}: {value}{interval}{', ' if value else ''}n={row.n}; {row.note}")
        for note in found.notes:
            print(f"note: {note}")
        print(f"\n{len(files)} files in {output.absolute().parent}; report: {output.with_suffix('.html')}")
        print(NOT_A_DEVICE)
