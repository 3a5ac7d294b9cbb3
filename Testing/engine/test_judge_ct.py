"""How the CT model is scored on synthetic patients: the same patient whatever the scanner, and figures by hand."""

import numpy as np
import pytest

pytest.importorskip("training.heads", reason="training is not beside the tests")

from made_head import made_head
from tiny_models import threshold_network, write_bundle

from csvd.bundle import load_bundle
from training import judge_ct
from training.judge_ct import CHANGES, REFERENCE, Row, as_markdown, scan, summary


def row(kind, seed, true_ml, found_ml, dice=0.5, **how):
    return Row("08", seed, kind, **(REFERENCE | how), true_ml=true_ml, found_ml=found_ml, dice=dice)


@pytest.fixture
def rows():
    loads = ((0, 5, 0.4), (1, 10, 0.6), (4, 15, 0.8))
    patients = [row("patient", seed, ml, ml + 1, score) for seed, ml, score in loads]
    well = [row("well", 100, 0, 0.2), row("well", 101, 0, 1.6)]
    again = [row("rescanned", *which, **change) for which in ((1, 10, 22), (4, 15, 16)) for change in CHANGES]
    return [*patients, *well, *again]


def test_figures_are_those_worked_out_by_hand(rows):
    figures = summary(rows)
    # The mean product of deviations is 50/3 twice over, the means differ by 1: 2 * 50/3 / (2 * 50/3 + 1).
    assert figures["volume_ccc"] == pytest.approx((100 / 3) / (100 / 3 + 1), abs=1e-3)
    assert figures["volume_pearson"] == 1
    assert (figures["mean_dice"], figures["least_dice"]) == (0.6, 0.4)
    assert (figures["mean_true_ml"], figures["mean_found_ml"]) == (10, 11)
    assert (figures["well_below_1.5_ml"], figures["well"], figures["well_largest_ml"]) == (1, 2, 1.6)
    assert set(figures["drift_percent"].values()) == {40.7}  # 38 mL where the same two patients had 27
    assert set(figures["drift_percent_of_the_first"].values()) == {100.0}  # 22 where that one of them had 11
    assert len(figures["drift_percent"]) == len(CHANGES)


def test_the_page_says_that_the_cts_are_synthetic_and_holds_every_scan(rows, tmp_path):
    bundle = load_bundle(write_bundle(tmp_path / "any", [threshold_network()], {"architecture": "SEUNet", "width": 1}))
    page = as_markdown(bundle, rows, summary(rows))
    assert "**These CTs are synthetic**" in page
    assert page.count("| 08 |") == len(rows)
    assert "| thickness mm 8 | +40.7 % | +0.0 % | +100.0 % | +0.0 % |" in page  # more found, as much drawn


def test_a_patient_has_the_same_disease_in_every_scan(monkeypatch):
    monkeypatch.setattr(judge_ct, "PIXELS", (80, 96))
    monkeypatch.setattr(judge_ct, "PIXEL_MM", 2.0)
    monkeypatch.setattr(judge_ct, "HEIGHT_MM", 80.0)
    head, data = made_head(), ([], made_head().brain_box)
    first = scan(head, data, 1, False, **REFERENCE)
    ml = {}
    for change in ({}, {"noise_hu": 4.0}, {"tilt_deg": 20.0}, {"thickness_mm": 8.0}):
        drawn = scan(head, data, 1, False, **(REFERENCE | change))
        ml[str(change)] = drawn.lesion.voxels.sum() * abs(np.linalg.det(drawn.lesion.affine[:3, :3])) / 1000
        assert np.array_equal(drawn.lesion.voxels, first.lesion.voxels) == (not change or "noise_hu" in change)
    assert min(ml.values()) > 1
    assert max(ml.values()) < 1.5 * min(ml.values())
    assert not scan(head, data, 1, True, **REFERENCE).lesion.voxels.any()
