"""CSVDBurden with the real pipeline and a MO-UNet whose answer is known: from three scans to segments and scores."""

from pathlib import Path

import numpy as np
import pytest
import slicer
from burden_models import (
    FLAIR,
    LACUNE,
    LIMITS,
    SWI,
    T1_WITH_LACUNE,
    bright_network,
    let_bright_lacunes_count,
    scan,
    write_burden_models,
)
from nodes import add_transform, add_volume
from reading import column
from tiny_models import requires_monai

from csvd_slicer.burden_nodes import find
from csvd_slicer.segments import read_mask, read_segments
from csvd_slicer.volumes import image_from_node

ROOT = Path(__file__).parents[2]
pytestmark = requires_monai


@pytest.fixture
def panel(load_panel, tmp_path, monkeypatch):
    network = bright_network({**LIMITS, "perivascular_space": 10.0})  # or a lacune would be one of those too
    monkeypatch.setenv("CSVD_MODELS", str(write_burden_models(tmp_path, [network])))
    let_bright_lacunes_count(monkeypatch)
    return load_panel(ROOT / "CSVDBurden" / "CSVDBurden.py").panel


def add(name, lesions, **settings):
    image = scan(lesions, name=name, **settings)
    return add_volume(slicer.mrmlScene, image.voxels, image.affine, name)


def share_found(mask, node, places):
    """The share of the voxels of `places` that `mask` holds."""
    image = image_from_node(node)
    i, j, k = np.indices(mask.shape).reshape(3, -1)
    x, y, z, _ = image.affine @ np.stack([i, j, k, np.ones_like(i)])
    truth = np.any([place.holds(x, y, z) for place in places], axis=0).reshape(mask.shape)
    return (mask & truth).sum() / truth.sum()


def test_three_scans_become_segments_and_scores_each_on_its_own_voxels(panel, wait_until):
    ui = panel.ui
    scans = {
        "flair": add("FLAIR", FLAIR),
        "t1": add("T1", T1_WITH_LACUNE, spacing_mm=(1.5, 1.5, 1.5), axes=(1, 2, 0)),
        "swi": add("SWI", SWI, spacing_mm=(1.0, 1.0, 2.0)),
    }
    scans["swi"].SetAndObserveTransformNodeID(add_transform(slicer.mrmlScene, np.eye(4)).GetID())
    for name, node in scans.items():
        getattr(ui, f"{name}Selector").setCurrentNode(node)
    wait_until(lambda: ui.checkLabel.text, timeout=60)
    assert ui.checkLabel.text.startswith("Given: FLAIR, T1, SWI."), ui.checkLabel.text
    ui.applyButton.click()
    wait_until(lambda: not panel.run.runner.running, timeout=180)
    assert ui.messageLabel.text.startswith("Done."), ui.messageLabel.text

    nodes = find(scans)
    bleeds = read_mask(nodes.segmentations["swi"], scans["swi"], "Microbleeds")
    assert share_found(bleeds, scans["swi"], SWI["microbleed"]) > 0.6  # the network sees means of two by two pixels
    lacunes = read_mask(nodes.segmentations["t1"], scans["t1"], "Lacunes")
    assert share_found(lacunes, scans["t1"], (LACUNE,)) > 0.7
    lesions = read_segments(nodes.segmentations["flair"], scans["flair"]).mask
    assert share_found(lesions, scans["flair"], FLAIR["wmh"]) > 0.7

    shown = dict(zip(column(ui.scoresTable, 0), column(ui.scoresTable, 1), strict=True))
    assert (shown["Microbleeds"], shown["Microbleeds, pattern"], shown["Lacunes"]) == ("2", "mixed", "1")
    assert shown["Total WMH, volume (mL)"] == f"{lesions.sum() * 1.5 * 1.5 * 3 / 1000:.2f}"
    assert "Reading the SWI" in ui.logText.plainText


def test_a_flair_in_the_place_of_the_t1_is_refused_in_a_sentence(panel, wait_until):
    node = add("FLAIR", FLAIR)
    panel.ui.t1Selector.setCurrentNode(node)
    panel.ui.flairSelector.setCurrentNode(node)
    wait_until(lambda: panel.ui.checkLabel.text, timeout=60)
    assert panel.ui.checkLabel.text.startswith("Cannot be used. ")
    assert not panel.ui.applyButton.enabled
