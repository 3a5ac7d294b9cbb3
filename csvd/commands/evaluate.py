"""``csvd evaluate``: a mask against a reference mask."""

from __future__ import annotations

import argparse
import json

from ..errors import InputError
from .terminal import print_measurements


def add(commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compare a mask with a reference mask",
        description="Compare a lesion mask with a reference on the same grid: Dice, Hausdorff distances, volume "
        "difference, lesion recall, precision and F1 as in the MICCAI WMH challenge and under the 40 % and 50 % hit "
        "rules.",
    )
    parser.add_argument("mask", metavar="MASK", help="the mask to judge; every value above 0 counts")
    parser.add_argument("truth", metavar="TRUTH", help="the reference mask on the same grid")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    import numpy as np

    from ..image import read_image
    from ..measure.agreement import evaluate

    mask, truth = (read_image(path, slanted=True) for path in (arguments.mask, arguments.truth))
    if mask.voxels.shape != truth.voxels.shape or not np.allclose(mask.affine, truth.affine, atol=1e-3):
        raise InputError(
            f"{arguments.mask} and {arguments.truth} lie on different grids; resample one onto the other first."
        )
    rows = evaluate(mask.voxels > 0, truth.voxels > 0, truth.spacing_mm)
    if arguments.json:
        from ..report.tables import measurements_json

        print(json.dumps(measurements_json({row.name: row for row in rows}), indent=2, ensure_ascii=False))
    else:
        print_measurements(rows)
