"""What the panel of CTLeukoaraiosis has of its own: the CT and its windows, and the comparison with a FLAIR."""

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from csvd_panel.panel import Panel
from csvd_panel.parameters import SegmentationParameters
from csvd_slicer.maps import set_window
from CTLeukoaraiosisLib.comparison import ComparisonSection

# Level and width in HU. Narrow windows bring out faint hypodensity; from 32/8 the readers of Lev et al., Radiology
# 1999;213:150, began.
STROKE_WINDOW = (32, 8)


@parameterNodeWrapper
class CTLeukoaraiosisParameterNode(SegmentationParameters):
    ct: slicer.vtkMRMLScalarVolumeNode
    flair: slicer.vtkMRMLScalarVolumeNode
    mirror: bool = True


class CTPanel(Panel):
    Parameters, SCAN = CTLeukoaraiosisParameterNode, "ct"

    def __init__(self, ui, logic, parent):
        self.comparison = ComparisonSection(ui, logic, parent)
        super().__init__(ui, logic, parent)
        self._windows = {ui.brainWindowButton: self.marker.window, ui.strokeWindowButton: STROKE_WINDOW}
        for button, window in self._windows.items():
            button.connect("clicked()", lambda window=window: set_window(self.scan, *window))

    def _on_parameters(self, caller=None, event=None):
        super()._on_parameters(caller, event)
        for button in self._windows:
            button.enabled = self.scan is not None
        self.comparison.choose(self.parameters.flair, self.parameters.device)

    def _refresh(self):
        super()._refresh()
        self.comparison.show(self.nodes, self.result)

    def on_node_removed(self, node):
        if self.parameters is not None and node is self.parameters.flair:
            self.comparison.cancel(_("Cancelled, since the FLAIR was removed."))
        super().on_node_removed(node)
