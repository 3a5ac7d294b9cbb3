"""What the panels remember in the scene, bound to the widgets that name these parameters in the .ui files."""

import enum
from typing import Annotated

from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange


class ZoneRule(enum.Enum):
    VOXEL = "voxel"
    CLUSTER = "cluster"

    def label(self):
        return {"voxel": _("Each voxel by itself"), "cluster": _("Each lesion as a whole")}[self.value]


class DisplayMode(enum.Enum):
    BOTH = "both"
    FILL = "fill"
    OUTLINE = "outline"

    def label(self):
        return {"both": _("Fill and outline"), "fill": _("Fill"), "outline": _("Outline")}[self.value]


class SegmentationParameters:
    """What every module adds its volumes to, and then wraps with `parameterNodeWrapper`. `model` is empty until one was
    chosen."""

    model: str = ""
    threshold: Annotated[float, WithinRange(0.05, 0.95)] = 0.5
    pvDistance: Annotated[float, WithinRange(1.0, 29.0)] = 10.0
    pvRule: ZoneRule = ZoneRule.VOXEL
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    mirror: bool = False
    displayMode: DisplayMode = DisplayMode.BOTH
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    showUncertainty: bool = False
