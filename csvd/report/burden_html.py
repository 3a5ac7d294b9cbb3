"""The report of a burden result as one HTML file, of the same pieces as that of a single marker."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from csvd.marker import WMH
from csvd.measure import Measurement
from csvd.measure.strive import DEFINITIONS
from csvd.measure.zscore import MARKERS as Z_MARKERS
from csvd.report.details import LESION_ROWS, fazekas_section, lesion_section
from csvd.report.elements import ABSENT, TIMES, amount, card, exact, flat, position, table, tiles
from csvd.report.figures import LINE_PIXELS, AxialStack, outline_tiles, outlined, slices_to_show
from csvd.report.html import NOT_A_DEVICE, date, page, statements
from csvd.report.segmentation import focal_segments, segments
from csvd.sequences import SEQUENCE_OF, TITLES

if TYPE_CHECKING:
    from csvd.burden_result import BurdenResult
    from csvd.focal_result import FocalResult
    from csvd.result import Result

SHOWN = 8
"""Slices of each marker. A choice: four markers then take a third of the space of twelve each."""
REJECTED = (150, 158, 168)
SCORES = ("svd_score", "amended_svd_score", "caa_svd_score", "wmh_points", "microbleed_pattern")


def render(result: "BurdenResult") -> str:
    """The report as HTML text."""
    body = [
        _header(result),
        _warnings(result),
        _summary(result),
        _scores(result),
        _inputs(result),
        *(_marker(result, marker) for marker in SEQUENCE_OF),
        _measurements(result),
        _provenance(result),
        f"<footer>{escape(NOT_A_DEVICE)}</footer>",
    ]
    return page("Burden of cerebral small vessel disease", body, result.provenance)


def _header(result: "BurdenResult") -> str:
    items = {title: _described(result, name) for name, title in TITLES.items()}
    items["Analysed"] = date(result.provenance.get("date"))
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in items.items())
    training = " ".join(map(escape, statements(result.provenance)))
    return (
        '<header><div class="kicker">csvd · cerebral small vessel disease</div>'
        f'<h1>Burden of cerebral small vessel disease</h1><dl class="file">{listed}</dl>'
        f'<p class="disclaimer"><strong>{escape(NOT_A_DEVICE)}</strong> {training}</p></header>'
    )


def _described(result: "BurdenResult", name: str) -> str:
    if name in result.missing:
        return "not given"
    image = result.sequences[name]
    shape, spacing = TIMES.join(map(str, image.voxels.shape)), TIMES.join(f"{mm:.3g}" for mm in image.spacing_mm)
    return f"{Path(image.source).name or 'without a file'} ({shape}, {spacing} mm)"


def _warnings(result: "BurdenResult") -> str:
    notices = []
    if result.edited:
        notices.append(
            '<section class="notice edit"><h2>Edited by hand</h2><p>A reader decided about candidates, changed a mask '
            "or set inputs of the scores; all numbers below follow.</p></section>"
        )
    if result.warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in result.warnings)
        notices.append(f'<section class="notice warnings"><h2>Read this first</h2><ul>{items}</ul></section>')
    return "\n".join(notices)


def _summary(result: "BurdenResult") -> str:
    missing = [TITLES[name] for name in result.missing]
    sentence = f"Measured on {', '.join(TITLES[name] for name in result.sequences)}."
    if missing:
        sentence += f" Without {' and '.join(missing)} some markers are missing, not 0: scores are given as a range."
    value = {name: row.value for name, row in result.measurements.items()}
    grades = [exact(value[f"input_fazekas_{zone}"]) for zone in ("periventricular", "deep")]
    cards = [
        _score_card("Total SVD score", value["svd_score"], 4),
        _score_card("Amended SVD score", value["amended_svd_score"], 6),
        _score_card("CAA-SVD score", value["caa_svd_score"], 6, "withheld: superficial siderosis was not given"),
        card("Z-score burden", *_z(result)),
        _marker_card(result, "wmh", "total_volume", "mL", f"Fazekas {' + '.join(grades)}"),
        _marker_card(result, "microbleed", "microbleed_count", "", exact(value["microbleed_pattern"])),
        _marker_card(result, "lacune", "lacune_count"),
        _marker_card(
            result, "perivascular_space", "perivascular_space_count", "",
            f"basal ganglia, worst slice: {exact(value['input_pvs_basal_ganglia'])}",
        ),
    ]  # fmt: skip
    return f'<p class="lead">{escape(sentence)}</p><div class="cards">{"".join(cards)}</div>'


def _marker_card(result: "BurdenResult", marker: str, name: str, unit: str = "", more: str = "") -> str:
    if marker not in result.markers:
        return card(_title(marker), ABSENT, "", f"missing: no {TITLES[SEQUENCE_OF[marker]]} was given", "review")
    value = result.measurements[name].value
    return card(_title(marker), amount(value) if unit else exact(value), unit, more)


def _score_card(name: str, value: int | str | None, most: int, absent: str = "") -> str:
    if value is None:
        return card(name, ABSENT, f"of {most}", absent)
    missing = str(value).partition(" (")[2].rstrip(")")
    return card(name, _span(value), f"of {most}", missing, "review" if missing else "")


def _span(value: int | str | None) -> str:
    """A score or its range; what is missing from it stands elsewhere."""
    return exact(value).partition(" (")[0].replace("-", ABSENT)


def _z(result: "BurdenResult") -> tuple[str, str, str]:
    row = result.measurements.get("z_burden")
    if row is None:
        return ABSENT, "", "no reference was declared"
    known = sum(result.measurements[f"z_{marker}"].value is not None for marker in Z_MARKERS)
    return ABSENT if row.value is None else f"{row.value:+.2f}", "SD", f"sum over {known} of {len(Z_MARKERS)} markers"


def _scores(result: "BurdenResult") -> str:
    names = [*SCORES, *(name for name in result.measurements if name.startswith(("pvs_grade_", "z_")))]
    measured = [result.measurements[name] for name in names]
    rows = [(m.title, _shown(m), m.unit, m.source) for m in measured]
    note = "" if result.reference else "No reference was declared, so there is no Z-score: a single patient has none."
    return (
        "<section><h2>Scores</h2>"
        + table(("Score", "Value", "Unit", "Points, rule and source"), rows, (1,), {3: "source"})
        + f'<p class="quiet">{note} A score by software is not a reader\'s score.</p></section>'
    )


def _shown(m: Measurement) -> str:
    """A score without the list of what is missing from it, which its points say; anything else as it is."""
    return _span(m.value) if m.name.endswith(("score", "points")) else exact(m.value)


def _inputs(result: "BurdenResult") -> str:
    rows, above = [], None
    for name, m in result.measurements.items():
        if name.startswith("input_"):
            value = "missing" if m.value is None else exact(m.value)
            rows.append((m.title, value, "as above" if m.source == above else m.source))
            above = m.source
    header = ("Input", "Value", "From")
    return f"<section><h2>What the scores are made of</h2>{table(header, rows, (1,), {2: 'source'})}</section>"


def _marker(result: "BurdenResult", marker: str) -> str:
    title = _title(marker)
    found, sequence = result.markers.get(marker), TITLES[SEQUENCE_OF[marker]]
    heading = f"<section><h2>{title} on {sequence}</h2>"
    if found is None:
        return f"{heading}<p>Missing, since no {sequence} was given. That is not zero.</p></section>"
    if marker == "wmh":
        return f"{heading}{_zones(found)}</section>{fazekas_section(found)}{lesion_section(found)}"
    return f"{heading}{_foci(found)}{_candidates(found)}</section>"


def _title(marker: str) -> str:
    return DEFINITIONS[marker].title if marker in DEFINITIONS else WMH.name.capitalize()


def _measurements(result: "BurdenResult") -> str:
    header = ("Measurement", "Value", "Unit", "How, and after whom")
    tables = []
    for marker in result.markers:
        rows = [(m.title, exact(m.value), m.unit, m.source) for m in result.of_marker(marker).values()]
        tables.append(f"<h3>{_title(marker)}</h3>" + table(header, rows, (1,), {3: "source"}))
    return f"<section><h2>All measurements</h2>{''.join(tables)}</section>"


def _zones(found: "Result") -> str:
    stack = AxialStack(found.image, found.brain)
    shown = outline_tiles(stack, found.labels, found.ventricles, slices_to_show(stack, found.labels, SHOWN))
    return _legend([(segment["color"], segment["name"]) for segment in segments(WMH)]) + tiles(shown, "Outlined FLAIR")


def _foci(found: "FocalResult") -> str:
    stack = AxialStack(found.image, found.brain)
    segment = focal_segments()[found.marker]
    mask, rejected = found.mask.astype(np.uint8), found.rejected
    chosen = slices_to_show(stack, mask if mask.any() else rejected, SHOWN)
    outlines = ((rejected, REJECTED, LINE_PIXELS / 2), (found.mask, tuple(segment["color"]), LINE_PIXELS))
    shown = outlined(stack, outlines, mask, chosen)
    return _legend([(segment["color"], segment["name"]), (REJECTED, "rejected")]) + tiles(shown, segment["name"])


def _legend(keys: Sequence[tuple[Sequence[int], str]]) -> str:
    listed = (
        f'<span class="key"><span class="swatch" style="border-color: rgb({",".join(map(str, color))})"></span>'
        f"{escape(name)}</span>"
        for color, name in keys
    )
    return f'<div class="legend">{"".join(listed)}</div>'


def _candidates(found: "FocalResult") -> str:
    if not found.candidates:
        return "<p>No candidate was found.</p>"
    listed = sorted(found.candidates, key=lambda candidate: not candidate.counts)[:LESION_ROWS]
    rows = [
        (
            c.id,
            _decision(c),
            " ".join(filter(None, (c.region, c.hemisphere))) or ABSENT,
            f"{c.diameter_mm:.1f}",
            f"{c.longest_mm:.1f}{TIMES}{c.shortest_mm:.1f}",
            f"{c.volume_mm3:.0f}",
            position(c.centroid_mm),
            f"{c.mean_probability:.2f}",
        )
        for c in listed
    ]
    header = (
        "No.",
        "Counts",
        "Where",
        "Diameter (mm)",
        "Length and width (mm)",
        "Volume (mm³)",
        "Centre (mm)",
        "Mean p",
    )
    more = len(found.candidates) - len(rows)
    note = f'<p class="quiet">{more} more in candidates.tsv.</p>' if more else ""
    return table(header, rows, numbers=(3, 4, 5, 7), classes={6: "point"}) + note


def _decision(candidate) -> str:
    if candidate.accepted:
        return "yes, by a reader" + (f" ({candidate.reason})" if candidate.reason else "")
    if candidate.counts:
        return "yes"
    return f"no: {candidate.reason}" if candidate.reason else "no, by a reader"


def _provenance(result: "BurdenResult") -> str:
    known = {**result.provenance, "parameters": result.settings}
    # Folders tend to be named after patients.
    known["input"] = {
        name: {**facts, "path": Path(facts["path"]).name} for name, facts in known.get("input", {}).items()
    }
    listed = table(("", ""), list(flat(known)), classes={0: "source", 1: "code"}, head=False)
    return f"<section><h2>Provenance</h2>{listed}</section>"
