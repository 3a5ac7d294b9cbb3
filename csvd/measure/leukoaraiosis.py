"""What is measured of leukoaraiosis on CT alone: the published classes of its volume."""

from collections.abc import Mapping

from csvd.measure.measurement import Measurement
from csvd.measure.reference import cutoff

BURDEN = cutoff("ct_burden")
QUARTERS = cutoff("ct_quarters")


def burden(measured: Mapping[str, Measurement]) -> list[Measurement]:
    """Class and quarter of the total volume, mL; a volume on a border belongs below it, as Alamoudi writes <= 10.

    ``measured`` are the measurements of :func:`csvd.measure.white_matter.measure_white_matter` by name.
    """
    volume_ml = measured["total_volume"].value
    low, high = BURDEN.value
    words = (f"<= {low:g} mL", f"{low:g}-{high:g} mL", f"> {high:g} mL")
    quarter = 1 + _above(volume_ml, QUARTERS.value)
    return [
        Measurement("burden_class", "Burden class", words[_above(volume_ml, BURDEN.value)], "", _how(BURDEN)),
        Measurement("stroke_quarter", "Quarter among stroke patients (1-4)", quarter, "", _how(QUARTERS)),
    ]


def _above(volume_ml: float, limits: tuple[float, ...]) -> int:
    return sum(volume_ml > limit for limit in limits)


def _how(limits) -> str:
    return f"{limits.note}: {' / '.join(f'{limit:g}' for limit in limits.value)} {limits.unit}. {limits.source}"
