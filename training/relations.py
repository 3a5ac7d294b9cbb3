"""How the uncertainty index goes with Dice and with volume, over scans that are few and partly of the same people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from csvd.measure.agreement import pearson


def relation(x: Sequence[float], y: Sequence[float]) -> dict:
    """Pearson's r of ``n`` pairs, and the |r| from which it differs from 0 at p = .05 (two-sided t test).

    Both are None below three pairs, since any two points lie on a line.
    """
    n = len(x)
    if n < 3 or (r := pearson(x, y)) is None:
        return {"n": n, "r": None, "critical_r": None}
    t = stats.t.ppf(0.975, n - 2)
    return {"n": n, "r": round(r, 3), "critical_r": round(float(t / np.sqrt(n - 2 + t**2)), 3)}


def relations(truths: Sequence[dict], native: Sequence[dict]) -> dict[str, dict]:
    """The index against Dice, and against log10 of the true volume and of the volume found, in mL.

    ``truths`` are the groups of scans with a reference, the first with native slices; ``native`` are the rows of every
    native scan, reference or not. Thick slices and second visits repeat the same people, so r over them has no
    ``critical_r``; ``people`` says how many there are.
    """
    first, every = truths[0]["scans"], [row for group in truths for row in group["scans"]]
    found = {}
    for name, rows, value in (
        ("dice_native", first, lambda row: row["dice"]),
        ("dice_all_slices", every, lambda row: row["dice"]),
        ("log_truth_ml_native", first, lambda row: np.log10(row["truth_ml"])),
        ("log_truth_ml_all_slices", every, lambda row: np.log10(row["truth_ml"])),
        ("log_found_ml_every_native_scan", native, lambda row: np.log10(row["total_volume"])),
    ):
        known = [row for row in rows if row["uncertainty_index"] is not None]
        people = len({row["scan"].removesuffix("/study1").removesuffix("/study2") for row in known})
        found[name] = relation([row["uncertainty_index"] for row in known], [float(value(row)) for row in known])
        found[name] |= {"people": people} | ({"critical_r": None} if people < len(known) else {})
    return found
