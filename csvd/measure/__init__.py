"""Arrays in, numbers out. A measure never reads an image."""

from csvd.measure.measurement import Measurement
from csvd.measure.wmh import WMHMeasures, measure_wmh

__all__ = ["Measurement", "WMHMeasures", "measure_wmh"]
