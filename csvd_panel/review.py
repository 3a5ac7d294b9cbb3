"""The section of the panel in which a reader goes from lesion to lesion and decides."""

import qt
import slicer
from slicer.i18n import tr as _

from csvd_panel.results import ROW_HEIGHT
from csvd_slicer.review import decide, highlight, jump_to, progress, remove_highlight, review_items

SHORTCUTS = {"nextButton": "N", "previousButton": "Shift+N", "acceptButton": "Shift+A", "deleteButton": "Shift+D"}
DECISIONS = {
    "acceptButton": "accepted",
    "deleteButton": "deleted",
    "periventricularButton": "periventricular",
    "deepButton": "deep",
    "infarctButton": "infarct",
    "artefactButton": "artefact",
    "otherButton": "other",
}


class ReviewSection:
    """Args:
    marker: what the lesions are.
    change: called with a function of (nodes, result, save_state) -> Result that changes the segments; shows what it
        gives or says what is wrong.
    """

    def __init__(self, ui, marker, parent, change):
        self.ui, self._change = ui, change
        ui.rejectLabel.text = _("Not {marker}:").format(marker=marker.short)
        self._nodes, self._result, self._items, self._current = None, None, [], None
        self._written = []  # the texts in the table, row by row
        table = ui.lesionTable
        table.verticalHeader().visible = False
        table.verticalHeader().defaultSectionSize = ROW_HEIGHT
        table.horizontalHeader().highlightSections = False
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(3, qt.QHeaderView.Stretch)
        table.connect("itemSelectionChanged()", self._on_selected)
        ui.nextButton.connect("clicked()", lambda: self._step(1))
        ui.previousButton.connect("clicked()", lambda: self._step(-1))
        for name, decision in DECISIONS.items():
            getattr(ui, name).connect("clicked()", lambda decision=decision: self._decide(decision))
        self._shortcuts = []
        for name, keys in SHORTCUTS.items():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), parent)
            shortcut.connect("activated()", getattr(ui, name).click)
            self._shortcuts.append(shortcut)
        self.listen(False)

    def listen(self, on):
        """Whether the keys work; not while another module is open."""
        for shortcut in self._shortcuts:
            shortcut.enabled = on

    def show(self, nodes, result):
        """List the lesions of `result`; the lesion that was current stays so. None empties the list."""
        if nodes is None or self._nodes is None or nodes.segmentation is not self._nodes.segmentation:
            self._current = None
        self._nodes, self._result = nodes, result
        self._items = review_items(nodes, result) if nodes is not None else []
        table = self.ui.lesionTable
        was = table.blockSignals(True)
        self._write([_cells(item) for item in self._items])
        table.clearSelection()
        current = self._row_of_current()
        if current is not None:
            table.selectRow(current)
        table.blockSignals(was)
        if current is None:
            self._current = None
            remove_highlight(slicer.mrmlScene)
        else:
            highlight(nodes, self._items[current])
        self._show_progress()

    def _write(self, rows):
        """Only the cells that changed, as an edit changes few of some hundred lesions."""
        table = self.ui.lesionTable
        table.setRowCount(len(rows))
        for row, cells in enumerate(rows):
            before = self._written[row] if row < len(self._written) else (None,) * len(cells)
            for column, text in enumerate(cells):
                if text != before[column]:
                    table.setItem(row, column, qt.QTableWidgetItem(text))
        self._written = rows

    def _row_of_current(self):
        """The row of the lesion that holds the voxel that was looked at last."""
        if self._current is None:
            return None
        for row, item in enumerate(self._items):
            if any((item.voxels[0] == self._current[0]) & (item.voxels[1] == self._current[1])
                   & (item.voxels[2] == self._current[2])):  # fmt: skip
                return row
        return None

    def _show_progress(self):
        ui = self.ui
        if self._nodes is None:
            ui.reviewLabel.text = ""
        elif not self._items and not progress(self._nodes, [], self._result)[1]:
            ui.reviewLabel.text = _("No lesions were found.")
        else:
            decided, total = progress(self._nodes, self._items, self._result)
            ui.reviewLabel.text = _("{decided} of {total} lesions decided.").format(decided=decided, total=total)
        for name in ("nextButton", "previousButton"):
            getattr(ui, name).enabled = bool(self._items)
        for name in DECISIONS:
            getattr(ui, name).enabled = self._current is not None

    def _on_selected(self):
        row = self.ui.lesionTable.currentRow()
        if 0 <= row < len(self._items):
            item = self._items[row]
            self._current = item.voxel
            highlight(self._nodes, item)
            jump_to(self._nodes, item)
            self._show_progress()

    def _step(self, by):
        if self._items:
            row = self._row_of_current()
            self._go_to((row + by) % len(self._items) if row is not None else 0 if by > 0 else len(self._items) - 1)

    def _go_to(self, row):
        table = self.ui.lesionTable
        table.clearSelection()
        table.setCurrentCell(row, 0)
        if self._current != self._items[row].voxel:  # the same row again tells nobody
            self._on_selected()

    def _decide(self, decision):
        row = self._row_of_current()
        if row is None:
            return
        item = self._items[row]
        if not self._change(lambda nodes, result, save: decide(nodes, result, item, decision, save_state=save)):
            return
        count = len(self._items)
        rest = [n % count for n in range(row, row + count)]
        undecided = [n for n in rest if not self._items[n].decision]
        if undecided:
            self._go_to(undecided[0])


def _cells(item):
    lesion = item.lesion
    zones = {"periventricular": _("periventricular"), "deep": _("deep"), "unknown": _("unknown")}
    decisions = {"": "", "accepted": _("accepted"), **{zone: _("moved here") for zone in ("periventricular", "deep")}}
    return (
        str(lesion.id),
        f"{100 * lesion.uncertain_share:.0f} %",
        f"{lesion.volume_ml:.2f}" if lesion.volume_ml >= 0.01 else f"{lesion.volume_ml:.3f}",
        zones[lesion.zone],
        decisions[item.decision],
    )
