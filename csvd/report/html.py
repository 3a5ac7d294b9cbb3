"""The report of a result as one HTML file: no script, nothing fetched, ready to print."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from csvd.marker import WMH, Marker
from csvd.measure.reference import cutoff
from csvd.measure.uncertainty import REVIEW_LIMIT, VOXEL_LIMIT
from csvd.report.details import (
    fazekas_section,
    file_name,
    lesion_section,
    measurement_section,
    provenance_section,
    reference_section,
)
from csvd.report.elements import ABSENT, TIMES, amount, card, exact, table, tiles
from csvd.report.figures import COLOR_STOPS, AxialStack, Tile, outline_tiles, slices_to_show, uncertainty_tiles
from csvd.report.scale import volume_scale
from csvd.report.segmentation import segments

if TYPE_CHECKING:
    from csvd.result import Result

ZONES = ("periventricular", "deep", "ventricles")
NOT_A_DEVICE = "For research and teaching. Not a medical device, not for diagnosis or treatment."


def write_report(result: "Result", path: Path) -> None:
    """Write the report of a result: numbers, pictures, warnings, reference values, provenance; below about 3 MB."""
    path.write_text(render(result), encoding="utf-8")


def render(result: "Result") -> str:
    """The report as HTML text."""
    marker = result.marker
    stack = AxialStack(result.image, result.brain, marker.window)
    chosen = slices_to_show(stack, result.labels)
    body = [
        _header(result),
        _warnings(result),
        _summary(result),
        _pictures(marker, outline_tiles(stack, result.labels, result.ventricles, chosen)),
        _uncertainty(result, uncertainty_tiles(stack, result.labels, result.uncertainty, chosen)),
        fazekas_section(result),
        lesion_section(result),
        measurement_section(result),
        reference_section(marker),
        provenance_section(result),
        f"<footer>{escape(NOT_A_DEVICE)}</footer>",
    ]
    return page(f"{marker.name.capitalize()}: {file_name(result)}", body, result.provenance, marker)


def page(title: str, body: Sequence[str], provenance: Mapping[str, Any], marker: Marker = WMH) -> str:
    """A whole document around the parts of a report, empty ones left out."""
    colors = {name: "rgb({},{},{})".format(*s["color"]) for name, s in zip(ZONES, segments(marker), strict=True)}
    stops = ", ".join("rgb({},{},{})".format(*color) + f" {100 * place:g}%" for place, color in COLOR_STOPS)
    return Template(files(__package__).joinpath("template.html").read_text(encoding="utf-8")).substitute(
        generator=escape(f"csvd {provenance.get('software', {}).get('csvd', '')}".strip()),
        title=escape(title),
        gradient=f"linear-gradient(to right, {stops})",
        body="\n".join(part for part in body if part),
        **colors,
    )


def _header(result: "Result") -> str:
    shape = TIMES.join(map(str, result.image.voxels.shape))
    spacing = TIMES.join(f"{mm:.3g}" for mm in result.image.spacing_mm)
    sha256 = result.image.sha256
    items = {
        "Image": file_name(result),
        "SHA-256": sha256[:12] + "…" if sha256 else "not known",
        "Voxels": f"{shape}, {spacing} mm",
        "Analysed": date(result.provenance.get("date")),
    }
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in items.items())
    training = " ".join(f"{escape(text)}" for text in statements(result.provenance))
    return (
        '<header><div class="kicker">csvd · cerebral small vessel disease</div>'
        f"<h1>{escape(result.marker.name.capitalize())} on {escape(result.marker.image)}</h1>"
        f'<dl class="file">{listed}</dl>'
        f'<p class="disclaimer"><strong>{escape(NOT_A_DEVICE)}</strong> {training}</p></header>'
    )


def _warnings(result: "Result") -> str:
    notices = []
    if result.edited:
        notices.append(
            '<section class="notice edit"><h2>Edited by hand</h2>'
            "<p>The mask or the ventricles were changed after the automatic segmentation; "
            "the measurements below are of the edited ones.</p>" + _comparison(result) + "</section>"
        )
    if result.warnings:
        items = "".join(f"<li>{escape(text)}</li>" for text in result.warnings)
        notices.append(f'<section class="notice warnings"><h2>Read this first</h2><ul>{items}</ul></section>')
    return "\n".join(notices)


def _comparison(result: "Result") -> str:
    names = [f"{zone}_volume" for zone in ("total", "periventricular", "deep")]
    rows = [
        (
            result.measurements[name].title,
            amount(result.automatic.measurements[name].value),
            amount(result.measurements[name].value),
            result.measurements[name].unit,
        )
        for name in names
        if name in result.measurements
    ]
    return table(("", "Automatic", "Edited", "Unit"), rows, numbers=(1, 2))


def _summary(result: "Result") -> str:
    marker = result.marker
    total, near, deep = (_value(result, f"{zone}_volume") for zone in ("total", "periventricular", "deep"))
    percent = _value(result, "total_percent_icv")
    reach = f"within {result.parameters['pv_distance_mm']:g} mm of the ventricles"
    share = "" if percent is None else f"{amount(percent)} % of the intracranial volume"
    if not total:
        sentence = f"No {marker.name} {marker.were} found."
    else:
        count = f"{len(result.lesions)} lesion{'s' if len(result.lesions) > 1 else ''}"
        sentence = f"{amount(total)} mL of {marker.name} in {count}"
        sentence += f", {share}" if share else ""
        sentence += f"; {100 * near / total:.0f} % of the volume {reach}." if near is not None else "."
    if near is None:
        sentence += " No ventricle is known, so periventricular and deep could not be told apart."
    if "burden_class" in result.measurements:
        sentence += f" Burden class: {_value(result, 'burden_class')}."
    cards = [
        card("Total", amount(total), "mL", share),
        card("Periventricular", amount(near), "mL", _rule(result), "periventricular"),
        card("Deep", amount(deep), "mL", "all other", "deep"),
        card("Lesions", str(len(result.lesions)), "", _sizes(result)),
        card("Fazekas, periventricular", exact(_value(result, "fazekas_periventricular")), "of 3", "by thickness"),
        card("Fazekas, deep", exact(_value(result, "fazekas_deep")), "of 3", "by diameter and confluence"),
        card("Fazekas, total", exact(_value(result, "fazekas_total")), "of 6", *_agreement(result)),
        card("Uncertainty index", *_index(result)),
    ]
    return (
        f'<p class="lead">{escape(sentence)}</p><div class="cards">{"".join(cards)}</div>'
        f'<div class="scale">{volume_scale(total, marker.image)}</div>'
    )


def _rule(result: "Result") -> str:
    reach = f"{result.parameters['pv_distance_mm']:g} mm of a ventricle"
    return f"lesions within {reach}" if result.parameters["pv_rule"] == "cluster" else f"within {reach}"


def _sizes(result: "Result") -> str:
    counts = {size: _value(result, f"lesion_count_{size}") for size in ("large", "medium", "small")}
    return ", ".join(f"{count} {size}" for size, count in counts.items()) if result.lesions else ""


def _agreement(result: "Result") -> tuple[str, str]:
    agreement = result.fazekas.agreement
    if agreement is None:
        return "by volume only", ""
    return ("three readings agree", "") if agreement else ("the readings disagree, see below", "review")


def _index(result: "Result") -> tuple[str, str, str, str]:
    index = _value(result, "uncertainty_index")
    if not isinstance(index, float):
        return ABSENT, "", f"no {result.marker.short}", ""
    review = _value(result, "review_recommended")
    return f"{index:.2f}", "", *(("review recommended", "review") if review else (f"below {REVIEW_LIMIT:g}", ""))


def _pictures(marker: Marker, shown: Sequence[Tile]) -> str:
    keys = "".join(
        f'<span class="key"><span class="swatch" style="border-color: var(--{zone})"></span>{escape(s["name"])}</span>'
        for zone, s in zip(ZONES, segments(marker), strict=True)
    )
    return (
        "<section><h2>Segmentation</h2>"
        '<p class="quiet">Axial slices from below to above, in radiological convention: the right of the patient (R) '
        "is on the left. Half of the slices are spread over the brain, the others have the most lesions. "
        "Below each: its number, how far it lies superior (S) or inferior (I) to the scanner's origin, and its volume."
        f'</p><div class="legend">{keys}</div>{tiles(shown, f"Outlined {marker.image}")}</section>'
    )


def _uncertainty(result: "Result", shown: Sequence[Tile]) -> str:
    index = _value(result, "uncertainty_index")
    if not isinstance(index, float):
        reading = "There is no predicted lesion, so there is no uncertainty index."
    elif index >= REVIEW_LIMIT:
        reading = (
            f"The uncertainty index is {index:.2f}, at or above {REVIEW_LIMIT:g}: "
            "the ensemble is less sure than usual, look at the mask before using the numbers."
        )
    else:
        reading = f"The uncertainty index is {index:.2f}, below the review limit of {REVIEW_LIMIT:g}."
    return (
        f"<section><h2>Uncertainty</h2><p>{escape(reading)} "
        '<span class="quiet">It is the share of lesion voxels whose mean probability p has a divergence '
        f"KL(p || ½) below {VOXEL_LIMIT:g} bit. Small lesion loads have a high index by their size alone. "
        f"{escape(cutoff('review').source)}.</span></p>"
        '<div class="legend"><span class="key">certain <span class="bar"><i></i></span> tossing a coin</span>'
        f"<span>1 &minus; KL(p || ½) in bits, 0 to 1; mark: {1 - VOXEL_LIMIT:g}, uncertain from there on</span>"
        '<span class="key"><span class="swatch" style="border-color: #fff; outline: 1px solid #bbb"></span>'
        f"lesion</span></div>{tiles(shown, 'Uncertainty')}</section>"
    )


def statements(provenance: Mapping[str, Any]) -> list[str]:
    """What each model says of its own training, once."""
    models = provenance.get("models", [])
    return list(dict.fromkeys(model["statement"] for model in models if model.get("statement")))


def date(iso: str | None) -> str:
    """A day and time to read."""
    return datetime.fromisoformat(iso).strftime("%d %b %Y, %H:%M") if iso else "not known"


def _value(result: "Result", name: str) -> Any:
    return result.measurements[name].value
