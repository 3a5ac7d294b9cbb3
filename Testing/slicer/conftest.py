import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "engine")]
# PyPI has an unrelated package of the same name.
READY = find_spec("slicer") is not None and find_spec("slicer_core") is not None


class WithoutSlicer(pytest.Module):
    def collect(self):
        pytest.skip("slicer-core is not installed: pip install slicer-core", allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    return None if READY else WithoutSlicer.from_parent(parent, path=module_path)


@pytest.fixture
def scene():
    """An empty scene; a test in which VTK or MRML reports an error fails."""
    import headless
    import vtk

    scene = headless.new_scene()
    said, before = vtk.vtkStringOutputWindow(), vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(said)
    try:
        yield scene
    finally:
        vtk.vtkOutputWindow.SetInstance(before)
    assert "ERROR" not in said.GetOutput(), said.GetOutput()


@pytest.fixture
def result(flair):
    """What `nodes.result_of` finds on the ``flair`` of a test file."""
    from nodes import result_of

    return result_of(flair)


@pytest.fixture
def nodes(result, flair):
    """The family of nodes that shows ``result``."""
    from csvd_slicer.scene import show

    return show(result, flair)
