"""The panel of CSVDBurden between its sections: which scans are chosen, what is shown of them, what follows what."""

from dataclasses import dataclass, replace

import qt
import slicer
from slicer.i18n import tr as _

from csvd.burden_result import WMH
from csvd.errors import CsvdError
from csvd.sequences import SEQUENCE_OF, TITLES
from csvd_panel.base import BasePanel
from csvd_panel.display import draw, show_behind
from csvd_panel.parameters import ZoneRule
from csvd_slicer.burden_nodes import find, find_sharing
from csvd_slicer.burden_scene import edited_by_reader, follow_edit, has_edits, result_from_nodes, update
from csvd_slicer.volumes import image_from_node
from CSVDBurdenLib.candidates import CandidatesSection
from CSVDBurdenLib.parameters import CSVDBurdenParameterNode, Siderosis
from CSVDBurdenLib.scores import ScoresSection


@dataclass(frozen=True)
class View:
    """The sequence that is shown in the slice views and edited."""

    scan: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode


class BurdenPanel(BasePanel):
    Parameters = CSVDBurdenParameterNode

    def __init__(self, ui, logic, parent):
        super().__init__(ui, logic, parent)
        self._dirty, self._shown = set(), ""
        self.scores = ScoresSection(ui, self._change, self.run.show_error)
        self.review = CandidatesSection(ui, parent, self._change, self.bring)
        # Every marker has a threshold of its own, which is chosen beside the results.
        ui.thresholdSpinBox.visible = ui.thresholdSpinBoxLabel.visible = False
        outliners = {model: card["title"] for model, card in (logic.models(WMH) | logic.models()).items()}
        _fill(ui.wmhModelComboBox, {"": _("As the card of the model says"), **outliners})
        ui.wmhModelComboBox.connect("currentIndexChanged(int)", self._on_wmh_model)
        ui.markerComboBox.connect("currentIndexChanged(int)", self._on_marker)
        ui.shownComboBox.connect("currentIndexChanged(int)", self._on_shown)
        ui.plotButton.connect("clicked()", self._on_plot)
        ui.saveButton.connect("clicked()", self._on_save)

    @property
    def scans(self):
        """The chosen volumes, by sequence."""
        chosen = {name: getattr(self.parameters, name) for name in TITLES}
        return {name: scan for name, scan in chosen.items() if scan is not None}

    @property
    def view(self):
        return View(self.nodes.scans[self._shown], self.nodes.segmentations[self._shown])

    def on_node_removed(self, node):
        if self.parameters is None:
            return
        if node in self.scans.values():
            self.run.cancel(_("Cancelled, since a scan was removed."))
        if self.nodes is not None:
            shown = (self.nodes.scans, self.nodes.segmentations, self.nodes.probabilities)
            if node is self.nodes.scores or any(node in nodes.values() for nodes in shown):
                self._let_go()

    # Parameters

    def _watched(self):
        p = self.parameters
        return {
            "scan": self.scans,
            "model": p.model,
            "settings": (p.threshold, p.pvDistance, p.pvRule, p.siderosis, p.pvsAbove),
            "display": (p.displayMode, p.opacity),
        }

    def _on_parameters(self, caller=None, event=None):
        super()._on_parameters(caller, event)
        self.ui.wmhModelComboBox.setCurrentIndex(max(self.ui.wmhModelComboBox.findData(self.parameters.wmhModel), 0))

    def _on_wmh_model(self, index):
        model = self.ui.wmhModelComboBox.itemData(index) or ""
        if self.parameters is not None and model != self.parameters.wmhModel:
            self.parameters.wmhModel = model

    def _on_marker(self, index):
        """Another marker brings its own threshold."""
        marker = self.ui.markerComboBox.itemData(index) if index >= 0 else None
        if self.result is not None and marker and marker != self.parameters.marker:
            self.parameters.marker = marker
            self.parameters.threshold = self.result.settings["threshold"][marker]

    def _take_up(self):
        scans = self.scans
        self.run.check({name: image_from_node(scan) for name, scan in scans.items()})
        nodes = find(scans)
        if nodes is not None:
            self._take(nodes, result_from_nodes(nodes))

    # A run

    def _nothing_chosen(self):
        return "" if self.scans else _("Choose a FLAIR, a T1 or an SWI volume first")

    def _start_run(self):
        p, scans = self.parameters, self.scans
        nodes = find_sharing(scans)
        if nodes is not None:
            known = self.result if self.nodes is not None and self.nodes.scores is nodes.scores else None
            question = _(
                "The burden of this patient was edited or reviewed. A new run replaces it: edits, decisions and inputs "
                "that were set by hand are lost. Run again?"
            )
            if (has_edits(known) if known else edited_by_reader(nodes)) and not self._agree(question):
                return None
        return self._prepare(
            scans,
            wmh_model=p.wmhModel or None,
            own_decoders=p.ownDecoders,
            reference=self.scores.reference,
            siderosis=p.siderosis.value or None,
            pvs_threshold=p.pvsAbove,
        )

    def _put(self, result):
        return self.logic.show(result, self.scans, save_states=self._save_state())

    # What is shown

    def _segmentations(self):
        return [node for node in self.nodes.segmentations.values() if node is not None]

    def _take_settings(self):
        p, result = self.parameters, self.result
        if result.wmh is not None:
            p.pvDistance = result.wmh.parameters["pv_distance_mm"]
            p.pvRule = ZoneRule(result.wmh.parameters["pv_rule"])
        p.siderosis = Siderosis(result.set_inputs.get("superficial_siderosis", ""))
        p.pvsAbove = result.pvs_threshold
        thresholds = result.settings["threshold"]
        if p.marker not in thresholds:
            p.marker = next(iter(thresholds))
        p.threshold = thresholds[p.marker]

    def _open_editor(self):
        """Fill the lists of what can be shown, and show the same sequence as before where it is there."""
        markers = {
            "wmh": _("White matter hyperintensities"), "lacune": _("Lacunes"),
            "perivascular_space": _("Perivascular spaces"), "microbleed": _("Microbleeds"),
        }  # fmt: skip
        _fill(self.ui.markerComboBox, {m: markers[m] for m in SEQUENCE_OF if m in self.result.markers})
        self.ui.markerComboBox.setCurrentIndex(self.ui.markerComboBox.findData(self.parameters.marker))
        _fill(self.ui.shownComboBox, {name: TITLES[name] for name in self.nodes.scans})
        if self._shown not in self.nodes.scans:
            self._shown = next(iter(self.nodes.scans))
        self.ui.shownComboBox.setCurrentIndex(self.ui.shownComboBox.findData(self._shown))
        super()._open_editor()

    def bring(self, sequence):
        """Show a sequence in the slice views, with its own segments alone; the editor follows."""
        self.ui.shownComboBox.setCurrentIndex(self.ui.shownComboBox.findData(sequence))
        show_behind(self.view.scan)

    def _on_shown(self, index):
        sequence = self.ui.shownComboBox.itemData(index) if index >= 0 else None
        if self.nodes is not None and sequence and sequence != self._shown:
            self._shown = sequence
            self.edit.stop_painting()
            self.edit.show(self.view)
            show_behind(self.view.scan)
            self._draw()

    def _refresh(self):
        self.scores.show(self.result)
        super()._refresh()

    def _draw(self):
        """Segments as the parameters say; those of the shown sequence alone, since a head moves between scans."""
        self.ui.show3DButton.setSegmentationNode(self.view.segmentation if self.nodes is not None else None)
        for name, segmentation in (self.nodes.segmentations if self.nodes is not None else {}).items():
            if segmentation is not None and segmentation.GetDisplayNode() is not None:
                segmentation.GetDisplayNode().SetVisibility(name == self._shown)
                draw(segmentation.GetDisplayNode(), self.parameters)

    # Edits and settings

    def _save_state(self):
        return {} if self.nodes is None else {self._shown: super()._save_state()}

    def _on_segments(self, caller, event):
        if not self._writing:
            names = self.nodes.segmentations.items()
            self._dirty |= {name for name, node in names if node is not None and node.GetSegmentation() is caller}
        super()._on_segments(caller, event)

    def _follow_edit(self):
        sequences, self._dirty = self._dirty, set()
        self._change(lambda nodes, result, saves: follow_edit(nodes, result, sequences))

    def _follow_settings(self):
        """Another threshold, distance, rule, siderosis or limit: segments and scores follow, no network runs."""
        if self.result is None or self.run.runner.running:
            return
        p, new, sequences = self.parameters, self.result, set()
        before = new.settings["threshold"][p.marker]
        if p.threshold != before:
            question = _(
                "Another threshold outlines this marker anew: what was painted, erased and decided is lost. Go on?"
            )
            if new.markers[p.marker].edited and not self._agree(question):
                p.threshold = before
                return
            new = new.remeasure(marker=p.marker, threshold=p.threshold)
            sequences.add(SEQUENCE_OF[p.marker])
        zones = {"pv_distance_mm": p.pvDistance, "pv_rule": p.pvRule.value}
        if new.wmh is not None and any(new.wmh.parameters[name] != value for name, value in zones.items()):
            new = replace(new, wmh=new.wmh.remeasure(**zones))
            sequences.add("flair")
        if (p.siderosis.value or None) != new.set_inputs.get("superficial_siderosis"):
            new = new.with_siderosis(p.siderosis.value or None)
        if p.pvsAbove != new.pvs_threshold:
            new = new.with_pvs_threshold(p.pvsAbove)
        if new is not self.result:
            self._change(lambda nodes, result, saves: update(nodes, new, sequences, save_states=saves))

    # Out of the panel

    def _on_plot(self):
        if self.nodes.chart is not None:
            slicer.modules.plots.logic().ShowChartInLayout(self.nodes.chart)

    def _on_save(self):
        folder = qt.QFileDialog.getExistingDirectory(self.ui.saveButton, _("Folder for report, tables and masks"))
        if not folder:
            return
        try:
            written = self.result.save(folder)
        except CsvdError as error:
            self.run.show_error(str(error))
            return
        self.run.show_message(_("{count} files were written into {folder}.").format(count=len(written), folder=folder))


def _fill(box, titles):
    """Give a combo box these entries, without a word to whoever listens."""
    was = box.blockSignals(True)
    box.clear()
    for name, title in titles.items():
        box.addItem(title, name)
    box.blockSignals(was)
