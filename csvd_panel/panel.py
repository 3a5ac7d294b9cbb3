"""The panel of a module between its sections: which scan is chosen, what is shown of it, and what follows what."""

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from csvd.errors import CsvdError
from csvd_panel.display import Display
from csvd_panel.edit import EditSection, edit_events
from csvd_panel.parameters import ZoneRule
from csvd_panel.results import ResultsView
from csvd_panel.review import ReviewSection
from csvd_panel.run import RunSection
from csvd_slicer.review import decided_by_reader
from csvd_slicer.scene import edited_by_reader, find, follow_edit, result_from_nodes, update
from csvd_slicer.segments import read_segments
from csvd_slicer.volumes import image_from_node

# A choice: edits and moves of a slider that come closer together than this are measured once.
PAUSE_MS = 20


class Panel(VTKObservationMixin):
    """`nodes` and `result` are what is shown of the chosen scan; None before a run.

    Between `close` and `open` the panel holds nothing of the scene. A module says which class its parameters have, and
    which of them is the scan.
    """

    Parameters, SCAN = None, ""

    def __init__(self, ui, logic, parent):
        VTKObservationMixin.__init__(self)
        self.ui, self.logic, self.marker = ui, logic, logic.marker
        self.parameters = self.nodes = self.result = None
        self._gui_tag, self._seen, self._writing = None, {}, False
        self._edit_timer = self._pause(parent, self._follow_edit)
        self._settings_timer = self._pause(parent, self._follow_settings)
        self.run = RunSection(
            ui, logic, parent, self._start_run, self._show_run, self._reason_not_to_run, self._chosen_model
        )
        self.results = ResultsView(ui, self.marker)
        self.review = ReviewSection(ui, self.marker, parent, self._change)
        self.edit, self.display = EditSection(ui, logic.moduleName), Display()
        for model, card in logic.models().items():
            ui.modelComboBox.addItem(card["title"], model)
        ui.modelComboBox.connect("currentIndexChanged(int)", self._on_model)
        ui.thresholdSlider.connect("valueChanged(double)", self._on_slider)

    @property
    def scan(self):
        """The chosen volume, or None."""
        return getattr(self.parameters, self.SCAN)

    @staticmethod
    def _pause(parent, slot):
        timer = qt.QTimer(parent)
        timer.setSingleShot(True)
        timer.setInterval(PAUSE_MS)
        timer.connect("timeout()", slot)
        return timer

    def open(self):
        """Take up what the scene holds, and follow it."""
        if self.parameters is not None:
            return
        self.parameters, self._seen = self.Parameters(self.logic.getParameterNode()), {}
        models = self.logic.models()
        if models and self.parameters.model not in models:
            self._choose_model(next(iter(models)))
        self._gui_tag = self.parameters.connectGui(self.ui)
        self.addObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self.edit.open()
        self.review.listen(True)
        self._on_parameters()

    def close(self, message):
        """Cancel a run, saying why, and let go of the scene."""
        self.run.cancel(message)
        if self.parameters is None:
            return
        self.run.forget_check()
        self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self._on_parameters)
        self.parameters.disconnectGui(self._gui_tag)
        self._let_go()
        self.parameters = None
        self.review.listen(False)
        self.edit.close()
        self.run.update_apply()

    def on_node_removed(self, node):
        if self.parameters is None:
            return
        if node is self.scan:
            self.run.cancel(_("Cancelled, since the {image} was removed.").format(image=self.marker.image))
        if self.nodes is not None and node in (self.nodes.scan, self.nodes.segmentation, self.nodes.probability):
            self._let_go()

    # Parameters

    def _on_parameters(self, caller=None, event=None):
        p = self.parameters
        now = {
            "scan": self.scan,
            "model": p.model,
            "settings": (p.threshold, p.pvDistance, p.pvRule),
            "display": (p.displayMode, p.opacity, p.showUncertainty),
        }
        before, self._seen = self._seen, now
        changed = {name for name in now if name not in before or now[name] != before[name]}
        if "model" in changed:
            self.ui.modelComboBox.setCurrentIndex(self.ui.modelComboBox.findData(p.model))
            self.run.show_missing()
        if "settings" in changed:
            self.ui.thresholdSlider.value = p.threshold
            self._settings_timer.start()
        if "display" in changed:
            self.display.apply(p, self.nodes)
        if "scan" in changed:
            if before:
                self.run.cancel("")
                self.run.show_message("")
            self._choose_scan()

    def _on_slider(self, value):
        if self.parameters is not None and abs(value - self.parameters.threshold) > 1e-6:
            self.parameters.threshold = value

    def _on_model(self, index):
        model = self.ui.modelComboBox.itemData(index) if index >= 0 else None
        if self.parameters is not None and model and model != self.parameters.model:
            self._choose_model(model)

    def _choose_model(self, model):
        """A model brings its own threshold; a result that is shown keeps the one it has."""
        self.parameters.model = model
        if self.result is None:
            self.parameters.threshold = self.logic.models()[model].get("threshold", 0.5)

    def _choose_scan(self):
        """Check the chosen volume, and show what the scene holds of it."""
        self._let_go()
        self.run.forget_check()
        if self.scan is None:
            return
        try:
            self.run.check(image_from_node(self.scan, slanted=self.marker.slanted))
            nodes = find(self.scan, self.marker)
            if nodes is not None:
                self._take(nodes, result_from_nodes(nodes))
        except CsvdError as error:
            self.run.refuse(str(error))

    # A run

    def _reason_not_to_run(self):
        if self.parameters is None:
            return _("The module is closed")
        if not self.ui.modelComboBox.count:
            return _("No model was found: install SmallVesselDisease again")
        return "" if self.scan is not None else _("Choose a {image} volume first").format(image=self.marker.image)

    def _chosen_model(self):
        return "" if self.parameters is None else self.parameters.model

    def _start_run(self):
        p, nodes = self.parameters, find(self.scan, self.marker)
        if nodes is not None and (edited_by_reader(nodes) or decided_by_reader(nodes)):
            question = _(
                "The segments of {name} were edited or reviewed. A new run replaces them: edits and decisions are "
                "lost (Undo in the section Edit brings the segments back). Run again?"
            )
            if not slicer.util.confirmYesNoDisplay(question.format(name=self.scan.GetName())):
                return None
        self._settings_timer.stop()
        self.edit.stop_painting()
        return self.logic.prepare(
            self.scan,
            model=p.model,
            threshold=p.threshold,
            pv_distance_mm=p.pvDistance,
            pv_rule=p.pvRule.value,
            device=p.device,
            mirror=p.mirror,
        )

    def _show_run(self, result):
        self._writing = True
        try:
            nodes = self.logic.show(result, self.scan, save_state=self.edit.save_state(self.nodes))
        finally:
            self._writing = False
        self._take(nodes, result)
        self.display.show_behind(nodes.scan)

    # What is shown

    def _take(self, nodes, result):
        """Show `result`, and follow its segments from now on."""
        self._stop_following()
        self.nodes, self.result = nodes, result
        for event in edit_events():
            self.addObserver(nodes.segmentation.GetSegmentation(), event, self._on_segments)
        p, settings = self.parameters, result.parameters
        was = p.StartModify()
        p.threshold, p.pvDistance = settings["threshold"], settings["pv_distance_mm"]
        p.pvRule = ZoneRule(settings["pv_rule"])
        p.EndModify(was)
        self._settings_timer.stop()
        self.edit.show(nodes)
        self._refresh()

    def _let_go(self):
        """Forget the nodes on show; they stay in the scene."""
        self._stop_following()
        self.edit.show(None)
        self.nodes = self.result = None
        self._refresh()

    def _stop_following(self):
        self._edit_timer.stop()
        self._settings_timer.stop()
        if self.nodes is not None:
            for event in edit_events():
                self.removeObserver(self.nodes.segmentation.GetSegmentation(), event, self._on_segments)

    def _refresh(self):
        shown = self.result is not None
        # Filled before they are shown: a section that grows afterwards is laid out too small.
        self.results.write(self.result)
        self.review.show(self.nodes, self.result)
        for section in (self.ui.resultsCollapsible, self.ui.reviewCollapsible, self.ui.editCollapsible):
            section.visible = shown
        self.ui.show3DButton.setSegmentationNode(self.nodes.segmentation if shown else None)
        self.display.apply(self.parameters, self.nodes)

    # Edits and settings

    def _on_segments(self, caller, event):
        if not self._writing:
            self._edit_timer.start()

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
        if loses_edits and not slicer.util.confirmYesNoDisplay(
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

    def _change(self, change):
        """Change the segments and show the Result of it; False, with a sentence in the panel, where that cannot be."""
        self._edit_timer.stop()
        self._writing = True
        try:
            self.result = change(self.nodes, self.result, self.edit.save_state(self.nodes))
        except CsvdError as error:
            self.run.show_error(str(error))
            return False
        finally:
            self._writing = False
        self._refresh()
        return True
