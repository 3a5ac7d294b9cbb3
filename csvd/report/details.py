"""The tables at the end of the report: Fazekas readings, lesions, all measurements, published values, provenance."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from csvd.marker import Marker
from csvd.measure.fazekas import Fazekas
from csvd.measure.reference import cutoff, norms
from csvd.report.elements import ABSENT, amount, exact, flat, position, table

if TYPE_CHECKING:
    from csvd.result import Result

LESION_ROWS = 30
"""Lesions listed in the report; lesions.tsv holds all. A choice: one printed page."""


def fazekas_section(result: "Result") -> str:
    """The three readings of the Fazekas scale side by side."""
    reading = result.fazekas
    total = f"{amount(result.measurements['total_volume'].value)} mL in total"
    rows = [
        ("1 Volume", "overall", exact(reading.volume_grade), total),
        ("2 Geometry", "periventricular", exact(reading.periventricular), _thickness(reading)),
        ("2 Geometry", "deep", exact(reading.deep), _diameter(reading)),
        ("3 Likelihood", "periventricular", *_likeliest(reading.likelihood_periventricular)),
        ("3 Likelihood", "deep", *_likeliest(reading.likelihood_deep)),
    ]
    words = " ".join(reading.conflicts)
    if reading.agreement:
        words = "No two readings lie more than one grade apart."
    return (
        "<section><h2>Fazekas scale, three readings</h2>"
        + table(("Reading", "Zone", "Grade", "From"), rows, numbers=(2,))
        + f'<p>{escape(words)}</p><p class="quiet">The geometry gives the grades that are reported. The volume alone '
        "is the weakest predictor of a visual grade, and the likelihoods of the grades overlap widely. "
        "A grade by software is not a reader's grade.</p></section>"
    )


def _thickness(reading: Fazekas) -> str:
    if reading.thickness_mm is None:
        return "no ventricle is known"
    if not reading.periventricular:
        return "none"
    return f"{reading.thickness_mm:.1f} mm thick" if reading.thickness_mm else "none reaches a ventricle"


def _diameter(reading: Fazekas) -> str:
    if reading.diameter_mm is None:
        return "no ventricle is known"
    if not reading.deep:
        return "none"
    return f"{reading.diameter_mm:.1f} mm across" + (", joined to periventricular ones" if reading.confluent else "")


def _likeliest(shares: Mapping[str, float] | None) -> tuple[str, str]:
    if shares is None:
        return ABSENT, ""
    return max(shares, key=shares.get), ", ".join(f"{grade}: {100 * share:.0f} %" for grade, share in shares.items())


def lesion_section(result: "Result") -> str:
    """The largest lesions."""
    if not result.lesions:
        return "<section><h2>Lesions</h2><p>None.</p></section>"
    rows = [
        (
            lesion.id,
            lesion.zone,
            amount(lesion.volume_ml, finest=3),
            f"{lesion.diameter_mm:.1f}",
            position(lesion.centroid_mm),
            f"{lesion.mean_probability:.2f}",
            f"{100 * lesion.uncertain_share:.0f}",
        )
        for lesion in result.lesions[:LESION_ROWS]
    ]
    more = len(result.lesions) - LESION_ROWS
    note = f"{more} smaller lesion{'s are' if more > 1 else ' is'} listed in lesions.tsv." if more > 0 else ""
    header = (
        "Lesion",
        "Zone",
        "Volume (mL)",
        "Diameter in plane (mm)",
        "Centre (mm)",
        "Mean probability",
        "Uncertain voxels (%)",
    )
    return (
        "<section><h2>Lesions</h2>"
        + table(header, rows, numbers=(2, 3, 5, 6), classes={4: "point"})
        + f'<p class="quiet">{note}</p></section>'
    )


def measurement_section(result: "Result") -> str:
    """Every measurement with the way it came about."""
    rows = [(m.title, exact(m.value), m.unit, m.source) for m in result.measurements.values()]
    header = ("Measurement", "Value", "Unit", "How, and after whom")
    return (
        "<section><h2>All measurements</h2>" + table(header, rows, numbers=(1,), classes={3: "source"}) + "</section>"
    )


def reference_section(marker: Marker) -> str:
    """Published volumes to set beside the measured ones."""
    volume = cutoff("total_volume")
    mild, moderate, severe = volume.value
    rows = [
        (
            "Fazekas at least mild",
            f"{mild:g}",
            volume.unit,
            volume.source,
            "Total volume on FLAIR, patients of memory clinics",
        ),
        ("Fazekas at least moderate", f"{moderate:g}", volume.unit, volume.source, ""),
        ("Fazekas severe", f"{severe:g}", volume.unit, volume.source, ""),
    ]
    rows += [(norm.title, norm.value, norm.unit, norm.source, norm.note) for norm in norms(marker.key)]
    header = ("Total volume in", "Value", "Unit", "Source", "Note")
    return (
        "<section><h2>Published values to compare with</h2>"
        '<p class="quiet">Measured by other methods on other people: a setting for the numbers above, not a norm.</p>'
        + table(header, rows, numbers=(1,), classes={3: "source", 4: "note"})
        + "</section>"
    )


def provenance_section(result: "Result") -> str:
    """What was done with what, as far as the result knows."""
    known = {**result.provenance, "parameters": result.parameters}
    known["input"] = {**known.get("input", {}), "path": file_name(result)}
    listed = table(("", ""), list(flat(known)), classes={0: "source", 1: "code"}, head=False)
    return f"<section><h2>Provenance</h2>{listed}</section>"


def file_name(result: "Result") -> str:
    """Only the last part of the path: folders tend to be named after patients."""
    return Path(result.image.source).name or f"{result.marker.image} without a file"
