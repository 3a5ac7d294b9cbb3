"""The section of the panel that compares the CT with a FLAIR of the same patient."""

import qt
from slicer.i18n import tr as _

from csvd.errors import CsvdError
from csvd_panel.results import ROW_HEIGHT, fit
from csvd_panel.run import ERROR
from csvd_slicer.comparison import agreement
from csvd_slicer.running import Runner


class ComparisonSection:
    """Compares what the panel shows; `show` says what that is, `choose` with which FLAIR."""

    def __init__(self, ui, logic, parent):
        self.ui, self.logic = ui, logic
        self._nodes = self._result = self._flair = None
        self._device = "auto"
        timer = qt.QTimer(parent)
        self.runner = Runner(timer, self._on_done, self._on_error, self._on_progress)
        timer.connect("timeout()", self.runner.poll)
        ui.compareButton.connect("clicked(bool)", self._on_compare)
        table = ui.comparisonTable
        table.verticalHeader().visible = False
        table.verticalHeader().defaultSectionSize = ROW_HEIGHT
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        fit(table, 1)

    def choose(self, flair, device):
        if flair is not self._flair and self.runner.running:
            self.cancel("")
        self._flair, self._device = flair, device
        self._update_button()

    def show(self, nodes, result):
        """Compare `result` anew, without a network, with the FLAIR that `nodes` were compared with before."""
        if nodes is None or self._nodes is None or nodes.segmentation is not self._nodes.segmentation:
            self.cancel("")
            self._say("")
        self._nodes, self._result = nodes, result
        ui = self.ui
        try:
            found = agreement(nodes, result) if nodes is not None else None
        except CsvdError as error:
            self._on_error(str(error))
            found = None
        ui.comparisonTable.visible = found is not None
        ui.comparisonTable.setRowCount(1 if found else 0)
        if found is not None:
            self._say(_("{flair}: {quality}").format(flair=found.flair, quality=found.quality))
            for column, value in enumerate((found.ct_ml, found.flair_ml, found.difference_ml, found.dice)):
                ui.comparisonTable.setItem(0, column, qt.QTableWidgetItem(f"{value:.2f}"))
        self._update_button()
        ui.comparisonCollapsible.visible = nodes is not None

    def cancel(self, message):
        """Stop a comparison, if one is running; the scene is as it was before."""
        if self.runner.running:
            self.runner.cancel()
            self._say(message)
        self._update_button()

    def _update_button(self):
        ui, running = self.ui, self.runner.running
        ui.comparisonProgressBar.visible = running
        ui.compareButton.enabled = running or (self._nodes is not None and self._flair is not None)
        ui.compareButton.text = _("Cancel") if running else _("Compare")
        if running:
            ui.compareButton.toolTip = _("Stop; the scene stays as it was")
        elif self._flair is None:
            ui.compareButton.toolTip = _("Choose a FLAIR volume first")
        else:
            ui.compareButton.toolTip = _("Lay the FLAIR on the CT, and compare volumes and outlines")

    def _on_compare(self):
        if self.runner.running:
            self.cancel(_("Cancelled. The scene is as it was."))
            return
        try:
            compute = self.logic.prepareComparison(self._result, self._flair, device=self._device)
        except CsvdError as error:
            self._on_error(str(error))
            return
        self.ui.comparisonProgressBar.value = 0
        self._say("")
        self.runner.start(compute)
        self._update_button()

    def _on_progress(self, share, step, seconds):
        self.ui.comparisonProgressBar.value = int(100 * share)

    def _on_done(self, found):
        try:
            self.logic.showComparison(self._nodes, self._flair, *found)
        except CsvdError as error:
            self._on_error(str(error))
            return
        self.show(self._nodes, self._result)

    def _on_error(self, text):
        self._say(text)
        self.ui.comparisonLabel.styleSheet = ERROR
        self._update_button()

    def _say(self, text):
        self.ui.comparisonLabel.styleSheet = ""
        self.ui.comparisonLabel.text = text
        self.ui.comparisonLabel.visible = bool(text)
