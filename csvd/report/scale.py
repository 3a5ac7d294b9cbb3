"""A ruler of total volumes with the published cut-offs, as inline SVG."""

import math
from html import escape

from csvd.measure.reference import cutoff

WIDTH, LEFT, RIGHT = 984, 10, 974
LOWEST_ML, HIGHEST_ML = 0.1, 100.0
"""Ends of the ruler. A choice: it spans what is met in adults; what lies beyond is drawn at the end."""

GRADES = ("below mild", "mild", "moderate", "severe")
INK, RED = "#3d4955", "#c2410c"
SHADES = ("#e7eef1", "#cfdfe4", "#afcad3", "#8fb5c1")


def volume_scale(total_ml: float, image: str = "FLAIR") -> str:
    """Where a total volume (mL) on `image` lies among the Fazekas cut-offs of Joo 2022, on a logarithmic ruler."""
    cut = cutoff("total_volume")
    edges = (LOWEST_ML, *cut.value, HIGHEST_ML)
    drawn = []
    for low, high, grade, shade in zip(edges, edges[1:], GRADES, SHADES, strict=False):
        left, right = _x(low), _x(high)
        drawn.append(f'<rect x="{left:.1f}" y="18" width="{right - left:.1f}" height="22" fill="{shade}"/>')
        drawn.append(_text((left + right) / 2, 33, grade))
    drawn += [_text(_x(ml), 55, f"{ml:g}") for ml in cut.value]
    drawn += [_text(LEFT, 55, f"{LOWEST_ML:g} mL", "start"), _text(RIGHT, 55, f"{HIGHEST_ML:g} mL", "end")]
    at = _x(total_ml)
    drawn.append(f'<path d="M{at:.1f} 40 v-22 l-7 -13 h14 l-7 13" fill="{RED}" stroke="{RED}" stroke-width="2"/>')
    seen = "" if image == "FLAIR" else " on FLAIR"
    drawn.append(_text(LEFT, 78, f"Fazekas grade that goes with the total volume{seen}: {cut.source}", "start"))
    return (
        f'<svg viewBox="0 0 {WIDTH} 84" role="img" aria-label="{total_ml:.3g} mL among the published cut-offs" '
        f'font-family="inherit" font-size="12" fill="{INK}">{"".join(drawn)}</svg>'
    )


def _x(volume_ml: float) -> float:
    bounded = min(max(volume_ml, LOWEST_ML), HIGHEST_ML)
    return LEFT + (RIGHT - LEFT) * math.log(bounded / LOWEST_ML) / math.log(HIGHEST_ML / LOWEST_ML)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'
