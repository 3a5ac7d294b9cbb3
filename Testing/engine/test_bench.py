"""What ``make bench`` times runs, and one encoder gives what a network for every marker would."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_models import requires_monai

from csvd.bundle import available_models, load_bundle
from csvd.preprocessing import BACKGROUNDS
from csvd.sequences import SEQUENCE_OF, SEQUENCES

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "burden_run.py"


@requires_monai
@pytest.mark.skipif("burden-mounet" not in available_models(), reason="burden-mounet is not in Resources/Models")
def test_one_encoder_and_four_networks_give_the_same_maps(tmp_path):
    bundle = load_bundle("burden-mounet")
    brain = np.full((256, 320, 3), BACKGROUNDS[bundle.intensity], np.float32)
    brain[80:180, 100:220] = np.random.default_rng(0).standard_normal((100, 120, 3))
    np.savez(tmp_path / "stacks.npz", **dict.fromkeys(SEQUENCES, brain))
    maps = []
    for which in ("shared", "separate"):
        files = (bundle.folder, tmp_path / "stacks.npz", tmp_path / f"{which}.npz")
        ran = subprocess.run([sys.executable, SCRIPT, which, *files], check=True, capture_output=True, text=True)
        assert json.loads(ran.stdout)["seconds"] > 0
        maps.append(np.load(files[-1]))
    for marker in SEQUENCE_OF:
        assert maps[0][marker].shape == brain.shape
        assert np.abs(maps[0][marker] - maps[1][marker]).max() < 1e-4
