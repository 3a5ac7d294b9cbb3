"""The list of a panel by which a reader goes from lesion to lesion: select, step, jump, decide, keep one's place."""

import qt
import slicer

from csvd_panel.results import ROW_HEIGHT
from csvd_slicer.highlight import highlight, jump_to, remove_highlight


class ReviewList:
    """A section gives the methods that raise NotImplementedError here, and may refine others.

    Items have `voxels`, three arrays of indices (i, j, k) of their scan, and `voxel`, the one to jump to.

    Args:
        ui: has nextButton, previousButton, and a button for every name in `shortcuts` and `decisions`.
        stretched: the column of `table` that takes the room that is left.
        shortcuts: keys by the name of the button that they press.
        decisions: what the buttons decide on the lesion that is looked at, by their name.
    """

    def __init__(self, ui, table, parent, stretched, shortcuts, decisions):
        self.ui, self.table, self._decisions = ui, table, decisions
        self.items, self.current = [], None
        self._written = []  # the texts in the table, row by row
        table.verticalHeader().visible = False
        table.verticalHeader().defaultSectionSize = ROW_HEIGHT
        table.horizontalHeader().highlightSections = False
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(stretched, qt.QHeaderView.Stretch)
        table.connect("itemSelectionChanged()", self._on_selected)
        ui.nextButton.connect("clicked()", lambda: self.step(1))
        ui.previousButton.connect("clicked()", lambda: self.step(-1))
        for name, decision in decisions.items():
            getattr(ui, name).connect("clicked()", lambda decision=decision: self._on_decision(decision))
        self._shortcuts = []
        for name, keys in shortcuts.items():
            shortcut = qt.QShortcut(qt.QKeySequence(keys), parent)
            shortcut.connect("activated()", getattr(ui, name).click)
            self._shortcuts.append(shortcut)
        self.listen(False)

    def scan_of(self, item):
        raise NotImplementedError

    def name_of(self, item):
        raise NotImplementedError

    def cells_of(self, item):
        """The texts of its row."""
        raise NotImplementedError

    def is_decided(self, item):
        raise NotImplementedError

    def carry_out(self, row, decision):
        """Decide on the lesion of a row; returns the row from which to look for the next one, or None to stay."""
        raise NotImplementedError

    def show_progress(self):
        """Which buttons can be pressed; a section adds how far the review is."""
        for name in ("nextButton", "previousButton"):
            getattr(self.ui, name).enabled = bool(self.items)
        for name in self._decisions:
            getattr(self.ui, name).enabled = self.current is not None

    def is_same(self, item, before):
        """Whether an item is what the item `before` was when it was looked at."""
        return bool(((item.voxels[0] == before.voxel[0]) & (item.voxels[1] == before.voxel[1])
                     & (item.voxels[2] == before.voxel[2])).any())  # fmt: skip

    def listen(self, on):
        """Whether the keys work; not while another module is open."""
        for shortcut in self._shortcuts:
            shortcut.enabled = on

    def fill(self, items):
        """List `items`; the one that was current stays so."""
        self.items = items
        table = self.table
        was = table.blockSignals(True)
        self._write([self.cells_of(item) for item in items])
        table.clearSelection()
        row = self.row_of_current()
        if row is not None:
            table.selectRow(row)
        table.blockSignals(was)
        if row is None:
            self.current = None
            remove_highlight(slicer.mrmlScene)
        else:
            self._highlight(items[row])
        self.show_progress()

    def row_of_current(self):
        """The row of the lesion that was looked at last."""
        if self.current is None:
            return None
        return next((row for row, item in enumerate(self.items) if self.is_same(item, self.current)), None)

    def step(self, by):
        if self.items:
            row = self.row_of_current()
            self.go_to((row + by) % len(self.items) if row is not None else 0 if by > 0 else len(self.items) - 1)

    def go_to(self, row):
        self.table.clearSelection()
        self.table.setCurrentCell(row, 0)
        if self.current is None or not self.is_same(self.items[row], self.current):  # the same row again tells nobody
            self._on_selected()

    def go_to_undecided(self, row):
        """The first that is not decided on, from `row` on and round."""
        count = len(self.items)
        undecided = [n % count for n in range(row, row + count) if not self.is_decided(self.items[n % count])]
        if undecided:
            self.go_to(undecided[0])

    def look_at(self, item):
        """Bring a lesion into the slice views."""
        jump_to(self.scan_of(item), item.voxel)

    def _highlight(self, item):
        highlight(self.scan_of(item), item.voxels, self.name_of(item))

    def _on_selected(self):
        row = self.table.currentRow()
        if 0 <= row < len(self.items):
            self.current = self.items[row]
            self._highlight(self.current)
            self.look_at(self.current)
            self.show_progress()

    def _on_decision(self, decision):
        row = self.row_of_current()
        if row is not None:
            row = self.carry_out(row, decision)
        if row is not None:
            self.go_to_undecided(row)

    def _write(self, rows):
        """Only the cells that changed, as an edit changes few of some hundred lesions."""
        table = self.table
        table.setRowCount(len(rows))
        for row, cells in enumerate(rows):
            before = self._written[row] if row < len(self._written) else (None,) * len(cells)
            for column, text in enumerate(cells):
                if text != before[column]:
                    table.setItem(row, column, qt.QTableWidgetItem(text))
        self._written = rows
