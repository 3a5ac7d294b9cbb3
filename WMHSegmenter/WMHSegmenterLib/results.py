"""The numbers of a Result in the panel: volumes, Fazekas, uncertainty."""

import qt
from slicer.i18n import tr as _

# Machine name and short title, in the order of the table; the tooltip has the engine's own.
ROWS = (
    ("total_volume", _("White matter hyperintensities")),
    ("periventricular_volume", _("Periventricular")),
    ("deep_volume", _("Deep")),
    ("icv_volume", _("Intracranial volume")),
    ("total_percent_icv", _("Share of intracranial volume")),
    ("lesion_count", _("Lesions")),
    ("lesion_count_periventricular", _("Periventricular lesions")),
    ("lesion_count_deep", _("Deep lesions")),
    ("largest_lesion_volume", _("Largest lesion")),
)
WARNING = "#c62828"
ROW_HEIGHT = 22  # pixels


class ResultsView:
    """Writes into the widgets of the section Results; None empties them."""

    def __init__(self, ui):
        self.ui = ui
        table = ui.volumesTable
        table.verticalHeader().visible = False
        table.verticalHeader().defaultSectionSize = ROW_HEIGHT
        table.setFixedHeight(ROW_HEIGHT * len(ROWS) + table.horizontalHeader().sizeHint.height() + 4)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)

    def write(self, result):
        self._write_volumes(result)
        self.ui.fazekasValue.text = fazekas_text(result) if result else ""
        self.ui.uncertaintyValue.text = uncertainty_text(result) if result else ""

    def _write_volumes(self, result):
        table = self.ui.volumesTable
        table.setRowCount(len(ROWS) if result else 0)
        table.setColumnHidden(2, not (result and result.edited))
        if result is None:
            return
        automatic = (result.automatic or result).measurements
        for row, (name, title) in enumerate(ROWS):
            now = result.measurements[name]
            title = f"{title} ({now.unit})" if now.unit else title
            for column, text in enumerate((title, number(automatic[name].value), number(now.value))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(f"{now.title}. {now.source}")
                table.setItem(row, column, item)


def number(value):
    """A measured value for a narrow table; a dash where it could not be measured."""
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def fazekas_text(result):
    """The three readings, and whether they agree."""
    grades = result.fazekas
    lines = []
    if grades.periventricular is None:
        lines.append(_("Shape: cannot be graded, as no ventricle was found"))
    else:
        lines.append(
            _("Shape: periventricular {near}, deep {far}, total {total}").format(
                near=grades.periventricular, far=grades.deep, total=grades.total
            )
        )
    lines.append(_("Total volume: grade {grade}").format(grade=grades.volume_grade))
    if grades.likelihood_periventricular is not None:
        lines.append(
            _("Likeliest by volume: periventricular {near}, deep {far}").format(
                near=likeliest(grades.likelihood_periventricular), far=likeliest(grades.likelihood_deep)
            )
        )
    if grades.agreement is False:
        lines.append(flagged(_("The readings disagree.") + " " + " ".join(grades.conflicts)))
    elif grades.agreement:
        lines.append(_("The readings agree."))
    return "<br>".join(lines)


def likeliest(shares):
    """The likeliest grade with its share, such as "2 (0.58)"."""
    grade = max(shares, key=shares.get)
    return f"{grade} ({shares[grade]:.2f})"


def uncertainty_text(result):
    """The index, and the flag for a review."""
    from csvd.measure.uncertainty import REVIEW_LIMIT

    index = (result.automatic or result).measurements["uncertainty_index"].value
    if not isinstance(index, float):
        return _("No lesions")
    if index >= REVIEW_LIMIT:
        return flagged(_("{index}: review recommended").format(index=f"{index:.2f}"))
    return _("{index}, below the review limit of {limit}").format(index=f"{index:.2f}", limit=f"{REVIEW_LIMIT:g}")


def flagged(text):
    return f'<span style="color: {WARNING}"><b>{text}</b></span>'
