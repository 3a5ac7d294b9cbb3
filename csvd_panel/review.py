"""The section of the panel in which a reader goes from lesion to lesion and decides."""

from slicer.i18n import tr as _

from csvd_panel.review_list import ReviewList
from csvd_slicer.review import decide, progress, review_items

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


class ReviewSection(ReviewList):
    """Args:
    marker: what the lesions are.
    change: called with a function of (nodes, result, save_state) -> Result that changes the segments; shows what it
        gives or says what is wrong.
    """

    def __init__(self, ui, marker, parent, change):
        super().__init__(ui, ui.lesionTable, parent, 3, SHORTCUTS, DECISIONS)
        self._change = change
        ui.rejectLabel.text = _("Not {marker}:").format(marker=marker.short)
        self._nodes = self._result = None

    def show(self, nodes, result):
        """List the lesions of `result`; the lesion that was current stays so. None empties the list."""
        if nodes is None or self._nodes is None or nodes.segmentation is not self._nodes.segmentation:
            self.current = None
        self._nodes, self._result = nodes, result
        self.fill(review_items(nodes, result) if nodes is not None else [])

    def scan_of(self, item):
        return self._nodes.scan

    def name_of(self, item):
        return f"Lesion {item.lesion.id}"

    def is_decided(self, item):
        return bool(item.decision)

    def cells_of(self, item):
        lesion = item.lesion
        zones = {"periventricular": _("periventricular"), "deep": _("deep"), "unknown": _("unknown")}
        moved = {zone: _("moved here") for zone in ("periventricular", "deep")}
        decisions = {"": "", "accepted": _("accepted"), **moved}
        return (
            str(lesion.id),
            f"{100 * lesion.uncertain_share:.0f} %",
            f"{lesion.volume_ml:.2f}" if lesion.volume_ml >= 0.01 else f"{lesion.volume_ml:.3f}",
            zones[lesion.zone],
            decisions[item.decision],
        )

    def show_progress(self):
        super().show_progress()
        ui = self.ui
        if self._nodes is None:
            ui.reviewLabel.text = ""
        elif not self.items and not progress(self._nodes, [], self._result)[1]:
            ui.reviewLabel.text = _("No lesions were found.")
        else:
            decided, total = progress(self._nodes, self.items, self._result)
            ui.reviewLabel.text = _("{decided} of {total} lesions decided.").format(decided=decided, total=total)

    def carry_out(self, row, decision):
        item = self.items[row]
        done = self._change(lambda nodes, result, save: decide(nodes, result, item, decision, save_state=save))
        return row if done else None
