"""A study as files: the table of all cases, the statistics in words, and the pictures; all of them or none."""

import base64
import csv
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

import csvd
from csvd.cohort import plots
from csvd.cohort.statistics import Statistic
from csvd.cohort.study import Study
from csvd.errors import InputError
from csvd.measure.reference import citation
from csvd.measure.zscore import MARKERS
from csvd.report.elements import ABSENT, exact, table
from csvd.report.folder import write_together
from csvd.report.html import NOT_A_DEVICE
from csvd.report.tables import plain

PICTURES = ("agreement", "grades", "quintiles", "burden")


def save(study: Study, table_path: Path) -> dict[str, Path]:
    """Write ``table_path`` (CSV) and beside it, under the same name, the HTML report and its PNG pictures.

    Pictures of an earlier run that this study has no use for go away. Returns what was written, by file name. Raises
    ``InputError`` where nothing can be written or matplotlib is missing.
    """
    plots.check_matplotlib()
    stem = table_path.stem
    try:
        return write_together(
            table_path.absolute().parent,
            lambda draft: _write(study, draft, table_path.name, stem),
            retired=[f"{stem}_{picture}.png" for picture in PICTURES],
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"Cannot write {table_path}: {reason}; choose another place.") from error


def _write(study: Study, folder: Path, table_name: str, stem: str) -> None:
    _write_table(study, folder / table_name)
    pictures = {name: folder / f"{stem}_{name}.png" for name in PICTURES}
    _draw(study, pictures)
    (folder / f"{stem}.html").write_text(render(study, pictures), encoding="utf-8")


def _write_table(study: Study, path: Path) -> None:
    cases, columns = study.cohort.cases, list(study.cohort.columns)
    others, truths = (study.truth.columns, study.truth.rows) if study.truth else ((), {})
    header = ["id", *columns, *(f"truth_{name}" for name in others), "cohort_quintile"]
    header += [*(f"cohort_z_{marker}" for marker in MARKERS), "cohort_z_burden", "cohort_z_markers"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for case in cases:
            burden = study.burdens[case.id]
            row = [case.id, *(case.value(name) for name in columns)]
            row += [truths.get(case.id, {}).get(name) for name in others]
            row += [study.quintiles.get(case.id), *(burden.z.get(marker) for marker in MARKERS)]
            row += [burden.total, f"{len(burden.z)} of {len(MARKERS)}"]
            writer.writerow(["" if cell is None else cell for cell in map(plain, row)])


def _draw(study: Study, to: dict[str, Path]) -> None:
    found = {row.name: row for row in study.agreement}
    label, grade = study.measured.label, study.question.grade
    if "bias" in found:
        truth = np.array(list(study.reference_values.values()))
        ours = np.array([study.values[case] for case in study.reference_values])
        plots.plot_agreement(ours, truth, found, (label, f"Reference: {study.question.column}"), to["agreement"])
    if study.groups:
        plots.plot_groups(study.groups, label, grade, to["grades"])
    if study.quintiles:
        plots.plot_quintiles(study.values, study.quintiles, study.grades, label, grade, to["quintiles"])
    burdens = [burden for burden in study.burdens.values() if burden.total is not None]
    if burdens:
        plots.plot_burden([b.z for b in burdens], [b.total for b in burdens], MARKERS, to["burden"])


def render(study: Study, pictures: dict[str, Path]) -> str:
    """The report as HTML text, with those of ``pictures`` in it that exist."""
    n = len(study.cohort.cases)
    body = [
        f'<header><div class="kicker">Cohort</div><h1>{n} {"case" if n == 1 else "cases"}</h1>'
        f'<p class="disclaimer"><strong>{escape(NOT_A_DEVICE)}</strong></p></header>',
        _notes(study.notes),
        _agreement(study, pictures["agreement"]),
        _grades(study, pictures["grades"]),
        _quintiles(study, pictures["quintiles"]),
        _burden(study, pictures["burden"]),
        f"<footer>{escape(NOT_A_DEVICE)}</footer>",
    ]
    unused = dict.fromkeys(("gradient", "periventricular", "deep", "ventricles"), "none")
    return Template(files("csvd.report").joinpath("template.html").read_text(encoding="utf-8")).substitute(
        generator=f"csvd {csvd.__version__}", title=f"Cohort of {n}", body="\n".join(filter(None, body)), **unused
    )


def _notes(notes: Sequence[str]) -> str:
    rows = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<div class="notice"><h2>Before you read on</h2><ul>{rows}</ul></div>' if notes else ""


def _agreement(study: Study, picture: Path) -> str:
    if not study.agreement:
        return ""
    title = f"{study.measured.title} against {study.question.column} (n={study.agreement[0].n})"
    return _section(title, _statistics(study.agreement), _picture(picture, "agreement"))


def _grades(study: Study, picture: Path) -> str:
    if not study.differences:
        return ""
    rows = []
    for group in study.groups:
        low, middle, high = np.percentile(group.values, [25, 50, 75])
        sd = exact(float(group.values.std(ddof=1))) if len(group.values) > 1 else ABSENT
        rows.append(
            (
                group.grade,
                len(group.values),
                exact(float(group.values.mean())),
                sd,
                f"{middle:.4g} ({low:.4g}-{high:.4g})",
            )
        )
    groups = table((study.question.grade, "n", "Mean", "SD", "Median (quartiles)"), rows, numbers=(1, 2, 3, 4))
    n = sum(len(group.values) for group in study.groups)
    title = f"{study.measured.label} by {study.question.grade} (n={n})"
    return _section(title, groups, _statistics(study.differences), _picture(picture, "boxes by grade"))


def _quintiles(study: Study, picture: Path) -> str:
    if not study.quintiles:
        return ""
    rows = []
    for quintile in range(1, 6):
        members = [study.values[case] for case, found in study.quintiles.items() if found == quintile]
        span = f"{min(members):.4g}-{max(members):.4g}" if members else ABSENT
        rows.append((quintile, len(members), span))
    limits = table(("Quintile", "n", f"Range ({study.measured.unit})"), rows, numbers=(1, 2))
    words = "<p>Limits are the 20th, 40th, 60th and 80th percentile of this cohort, no norm.</p>"
    return _section(
        f"Quintiles of {study.measured.title} (n={len(study.values)})", words, limits, _picture(picture, "quintiles")
    )


def _burden(study: Study, picture: Path) -> str:
    rows = []
    for marker, title in MARKERS.items():
        norm = study.reference.markers.get(marker)
        if norm is None:
            rows.append((title, ABSENT, ABSENT, ABSENT, f"None: {study.reference.unusable[marker]}"))
        else:
            scale = "log(1 + value)" if norm.transform == "log1p" else "value"
            rows.append((title, norm.n, f"{norm.mean:.4g}", f"{norm.sd:.4g}", f"of {scale}. {norm.source}"))
    words = (
        "Sum of the z-scores of the markers, as in " + escape(citation("mounet2025")) + ". It says where a case stands "
        "in the reference below and nothing else; sums over different markers must not be compared."
    )
    reference = table(("Marker", "n", "Mean", "SD", "Reference"), rows, numbers=(1, 2, 3), classes={4: "source"})
    return _section("Z-score burden", f"<p>{words}</p>", reference, _picture(picture, "z by case"))


def _statistics(found: Iterable[Statistic]) -> str:
    rows = [
        (
            row.title,
            row.n,
            f"{exact(row.value)} {row.unit}".strip(),
            ABSENT if row.low is None else f"{row.low:.4g} to {row.high:.4g}",
            row.note,
        )
        for row in found
    ]
    return table(("Statistic", "n", "Value", "95 % interval", "How"), rows, numbers=(1, 2, 3), classes={4: "source"})


def _section(title: str, *parts: str) -> str:
    return f"<h2>{escape(title)}</h2>" + "".join(parts)


def _picture(path: Path, what: str) -> str:
    if not path.exists():
        return ""
    png = base64.b64encode(path.read_bytes()).decode("ascii")
    size = "width: auto; max-width: 100%; max-height: 460px"
    return f'<figure><img src="data:image/png;base64,{png}" alt="{escape(what)}" style="{size}"></figure>'
