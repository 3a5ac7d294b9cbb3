"""The section of the panel with the scores, what they are made of, and the reference of the Z-score."""

import qt
from slicer.i18n import tr as _

from csvd.errors import CsvdError, InputError
from csvd_panel.results import ROW_HEIGHT, fit, told
from csvd_slicer.burden_scene import update
from csvd_slicer.burden_tables import automatic_of

ROWS = (
    *("svd_score", "amended_svd_score", "caa_svd_score", "wmh_points", "z_burden"),
    *("total_volume", "z_total_volume", "microbleed_count", "microbleed_pattern", "z_microbleed_count"),
    *("lacune_count", "z_lacune_count", "perivascular_space_count", "z_perivascular_space_count"),
    *("pvs_grade_basal_ganglia", "pvs_grade_centrum_semiovale", "pvs_grade_midbrain"),
)
BY_READER = 2  # column of the inputs that a reader types into


class ScoresSection:
    """Args:
    change: called with a function of (nodes, result, save_states) -> BurdenResult; shows what it gives.
    complain: called with one sentence on what is wrong.
    """

    def __init__(self, ui, change, complain):
        self.ui, self._change, self._complain = ui, change, complain
        self.reference, self._result, self._sources, self._names = None, None, [], []
        for table in (ui.scoresTable, ui.inputsTable):
            table.verticalHeader().visible = False
            table.verticalHeader().defaultSectionSize = ROW_HEIGHT
            table.horizontalHeader().highlightSections = False
            table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
            for column in (1, 2):
                table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        ui.scoresTable.connect("itemSelectionChanged()", self._show_source)
        ui.inputsTable.connect("cellChanged(int,int)", self._on_input)
        ui.referenceButton.connect("clicked()", self._on_load)
        ui.removeReferenceButton.connect("clicked()", lambda: self._declare(None))
        self.show(None)

    def show(self, result):
        """None empties the tables; the reference that was loaded stays for the next run."""
        self._result = result
        if result is not None:
            self.reference = result.reference
        self._write_scores(result)
        self._write_inputs(result)
        self._show_reference()

    # Scores

    def _write_scores(self, result):
        table, before = self.ui.scoresTable, automatic_of(result) if result else None
        rows = [name for name in ROWS if result and name in result.measurements]
        self._sources = []
        table.setRowCount(len(rows))
        table.setColumnHidden(2, not (result and result.edited))
        for row, name in enumerate(rows):
            text, source, unit = told(result.measurements[name])
            automatic = told(before.measurements[name])[0]
            title = result.measurements[name].title
            self._sources.append(source)
            for column, cell in enumerate((f"{title} ({unit})" if unit else title, automatic, text)):
                item = qt.QTableWidgetItem(cell.partition(" (")[0] if column and name.endswith("_score") else cell)
                item.setToolTip(f"{cell}. {source}" if column and cell != "-" else source)
                table.setItem(row, column, item)
        fit(table, len(rows))
        self._show_source()

    def _show_source(self):
        row = self.ui.scoresTable.currentRow()
        chosen = 0 <= row < len(self._sources)
        self.ui.sourceLabel.text = self._sources[row] if chosen else _("Click a row to see its rule and source.")

    # Inputs

    def _write_inputs(self, result):
        from csvd.measure.scores import TITLES

        table = self.ui.inputsTable
        counted = as_counted(result).inputs if result else None
        self._names = [name for name in TITLES if name != "superficial_siderosis"] if result else []
        was = table.blockSignals(True)
        table.setRowCount(len(self._names))
        for row, name in enumerate(self._names):
            value, by_reader = getattr(counted, name), result.set_inputs.get(name)
            source = result.measurements[f"input_{name}"].source
            texts = (TITLES[name], _("missing") if value is None else str(value), _text(by_reader))
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(source if column != BY_READER else _("Type a number that wins; empty takes the count"))
                if column != BY_READER:
                    item.setFlags(qt.Qt.ItemIsEnabled)
                table.setItem(row, column, item)
        table.blockSignals(was)
        fit(table, len(self._names))
        table.visible = self.ui.inputsLabel.visible = bool(self._names)

    def _on_input(self, row, column):
        if column != BY_READER or self._result is None:
            return
        name, text = self._names[row], self.ui.inputsTable.item(row, column).text().strip()
        try:
            changed = self._result.with_inputs(**{name: _number(text)})
        except CsvdError as error:
            self._complain(str(error))
            self._write_inputs(self._result)
            return
        self._change(lambda nodes, result, saves: update(nodes, changed))

    # The reference

    def _on_load(self):
        path = qt.QFileDialog.getOpenFileName(
            self.ui.referenceButton, _("Reference of the Z-score"), "", _("Tables (*.csv)")
        )
        if not path:
            return
        from csvd.cohort.declared import declared_reference

        try:
            self._declare(declared_reference(path))
        except CsvdError as error:
            self._complain(str(error))

    def _declare(self, reference):
        self.reference = reference
        if self._result is not None:
            self._change(lambda nodes, result, saves: update(nodes, result.with_reference(reference)))
        else:
            self._show_reference()

    def _show_reference(self):
        ui, reference = self.ui, self.reference
        ui.removeReferenceButton.enabled = reference is not None
        if reference is None:
            ui.referenceLabel.text = _("No reference, so no Z-score: a single patient has none of his own.")
            return
        sources = dict.fromkeys(f"{row.source} (n={row.n})" for row in reference.markers.values())
        ui.referenceLabel.text = _("{count} of 4 markers: {sources}").format(
            count=len(reference.markers), sources="; ".join(sources)
        )


def as_counted(result):
    """The same edits and decisions, with every input as it was counted."""
    return result.with_inputs(**dict.fromkeys(result.set_inputs))


def _number(text):
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(
            _("An input of the scores is {text!r}: type a whole number, or nothing.").format(text=text)
        ) from None


def _text(value):
    return "" if value is None else str(value)
