"""The panel of WMHSegmenter on the Qt double, with real nodes and tiny networks whose answer is known."""

import sys
from pathlib import Path

import pytest
import slicer

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "engine"), str(ROOT / "Testing" / "slicer")]
pytest.importorskip("torch")

from nodes import add_volume  # noqa: E402
from tiny_models import FAR, NEAR, inside, sharp_head, write_models  # noqa: E402

from csvd_slicer.scene import find  # noqa: E402
from csvd_slicer.segments import read_segments  # noqa: E402

MODULE = ROOT / "WMHSegmenter" / "WMHSegmenter.py"


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def tiny(models, monkeypatch):
    monkeypatch.setenv("CSVD_MODELS", str(models))


@pytest.fixture
def panel(load_panel):
    return load_panel(MODULE)


@pytest.fixture
def head():
    return sharp_head()


@pytest.fixture
def flair(fresh_slicer, head):
    return add_volume(slicer.mrmlScene, head.voxels, head.affine, "FLAIR")


@pytest.fixture
def run(panel, flair, wait_until):
    """run() -> the panel after a run on the flair."""

    def apply():
        panel.ui.flairSelector.setCurrentNode(flair)
        panel.ui.applyButton.click()
        wait_until(lambda: not panel.runner.running, timeout=60)
        return panel

    return apply


def contents():
    return {slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())}


def cells(table, column):
    return {table.item(row, 0).text(): table.item(row, column).text() for row in range(table.rowCount)}


def test_load_apply_segments_and_numbers(run, flair, head):
    panel = run()
    nodes = find(flair)
    assert panel.ui.messageLabel.text.startswith("Done."), panel.ui.messageLabel.text
    segments = read_segments(nodes.segmentation, flair)
    near, far = inside(NEAR, head), inside(FAR, head)
    assert (segments.labels[near] == 1).all()
    assert (segments.labels[far] == 2).all()
    assert segments.mask.sum() == near.sum() + far.sum()
    volumes = cells(panel.ui.volumesTable, 1)
    voxel_ml = head.voxel_volume_ml
    assert volumes["Periventricular WMH, volume (mL)"] == f"{near.sum() * voxel_ml:.2f}"
    assert volumes["Deep WMH, volume (mL)"] == f"{far.sum() * voxel_ml:.2f}"
    assert volumes["Lesions"] == "2"
