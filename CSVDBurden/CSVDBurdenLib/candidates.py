"""The section of the panel in which a reader goes through the candidates of all markers and decides."""

from slicer.i18n import tr as _

from csvd_panel.review_list import ReviewList
from csvd_slicer.burden_review import decide, is_decided, progress, review_items
from csvd_slicer.burden_tables import counts_in_words

SHORTCUTS = {"nextButton": "N", "previousButton": "Shift+N", "acceptButton": "Shift+A", "rejectButton": "Shift+D"}
DECISIONS = {"acceptButton": True, "rejectButton": False, "undecideButton": None}


class CandidatesSection(ReviewList):
    """Args:
    change: called with a function of (nodes, result, save_states) -> BurdenResult; shows what it gives.
    bring: called with a sequence that is to be seen.
    """

    def __init__(self, ui, parent, change, bring):
        super().__init__(ui, ui.candidateTable, parent, 5, SHORTCUTS, DECISIONS)
        self._change, self._bring, self._nodes = change, bring, None

    def show(self, nodes, result):
        """List the candidates of `result`; the one that was current stays so. None empties the list."""
        if nodes is None or self._nodes is None or nodes.scores is not self._nodes.scores:
            self.current = None
        self._nodes = nodes
        self.fill(review_items(result) if nodes is not None else [])

    def scan_of(self, item):
        return self._nodes.scans[item.sequence]

    def name_of(self, item):
        return f"{item.candidate.marker} {item.candidate.id}"

    def is_decided(self, item):
        return is_decided(item)

    def is_same(self, item, before):
        return item.candidate.marker == before.candidate.marker and super().is_same(item, before)

    def look_at(self, item):
        self._bring(item.sequence)
        super().look_at(item)

    def cells_of(self, item):
        candidate = item.candidate
        names = {"microbleed": _("Microbleed"), "lacune": _("Lacune"), "perivascular_space": _("PVS")}
        return (
            names[candidate.marker],
            str(candidate.id),
            " ".join(filter(None, (candidate.region, candidate.hemisphere))) or "-",
            f"{candidate.diameter_mm:.1f}",
            f"{candidate.mean_probability:.2f}",
            counts_in_words(candidate),
        )

    def show_progress(self):
        super().show_progress()
        ui = self.ui
        decided, total = progress(self.items)
        ui.candidateLabel.text = _details(self.items[self.row_of_current()]) if self.current is not None else ""
        ui.candidateLabel.visible = self.current is not None
        if self._nodes is None:
            ui.reviewLabel.text = ""
        elif not self.items:
            ui.reviewLabel.text = _("No candidates were found.")
        else:
            ui.reviewLabel.text = _(
                "{decided} of {total} candidates decided; {other} more do not count, for their size or place."
            ).format(decided=decided, total=total, other=len(self.items) - total)

    def carry_out(self, row, decision):
        item = self.items[row]
        done = self._change(
            lambda nodes, result, saves: decide(nodes, result, item, decision, save_state=saves.get(item.sequence))
        )
        return (self.row_of_current() or 0) if done and decision is not None else None


def _details(item):
    """Sizes, probability and status of a candidate in one line."""
    c = item.candidate
    text = _("{length} x {width} mm, {volume} mm3, probability up to {p}. Counts: {counts}.").format(
        length=f"{c.longest_mm:.1f}", width=f"{c.shortest_mm:.1f}", volume=f"{c.volume_mm3:.0f}",
        p=f"{c.max_probability:.2f}", counts=counts_in_words(c),
    )  # fmt: skip
    return f"{text} {_('Measured within the slice.')}" if c.in_plane else text
