"""What the panel of WMHSegmenter has of its own: the FLAIR."""

import slicer
from slicer.parameterNodeWrapper import parameterNodeWrapper

from csvd_panel.panel import Panel
from csvd_panel.parameters import SegmentationParameters


@parameterNodeWrapper
class WMHSegmenterParameterNode(SegmentationParameters):
    flair: slicer.vtkMRMLScalarVolumeNode


class WMHPanel(Panel):
    Parameters, SCAN = WMHSegmenterParameterNode, "flair"
