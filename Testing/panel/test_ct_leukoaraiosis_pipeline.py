"""CTLeukoaraiosis with the real pipeline: from a CT in the scene to its segments, upright and of a tilted gantry."""

from pathlib import Path

import numpy as np
import pytest
import slicer
from ct_phantom import head_ct, slanted, write_ct_models
from nodes import add_transform, add_volume
from reading import volumes
from tiny_models import FAR, NEAR, inside, sharp_head

from csvd_slicer.scene import find
from csvd_slicer.segments import read_segments

ROOT = Path(__file__).parents[2]


@pytest.fixture
def panel(load_panel, tmp_path, monkeypatch):
    monkeypatch.setenv("CSVD_MODELS", str(write_ct_models(tmp_path)))
    return load_panel(ROOT / "CTLeukoaraiosis" / "CTLeukoaraiosis.py").panel


@pytest.mark.parametrize("degrees", [0, 15])
def test_load_apply_segments_and_numbers(panel, wait_until, degrees):
    ui, image = panel.ui, head_ct(slanted(degrees), noise=1.0)
    upright = slanted(0)
    ct = add_volume(slicer.mrmlScene, image.voxels, upright, "CT")
    if degrees:
        tilt = image.affine @ np.linalg.inv(upright)
        ct.SetAndObserveTransformNodeID(add_transform(slicer.mrmlScene, tilt).GetID())
    ui.ctSelector.setCurrentNode(ct)
    wait_until(lambda: ui.checkLabel.text, timeout=60)
    assert not ui.checkLabel.text.startswith("Cannot be used")
    ui.applyButton.click()
    wait_until(lambda: not panel.run.runner.running, timeout=120)
    assert ui.messageLabel.text.startswith("Done."), ui.messageLabel.text

    labels = read_segments(find(ct).segmentation, ct).labels
    for label, lesion in ((1, NEAR), (2, FAR)):
        truth = inside(lesion, image)
        assert np.count_nonzero((labels == label) & truth) > 0.8 * np.count_nonzero(truth)
    total_ml = np.count_nonzero(labels) * image.voxel_volume_ml
    assert volumes(ui)["Total leukoaraiosis (mL)"] == f"{total_ml:.2f}"
    assert volumes(ui)["Burden class"] == "<= 10 mL"
    sides = float(volumes(ui)["Left-sided (mL)"]) + float(volumes(ui)["Right-sided (mL)"])
    assert sides == pytest.approx(total_ml, abs=0.02)


def test_a_flair_in_the_place_of_the_ct_is_refused_in_a_sentence(panel, wait_until):
    ui, head = panel.ui, sharp_head()
    ui.ctSelector.setCurrentNode(add_volume(slicer.mrmlScene, head.voxels, head.affine, "FLAIR"))
    wait_until(lambda: ui.checkLabel.text, timeout=60)
    assert ui.checkLabel.text.startswith("Cannot be used. FLAIR")
    assert not ui.applyButton.enabled
