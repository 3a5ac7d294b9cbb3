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
        window: level and width in which a reader looks at the image; None where grey values have no unit, then the
            image's own percentiles.
    """

    key: str
    short: str
    name: str
    image: str
    window: tuple[float, float] | None = None


WMH = Marker("wmh", "WMH", "white matter hyperintensities", "FLAIR")
# 40/80 HU is the brain window of any CT console.
LEUKOARAIOSIS = Marker("leukoaraiosis", "leukoaraiosis", "leukoaraiosis", "CT", window=(40.0, 80.0))
MARKERS = {marker.key: marker for marker in (WMH, LEUKOARAIOSIS)}
