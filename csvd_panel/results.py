"""The numbers of a Result in the panel: volumes, counts, the three readings of Fazekas, uncertainty."""

import qt
from slicer.i18n import tr as _

# Machine name and short title, in the order of the table; the tooltip has the engine's own. What a result does not
# have, such as the sides without a midplane or classes that are of CT alone, has no row.
ROWS = (
    ("total_volume", _("Total {marker}")),
    ("periventricular_volume", _("Periventricular")),
    ("deep_volume", _("Deep")),
    ("left_volume", _("Left-sided")),
    ("right_volume", _("Right-sided")),
    ("asymmetry_index", _("Asymmetry, left to right")),
    ("burden_class", _("Burden class")),
    ("stroke_quarter", _("Quarter among stroke patients")),
    ("icv_volume", _("Intracranial volume")),
    ("total_percent_icv", _("Share of intracranial volume")),
    ("lesion_count", _("Lesions")),
    ("lesion_count_periventricular", _("Periventricular lesions")),
    ("lesion_count_deep", _("Deep lesions")),
    ("largest_lesion_volume", _("Largest lesion")),
    ("fazekas_periventricular", _("Fazekas by shape, periventricular")),
    ("fazekas_deep", _("Fazekas by shape, deep")),
    ("fazekas_volume_grade", _("Fazekas by total volume")),
    ("fazekas_likelihood_periventricular", _("Likeliest Fazekas, periventricular")),
    ("fazekas_likelihood_deep", _("Likeliest Fazekas, deep")),
)
LIKELIHOOD = "fazekas_likelihood_"
WARNING = "#c62828"
ROW_HEIGHT = 22  # pixels


class ResultsView:
    """Writes into the widgets of the section Results; None empties them."""

    def __init__(self, ui, marker):
        self.ui = ui
        self._marker, self._tip = marker, ui.fazekasValue.toolTip
        table = ui.volumesTable
        table.verticalHeader().visible = False
        table.verticalHeader().defaultSectionSize = ROW_HEIGHT
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)

    def write(self, result):
        self._write_table(result)
        ui = self.ui
        if result is None:
            ui.fazekasValue.text = ui.uncertaintyValue.text = ""
            return
        agreement, conflicts = result.fazekas.agreement, result.fazekas.conflicts
        ui.fazekasValue.text = {
            True: _("the three readings agree"),
            False: flagged(_("the three readings disagree")),
            None: _("only one reading, as no ventricle was found"),
        }[agreement]
        ui.fazekasValue.toolTip = " ".join(conflicts) or self._tip
        ui.uncertaintyValue.text = uncertainty_text(result)

    def _write_table(self, result):
        table = self.ui.volumesTable
        rows = [(name, title) for name, title in ROWS if result and has(result, name)]
        table.setRowCount(len(rows))
        fit(table, len(rows))
        table.setColumnHidden(2, not (result and result.edited))
        for row, (name, title) in enumerate(rows):
            title = title.format(marker=self._marker.short)
            before, _source, _unit = value(result.automatic or result, name)
            now, source, unit = value(result, name)
            for column, text in enumerate((f"{title} ({unit})" if unit else title, before, now)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(source)
                table.setItem(row, column, item)


def fit(table, rows):
    """Make a table as high as its rows, so that it needs no scroll bar."""
    table.setFixedHeight(ROW_HEIGHT * rows + table.horizontalHeader().sizeHint.height() + 4)


def has(result, name):
    """Whether there is something to tell in a row."""
    return name in result.measurements or name.startswith(LIKELIHOOD)


def value(result, name):
    """Text, source and unit of one row; a dash where nothing could be measured."""
    if name.startswith(LIKELIHOOD):
        shares = getattr(result.fazekas, name.removeprefix("fazekas_"))
        source = result.measurements[f"{name}_2"].source
        return (likeliest(shares) if shares else "-"), source, ""
    return told(result.measurements[name])


def told(measurement):
    """Text, source and unit of a measurement; a dash where nothing could be measured."""
    source = f"{measurement.title}. {measurement.source}"
    if measurement.value is None:
        return "-", source, measurement.unit
    if isinstance(measurement.value, float):
        return f"{measurement.value:.2f}", source, measurement.unit
    return str(measurement.value), source, measurement.unit


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
