"""Markdown tables of the ledger: their cells, their columns, and the place in a page that they fill."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence


def number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def several(values: Iterable[float | None], digits: int, separator: str = " / ") -> str:
    return separator.join(number(value, digits) for value in values)


def table(columns: dict[str, Callable[[dict], str]], rows: Iterable[dict]) -> str:
    """A Markdown table: titles and how each cell is made of a row."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell(row) for cell in columns.values()) + " |" for row in rows]
    return "\n".join(lines)


def groups(scores: Sequence[dict], kind: str) -> list[dict]:
    return [group for group in scores if group["kind"] == kind]


def flat(found: Iterable[dict], key: str = "scans") -> list[dict]:
    """The rows of several groups, each knowing how thick its slices are."""
    return [{**row, "slices": group["slices"]} for group in found for row in group[key]]


def between_markers(text: str, name: str, content: str) -> str:
    """``text`` with what stands between ``<!-- name: begin -->`` and ``<!-- name: end -->`` replaced."""
    pattern = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.S)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"The text must have one pair of markers <!-- {name}: begin --> and <!-- {name}: end -->.")
    return pattern.sub(lambda found: f"{found[1]}{content.strip()}\n{found[2]}", text)


# Columns: a title and how its cell is made of a row

ZONES = {
    "found mL": lambda r: number(r["total_volume"], 2),
    "periventricular / deep mL": lambda r: several((r["periventricular_volume"], r["deep_volume"]), 2),
}
INDEX = {
    "uncertainty index (at .5)": lambda r: (
        f"{number(r['uncertainty_index'], 2)} ({number(r['uncertainty_index_at_half'], 2)})"
    )
}
SCAN = {"scan": lambda r: r["scan"], "slices": lambda r: r["slices"].removeprefix("slices ")}
OUTLINES = {
    **SCAN,
    "truth mL": lambda r: number(r["truth_ml"], 1),
    **ZONES,
    "volume difference %": lambda r: number(r["volume_difference_percent"], 0),
    "Dice": lambda r: f"**{r['dice']:.2f}**",
    "Dice at .3 / .4 / .5 / .6": lambda r: several(r["dice_at"].values(), 2),
    "HD95 mm": lambda r: number(r["hausdorff_95"], 1),
    "lesion recall / precision / F1": lambda r: several((r["lesion_recall"], r["lesion_precision"], r["lesion_f1"]), 2),
    "lesions found, of up to .01 / .05 / more mL": lambda r: " / ".join(
        f"{met} of {all_}" for met, all_ in r["found_by_size"]
    ),
    **INDEX,
    "plain rule's Dice": lambda r: number(r["plain_rule"]["dice"], 2),
}
VOLUMES = {
    **SCAN, **ZONES, **INDEX, "WMH voxels outside the brain": lambda r: str(r["voxels_outside_brain"]),
}  # fmt: skip
CHANGE = {
    "patient": lambda r: r["patient"],
    "visit 1 / visit 2 mL": lambda r: several(r["volumes_ml"], 2),
    "difference mL": lambda r: f"{r['difference_ml']:+.2f}",
    "experts: changed mL (lesions)": lambda r: f"{r['experts_change_ml']:.2f} ({r['experts_components']})",
    "of it brighter / darker mL": lambda r: several((r["brighter_ml"], r["darker_ml"]), 2),
    "experts' sign": lambda r: r["sign"],
    "same sign": lambda r: r["same_sign"],
    "our changed mL": lambda r: number(r["our_change_ml"], 2),
    "recall / precision of changed lesions": lambda r: several((r["recall"], r["precision"]), 2),
    "our net change inside the experts' mask, mL": lambda r: f"{r['net_inside_experts_ml']:+.2f}",
}
