"""What the panel of CSVDBurden remembers in the scene."""

import enum
from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from csvd_panel.parameters import SegmentationParameters


class Siderosis(enum.Enum):
    """Superficial siderosis as a reader sees it; the values are those of `csvd.measure.scores.SIDEROSIS`."""

    UNKNOWN = ""
    NONE = "none"
    FOCAL = "focal"
    DISSEMINATED = "disseminated"

    def label(self):
        return {
            "": _("Not looked at"),
            "none": _("None"),
            "focal": _("Focal (up to 3 sulci)"),
            "disseminated": _("Disseminated (4 sulci or more)"),
        }[self.value]


@parameterNodeWrapper
class CSVDBurdenParameterNode(SegmentationParameters):
    """`threshold` is that of `marker`, which is chosen beside it; more perivascular spaces than `pvsAbove` are a point
    of the total score. `wmhModel` outlines hyperintensities: the id of a model, or empty for what the card of `model`
    names. With `ownDecoders` the card names none for any marker."""

    flair: slicer.vtkMRMLScalarVolumeNode
    t1: slicer.vtkMRMLScalarVolumeNode
    swi: slicer.vtkMRMLScalarVolumeNode
    wmhModel: str = ""
    ownDecoders: bool = False
    marker: str = ""
    siderosis: Siderosis = Siderosis.UNKNOWN
    pvsAbove: Annotated[int, WithinRange(0, 99)] = 10
