"""What holds for every module: files that are shipped, imports, tooltips, sample, and panels beside each other."""

import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = {
    "WMHSegmenter": ["synthetic_ct_5mm_flair.nii.gz"],
    "CTLeukoaraiosis": ["synthetic_ct_5mm.nii.gz", "synthetic_ct_5mm_flair.nii.gz"],
    "CSVDBurden": [f"synthetic_burden_{name}.nii.gz" for name in ("flair", "t1", "swi")],
}
CONTROLS = (
    *(
        "QPushButton",
        "QCheckBox",
        "QComboBox",
        "QSpinBox",
        "QDoubleSpinBox",
        "QTableWidget",
        "QProgressBar",
        "QPlainTextEdit",
    ),
    *("ctkSliderWidget", "ctkCollapsibleButton", "qMRMLNodeComboBox", "qMRMLSegmentationShow3DButton"),
)


@pytest.fixture(params=SAMPLES)
def name(request):
    return request.param


@pytest.fixture
def module(name):
    return ROOT / name / f"{name}.py"


def test_every_control_has_a_tooltip(load_panel, module):
    ui = load_panel(module).ui
    named = {name: w for name, w in vars(ui).items() if hasattr(w, "className") and w.className() in CONTROLS}
    assert len(named) > 30
    inner = {"Slider", "SpinBox"}  # parts of composite widgets
    missing = [name for name, w in named.items() if not w.toolTip and not name.startswith("qt_") and name not in inner]
    assert missing == []


def test_the_panel_says_that_it_is_no_medical_device(load_panel, module):
    assert load_panel(module).ui.noticeLabel.text == "For research and teaching. Not a medical device."


def test_cmake_lists_every_file(module):
    folder = module.parent
    listed = set(re.findall(r"^  (\S+\.\w+)$", (folder / "CMakeLists.txt").read_text(encoding="utf-8"), re.MULTILINE))
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "CMakeLists.txt"
    }
    assert listed == there


def test_the_module_file_imports_nothing_that_slicer_may_lack(module):
    imports = re.findall(r"^(?:import|from) (\S+)", module.read_text(encoding="utf-8"), re.MULTILINE)
    own = {name.partition(".")[0] for name in imports} - set(sys.stdlib_module_names)
    assert own == {"slicer", "csvd", "csvd_panel"}


@pytest.mark.parametrize("path", [ROOT / "csvd_panel" / "module.py", ROOT / "csvd_panel" / "logic.py"])
def test_nor_does_what_it_imports(path):
    imports = re.findall(r"^(?:import|from) (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    own = {name.partition(".")[0] for name in imports} - set(sys.stdlib_module_names)
    assert own <= {"slicer", "vtk"}


def test_the_samples_are_offered(monkeypatch, load_panel, name, module):
    load_panel(module)
    registered = []
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **entry: registered.append(entry))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    sys.modules[name].registerSampleData()
    assert [entry["fileNames"] for entry in registered] == SAMPLES[name]
    for entry in registered:
        path = ROOT / "Resources" / "SampleData" / entry["fileNames"]
        assert path.is_file()
        assert entry["uris"] == path.as_uri()
        assert Path(entry["thumbnailFileName"]).is_file()
