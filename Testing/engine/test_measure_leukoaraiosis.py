"""The published classes of leukoaraiosis volume on CT, at their borders."""

import numpy as np
import pytest

from csvd.marker import LEUKOARAIOSIS, WMH
from csvd.measure.leukoaraiosis import burden
from csvd.measure.measurement import Measurement
from csvd.measure.white_matter import measure_white_matter


def classes(volume_ml):
    measured = burden({"total_volume": Measurement("total_volume", "", volume_ml, "mL", "")})
    return tuple(row.value for row in measured)


@pytest.mark.parametrize(("volume_ml", "expected"), [
    (0.0, ("<= 10 mL", 1)), (6.2, ("<= 10 mL", 1)), (6.3, ("<= 10 mL", 2)), (10.0, ("<= 10 mL", 2)),
    (10.1, ("10-25 mL", 2)), (11.2, ("10-25 mL", 2)), (11.3, ("10-25 mL", 3)), (20.5, ("10-25 mL", 3)),
    (20.6, ("10-25 mL", 4)), (25.0, ("10-25 mL", 4)), (25.1, ("> 25 mL", 4)), (200.0, ("> 25 mL", 4)),
])  # fmt: skip
def test_a_volume_has_its_class_and_its_quarter(volume_ml, expected):
    assert classes(volume_ml) == expected


def test_each_class_says_its_source():
    rows = burden({"total_volume": Measurement("total_volume", "", 1.0, "mL", "")})
    assert "10 / 25 mL. Alamoudi" in rows[0].source
    assert "6.2 / 11.2 / 20.5 mL. Ryu" in rows[1].source


@pytest.mark.parametrize(("marker", "there"), [(LEUKOARAIOSIS, True), (WMH, False)])
def test_only_leukoaraiosis_is_classed_so(marker, there):
    mask = np.zeros((40, 40, 4), bool)
    mask[:30, :35] = True  # 4,200 voxels of 2.5 uL are 10.5 mL
    measures = measure_white_matter(mask, mask.astype(np.float32), np.full(mask.shape, 5, np.float32), mask,
                                    (0.5, 1.0, 5.0), np.diag([0.5, 1, 5, 1]), marker=marker)  # fmt: skip
    assert ("burden_class" in measures.measurements) == there
    if there:
        assert measures.measurements["burden_class"].value == "10-25 mL"
