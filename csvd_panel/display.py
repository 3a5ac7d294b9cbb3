"""How segments and maps are drawn in the slice views. On MRML nodes alone, so it works without a main window."""

import slicer

UNCERTAINTY_OPACITY = 0.6  # a choice: the scan still shows through


def show_behind(scan):
    """Bring a scan into the slice views."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(scan.GetID())


def draw(display, parameters):
    """Fill and outline of the segments of a display node, as the parameters say."""
    mode = parameters.displayMode.value
    display.SetVisibility2DFill(mode != "outline")
    display.SetVisibility2DOutline(mode != "fill")
    display.SetOpacity2DFill(parameters.opacity)
    display.SetOpacity2DOutline(parameters.opacity if mode == "outline" else 1.0)


class Display:
    """Draws the segments of one scan, and remembers which map of uncertainty it laid over."""

    def __init__(self):
        self.uncertainty_id = None

    def apply(self, parameters, nodes):
        """Draw as the parameters say; without nodes the map that was laid over is taken away."""
        if nodes is not None and nodes.segmentation.GetDisplayNode() is not None:
            draw(nodes.segmentation.GetDisplayNode(), parameters)
        shown = nodes.uncertainty if nodes is not None and parameters.showUncertainty else None
        if shown is None:
            self._lay_over(self.uncertainty_id, None)
        else:
            self._lay_over(None, shown.GetID())
        self.uncertainty_id = shown.GetID() if shown is not None else None

    @staticmethod
    def _lay_over(old_id, new_id):
        """Put a map over the scan, or take away the one that was put there; what a reader laid over stays."""
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if new_id is not None:
                composite.SetForegroundVolumeID(new_id)
                composite.SetForegroundOpacity(UNCERTAINTY_OPACITY)
            elif old_id is not None and composite.GetForegroundVolumeID() == old_id:
                composite.SetForegroundVolumeID(None)
