"""Fixtures of several test files."""

import signal

import pytest


@pytest.fixture(autouse=True)
def sigterm():
    """``csvd.cli.main`` changes what SIGTERM does to this process."""
    former = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, former)


@pytest.fixture
def out(tmp_path):
    """A folder for results that is not there yet."""
    return tmp_path / "out"


@pytest.fixture
def training_folder(tmp_path, monkeypatch):
    """Recipes, runs and cards of the training are looked for in this empty folder."""
    pytest.importorskip("matplotlib", reason="the curve of a training is drawn with matplotlib")
    from training import recipe, ship, train

    for module in (train, ship, recipe):
        monkeypatch.setattr(module, "HERE", tmp_path)
    return tmp_path
