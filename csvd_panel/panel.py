"""The panel of a module for one scan: which is chosen, what is shown of it, and what follows what."""

from slicer.i18n import tr as _

from csvd_panel.base import BasePanel
from csvd_panel.display import Display
from csvd_panel.parameters import ZoneRule
from csvd_panel.results import ResultsView
from csvd_panel.review import ReviewSection
from csvd_slicer.review import decided_by_reader
from csvd_slicer.scene import edited_by_reader, find, follow_edit, result_from_nodes, update
from csvd_slicer.segments import read_segments
from csvd_slicer.volumes import image_from_node


class Panel(BasePanel):
    """A module says which class its parameters have, and which of them is the scan."""

    SCAN = ""

    def __init__(self, ui, logic, parent):
        super().__init__(ui, logic, parent)
        self.marker = logic.marker
        self.results = ResultsView(ui, self.marker)
        self.review = ReviewSection(ui, self.marker, parent, self._change)
        self.display = Display()

    @property
    def scan(self):
        """The chosen volume, or None."""
        return getattr(self.parameters, self.SCAN)

    def on_node_removed(self, node):
        if self.parameters is None:
            return
        if node is self.scan:
            self.run.cancel(_("Cancelled, since the {image} was removed.").format(image=self.marker.image))
        if self.nodes is not None and node in (self.nodes.scan, self.nodes.segmentation, self.nodes.probability):
            self._let_go()

    # Parameters

    def _watched(self):
        p = self.parameters
        return {
            "scan": self.scan,
            "model": p.model,
            "settings": (p.threshold, p.pvDistance, p.pvRule),
            "display": (p.displayMode, p.opacity, p.showUncertainty),
        }

    def _choose_model(self, model):
        """A model brings its own threshold; a result that is shown keeps the one it has."""
        super()._choose_model(model)
        if self.result is None:
            self.parameters.threshold = self.logic.models()[model].get("threshold", 0.5)

    def _take_up(self):
        self.run.check(image_from_node(self.scan, slanted=self.marker.slanted))
        nodes = find(self.scan, self.marker)
        if nodes is not None:
            self._take(nodes, result_from_nodes(nodes))

    # A run

    def _nothing_chosen(self):
        return "" if self.scan is not None else _("Choose a {image} volume first").format(image=self.marker.image)

    def _start_run(self):
        nodes = find(self.scan, self.marker)
        if nodes is not None and (edited_by_reader(nodes) or decided_by_reader(nodes)):
            question = _(
                "The segments of {name} were edited or reviewed. A new run replaces them: edits and decisions are "
                "lost (Undo in the section Edit brings the segments back). Run again?"
            )
            if not self._agree(question.format(name=self.scan.GetName())):
                return None
        return self._prepare(self.scan, threshold=self.parameters.threshold)

    def _put(self, result):
        return self.logic.show(result, self.scan, save_state=self._save_state())

    # What is shown

    def _segmentations(self):
        return [self.nodes.segmentation]

    def _take_settings(self):
        p, settings = self.parameters, self.result.parameters
        p.threshold, p.pvDistance = settings["threshold"], settings["pv_distance_mm"]
        p.pvRule = ZoneRule(settings["pv_rule"])

    def _refresh(self):
        self.results.write(self.result)
        self.ui.show3DButton.setSegmentationNode(self.nodes.segmentation if self.nodes is not None else None)
        super()._refresh()

    def _draw(self):
        self.display.apply(self.parameters, self.nodes)

    # Edits and settings

    def _follow_edit(self):
        self._change(lambda nodes, result, save: follow_edit(nodes, result))

    def _follow_settings(self):
        """Another threshold, distance or rule: segments and numbers follow, no network runs."""
        if self.result is None or self.run.runner.running:
            return
        p, now = self.parameters, self.result.parameters
        wanted = {"threshold": p.threshold, "pv_distance_mm": p.pvDistance, "pv_rule": p.pvRule.value}
        new = {name: value for name, value in wanted.items() if value != now[name]}
        if not new:
            return
        loses_edits = "threshold" in new and self._has_edits()
        if loses_edits and not self._agree(
            _(
                "Another threshold outlines the lesions anew: painted, erased, deleted and moved ones are lost (Undo "
                "in the section Edit brings them back); what was marked as not {marker} stays. Go on?"
            ).format(marker=self.marker.short)
        ):
            p.threshold = now["threshold"]
            return
        self._change(
            lambda nodes, result, save: update(nodes, result.remeasure(**new), save_state=save if loses_edits else None)
        )

    def _has_edits(self):
        """Whether the reader changed the segments beyond rejecting some."""
        if not self.result.edited:
            return False
        rejected = read_segments(self.nodes.segmentation, self.nodes.scan).rejected > 0
        return bool(((self.result.labels != self.result.automatic.labels) & ~rejected).any())
