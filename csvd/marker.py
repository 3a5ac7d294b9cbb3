"""The markers of small vessel disease that a Result can hold: one disease, seen on different images.

Leukoaraiosis on CT is what white matter hyperintensities are on FLAIR. So both have one Result, one report and one
scene, and a Marker says what differs: words, names of files, how the image is shown.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Marker:
    """What is outlined, and on what.

    Attributes:
        key: before the names of files, and the task of its models: ``wmh_mask.nii.gz``.
        short: in titles of measurements, tables and nodes; the same in singular and plural.
        name: in sentences.
        image: what it is seen on.
        were: the verb that goes with `name`, "were" or "was".
        slanted: whether slices may be slanted, as those of a tilted CT gantry.
        window: level and width in which a reader looks at the image; None where grey values have no unit, then the
            image's own percentiles.
    """

    key: str
    short: str
    name: str
    image: str
    were: str
    slanted: bool = False
    window: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """`short` as the first word of a title."""
        return self.short[:1].upper() + self.short[1:]


WMH = Marker("wmh", "WMH", "white matter hyperintensities", "FLAIR", "were")
# 40/80 HU is the brain window of any CT console.
LEUKOARAIOSIS = Marker(
    "leukoaraiosis", "leukoaraiosis", "leukoaraiosis", "CT", "was", slanted=True, window=(40.0, 80.0)
)
MARKERS = {marker.key: marker for marker in (WMH, LEUKOARAIOSIS)}
