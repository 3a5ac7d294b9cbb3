"""Arrays in, numbers out. A measure never reads an image."""

from csvd.measure.measurement import Measurement
from csvd.measure.white_matter import WhiteMatterMeasures, measure_white_matter

__all__ = ["Measurement", "WhiteMatterMeasures", "measure_white_matter"]
