"""Fixtures for tests of panels on the Qt double. Without PySide6, slicer-core or torch the folder is skipped.

The double is started before the first test file here is imported, so a test file may begin with `import qt, slicer`.
"""

import importlib.util
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("Testing/panel", "", "Testing/engine", "Testing/slicer", "WMHSegmenter", "CTLeukoaraiosis", "CSVDBurden")
sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]

NEEDED = (("PySide6-Essentials", "PySide6"), ("slicer-core", "slicer_core"), ("torch", "torch"))
MISSING = [package for package, module in NEEDED if not importlib.util.find_spec(module)]


class _Skipped(pytest.Module):
    def collect(self):
        pytest.skip(
            f"the panels need {' and '.join(MISSING)}: pip install -r {ROOT}/requirements.txt "
            f"-r {ROOT}/Testing/requirements.txt"
        )


def pytest_pycollect_makemodule(module_path, parent):
    if MISSING:
        return _Skipped.from_parent(parent, path=module_path)
    from double.boot import boot

    boot()
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test fails if a slot, timer, event handler or observer raised in it."""
    result = yield
    _fail_on_errors()
    return result


def _fail_on_errors():
    from double.signals import ERRORS

    texts = list(ERRORS)
    ERRORS.clear()
    assert not texts, "raised in a slot:\n" + "\n".join(texts)


@pytest.fixture(autouse=True)
def fresh_slicer(monkeypatch):
    """An empty scene, no main window, no recorded pop-ups, for every test."""
    import slicer
    from double import dialogs, signals
    from double.boot import boot

    for name, value in boot().booted.items():  # other tests of this process may have booted a Slicer of their own
        monkeypatch.setattr(slicer, name, value)
    monkeypatch.setattr(sys, "excepthook", signals.record_exception)
    signals.ERRORS.clear()
    dialogs.clear()
    slicer.packaging.calls.clear()
    yield
    slicer.app.setLayoutManager(None)
    slicer.mrmlScene.Clear(False)  # as Close Scene: colours and singletons stay
    for kind in ("vtkMRMLScriptedModuleNode", "vtkMRMLSegmentEditorNode", "vtkMRMLSliceNode"):
        for node in slicer.util.getNodesByClass(kind):
            slicer.mrmlScene.RemoveNode(node)
    _fail_on_errors()


@pytest.fixture
def slicer_app():
    """slicer.app; its `layoutManager()` is None as with --no-main-window."""
    import slicer

    return slicer.app


@pytest.fixture
def layout_manager(slicer_app):
    """Slice views Red, Yellow, Green and a 3D view, as with a main window."""
    import slicer

    slicer_app.setLayoutManager(slicer.qSlicerLayoutManager())
    return slicer_app.layoutManager()


@pytest.fixture
def dialogs():
    """The recorded pop-ups: `dialogs.answer(function, value)` beforehand, `dialogs.texts(function)` afterwards."""
    from double import dialogs

    return dialogs


@pytest.fixture
def slot_errors():
    """What slots raised so far; a test that expects an error takes it out with `slot_errors.pop()`."""
    from double.signals import ERRORS

    return ERRORS


@pytest.fixture
def load_panel():
    """load_panel(path of the module's .py) -> the module's widget, built, set up and entered as by Slicer."""
    from double import scripted

    modules = []

    def load(path):
        modules.append(scripted.load(path))
        qt_widget = modules[-1].widgetRepresentation()
        qt_widget.show()
        qt_widget.enter()
        return qt_widget.self()

    yield load
    for module in modules:
        scripted.unload(module)


@pytest.fixture
def ui(panel):
    """The widgets by name of the ``panel`` of a test file."""
    return panel.ui


@pytest.fixture
def hold(monkeypatch):
    """hold(logic, "prepare", share, step): what it prepares says how far it is and ends only when it is cancelled.

    Returns the threading.Event that is set at its end.
    """

    def hold(logic, method, share, step):
        ended = threading.Event()

        def compute(progress, cancelled):
            from csvd.errors import Cancelled

            progress(share, step)
            while not cancelled():
                time.sleep(0.001)
            ended.set()
            raise Cancelled("cancelled")

        monkeypatch.setattr(logic, method, lambda *args, **settings: compute)
        return ended

    return hold


@pytest.fixture
def wait_until(slicer_app):
    """wait_until(condition, timeout): run the event loop until the condition holds, or fail."""

    def wait(condition, timeout=5.0):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"still not so after {timeout} s"
            slicer_app.processEvents()
            time.sleep(0.001)

    return wait


@pytest.fixture
def picture(tmp_path, slicer_app):
    """picture(widget, name) -> path of a PNG of the widget."""

    def save(widget, name="panel.png", width=420):
        slicer_app.processEvents()  # layouts settle
        widget.resize(width, max(widget.sizeHint.height(), widget.heightForWidth(width), 40))
        path = tmp_path / name
        assert widget.grab().save(str(path))
        return path

    return save
