"""What every panel does: take up the scene and let go of it, choose a model, run, and follow edits and settings."""

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from csvd.errors import CsvdError
from csvd_panel.display import show_behind
from csvd_panel.edit import EditSection, edit_events
from csvd_panel.run import RunSection

# A choice: edits and moves of a slider that come closer together than this are measured once.
PAUSE_MS = 20


class BasePanel(VTKObservationMixin):
    """`nodes` and `result` are what is shown of the chosen scans; None before a run.

    Between `close` and `open` the panel holds nothing of the scene. A panel gives its section `review`, the class of
    its parameters, and the methods that raise NotImplementedError here.
    """

    Parameters, review = None, None

    def __init__(self, ui, logic, parent):
        VTKObservationMixin.__init__(self)
        self.ui, self.logic = ui, logic
        self.parameters = self.nodes = self.result = None
        self._gui_tag, self._seen, self._writing = None, {}, False
        self._edit_timer = self._pause(parent, self._follow_edit)
        self._settings_timer = self._pause(parent, self._follow_settings)
        self.run = RunSection(
            ui, logic, parent, self._start_run, self._show_run, self._reason_not_to_run, self._chosen_model
        )
        self.edit = EditSection(ui, logic.moduleName)
        for model, card in logic.models().items():
            ui.modelComboBox.addItem(card["title"], model)
        ui.modelComboBox.connect("currentIndexChanged(int)", self._on_model)
        ui.thresholdSlider.connect("valueChanged(double)", self._on_slider)

    @property
    def view(self):
        """What is edited, with its `scan` and `segmentation`; of one scan, all nodes that are shown."""
        return self.nodes

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
        raise NotImplementedError

    # Parameters

    def _on_parameters(self, caller=None, event=None):
        now = self._watched()
        before, self._seen = self._seen, now
        changed = {name for name in now if name not in before or now[name] != before[name]}
        if "model" in changed:
            model = self.parameters.model
            self.ui.modelComboBox.setCurrentIndex(self.ui.modelComboBox.findData(model))
            self.run.show_missing()
        if "settings" in changed:
            self.ui.thresholdSlider.value = self.parameters.threshold
            self._settings_timer.start()
        if "display" in changed:
            self._draw()
        if "scan" in changed:
            if before:
                self.run.cancel("")
                self.run.show_message("")
            self._choose_scan()

    def _watched(self):
        """What to follow of the parameters, by name.

        `scan` is what is to be run on, `model` with what, `settings` what a result follows, `display` how it is drawn.
        """
        raise NotImplementedError

    def _on_slider(self, value):
        if self.parameters is not None and abs(value - self.parameters.threshold) > 1e-6:
            self.parameters.threshold = value

    def _on_model(self, index):
        model = self.ui.modelComboBox.itemData(index) if index >= 0 else None
        if self.parameters is not None and model and model != self.parameters.model:
            self._choose_model(model)

    def _choose_model(self, model):
        self.parameters.model = model

    def _choose_scan(self):
        self._let_go()
        self.run.forget_check()
        if self._nothing_chosen():
            return
        try:
            self._take_up()
        except CsvdError as error:
            self.run.refuse(str(error))

    def _take_up(self):
        """Check what was chosen, and show what the scene holds of it."""
        raise NotImplementedError

    # A run

    def _reason_not_to_run(self):
        if self.parameters is None:
            return _("The module is closed")
        if not self.ui.modelComboBox.count:
            return _("No model was found: install SmallVesselDisease again")
        return self._nothing_chosen()

    def _nothing_chosen(self):
        """What is to be chosen before a run, or ""."""
        raise NotImplementedError

    def _chosen_model(self):
        return "" if self.parameters is None else self.parameters.model

    def _start_run(self):
        """The computation to run, or None when the user thought better of it."""
        raise NotImplementedError

    def _prepare(self, scans, **settings):
        """The computation of a run on `scans`; from here on nothing is painted, and no setting changes a result."""
        p = self.parameters
        self._settings_timer.stop()
        self.edit.stop_painting()
        return self.logic.prepare(
            scans, model=p.model, pv_distance_mm=p.pvDistance, pv_rule=p.pvRule.value, device=p.device,
            mirror=p.mirror, **settings,
        )  # fmt: skip

    def _show_run(self, result):
        self._writing = True
        try:
            nodes = self._put(result)
        finally:
            self._writing = False
        self._take(nodes, result)
        show_behind(self.view.scan)

    def _put(self, result):
        """Put the result of a run into the scene; returns its nodes."""
        raise NotImplementedError

    # What is shown

    def _segmentations(self):
        """The segmentations of what is shown, whose edits are followed."""
        raise NotImplementedError

    def _take(self, nodes, result):
        """Show `result`, and follow its segments from now on."""
        self._stop_following()
        self.nodes, self.result = nodes, result
        for segmentation in self._segmentations():
            for event in edit_events():
                self.addObserver(segmentation.GetSegmentation(), event, self._on_segments)
        was = self.parameters.StartModify()
        self._take_settings()
        self.parameters.EndModify(was)
        self._settings_timer.stop()
        self._open_editor()
        self._refresh()

    def _take_settings(self):
        """Bring the parameters after the result that is shown."""
        raise NotImplementedError

    def _open_editor(self):
        self.edit.show(self.view)

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
            for segmentation in self._segmentations():
                for event in edit_events():
                    self.removeObserver(segmentation.GetSegmentation(), event, self._on_segments)

    def _refresh(self):
        """Show `result`; a panel writes its own sections first, as one that grows once shown is laid out too small."""
        self.review.show(self.nodes, self.result)
        for section in (self.ui.resultsCollapsible, self.ui.reviewCollapsible, self.ui.editCollapsible):
            section.visible = self.result is not None
        self._draw()

    def _draw(self):
        """Segments and maps as the parameters say."""
        raise NotImplementedError

    # Edits and settings

    def _on_segments(self, caller, event):
        if not self._writing:
            self._edit_timer.start()

    def _follow_edit(self):
        raise NotImplementedError

    def _follow_settings(self):
        raise NotImplementedError

    def _save_state(self):
        """What saves the segments for Undo, as the functions of `_change` take it."""
        return self.edit.save_state(self.view)

    def _change(self, change):
        """Change what is shown and show the Result of it; False, with a sentence in the panel, where that cannot be."""
        self._edit_timer.stop()
        self._writing = True
        try:
            self.result = change(self.nodes, self.result, self._save_state())
        except CsvdError as error:
            self.run.show_error(str(error))
            return False
        finally:
            self._writing = False
        self._refresh()
        return True

    def _agree(self, question):
        return slicer.util.confirmYesNoDisplay(question)
