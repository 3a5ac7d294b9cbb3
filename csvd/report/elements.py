"""The pieces of the HTML report: tables, cards, pictures, and numbers as a reader wants them. All text is escaped."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from csvd.report.figures import Tile

ABSENT = "\N{EN DASH}"
TIMES = " \N{MULTIPLICATION SIGN} "


def amount(value: float | None, finest: int = 2) -> str:
    """A volume (not negative) with at most `finest` decimals, one from 10 on; a dash where it does not exist."""
    if value is None:
        return ABSENT
    if value == 0:
        return "0"
    if value < 0.5 * 10**-finest:
        return f"< {10**-finest:g}"
    return f"{value:.1f}" if value >= 10 else f"{value:.{finest}f}"


def exact(value: float | int | str | None) -> str:
    """A measured value with up to four significant digits; whole numbers and words as they are."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def position(ras_mm: Sequence[float]) -> str:
    """A point in the world as a radiologist reads it: ``R 12  A 30  S 24``, in whole mm."""
    return "  ".join(f"{ends[mm < 0]} {abs(mm):.0f}" for mm, ends in zip(ras_mm, ("RL", "AP", "SI"), strict=True))


def flat(known: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """Nested mappings and lists as lines of a name and a text."""
    if isinstance(known, Mapping):
        for key, item in known.items():
            yield from flat(item, f"{name}, {key}" if name else str(key))
    elif isinstance(known, (list, tuple)) and any(isinstance(item, Mapping) for item in known):
        for number, item in enumerate(known, start=1):
            yield from flat(item, f"{name} {number}")
    elif known not in (None, "", [], ()):
        text = ", ".join(map(str, known)) if isinstance(known, (list, tuple)) else known
        yield name.replace("_", " "), f"{text:.4g}" if isinstance(text, float) else str(text)


def tiles(tiles: Sequence[Tile], what: str) -> str:
    figures = []
    for tile in tiles:
        width, height = tile.size
        source = "data:image/png;base64," + base64.b64encode(tile.png).decode("ascii")
        place = f"{abs(tile.superior_mm):.0f} mm {'S' if tile.superior_mm >= 0 else 'I'}"
        volume = f"{amount(tile.volume_ml)} mL" if tile.volume_ml else ""
        figures.append(
            f'<figure><img src="{source}" width="{width}" height="{height}" '
            f'alt="{escape(what)}, slice {tile.number} of {tile.count}">'
            f"<figcaption><span>{tile.number} / {tile.count} · {place}</span>"
            f"<span>{volume}</span></figcaption></figure>"
        )
    return f'<div class="tiles">{"".join(figures)}</div>'


def card(name: str, value: str, unit: str = "", more: str = "", kind: str = "") -> str:
    """A headline number with its name above and what it means below."""
    return (
        f'<div class="card {kind}"><div class="name">{escape(name)}</div>'
        f'<div class="value">{escape(value)} <small>{escape(unit)}</small></div>'
        f'<div class="more">{escape(more)}</div></div>'
    )


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    numbers: Sequence[int] = (),
    classes: Mapping[int, str] | None = None,
    head: bool = True,
) -> str:
    kinds = dict.fromkeys(numbers, "number") | dict(classes or {})
    attributes = [f' class="{kinds[column]}"' if column in kinds else "" for column in range(len(header))]
    top = "".join(f"<th{a}>{escape(name)}</th>" for a, name in zip(attributes, header, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{a}>{escape(str(cell))}</td>" for a, cell in zip(attributes, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table>{f'<thead><tr>{top}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
