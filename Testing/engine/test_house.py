"""The house keeps its order: who may import whom, what is loaded when, one version, intact and small models."""

import ast
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

import csvd
from csvd.networks import EXTRA_PACKAGES

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "csvd"
MODELS = ROOT / "Resources" / "Models"

# A part may import parts of lower floors, and its own; the same number means side by side, not through each other.
FLOORS = {
    "networks": 0, "errors": 0, "marker": 0, "preprocessing": 0, "sequences": 0,
    "grid": 1, "nifti": 2, "itk": 2, "image": 3, "checks": 4, "head_ct": 4, "midplane": 4, "ventricles": 4,
    "checks_ct": 5, "checks_sequences": 5,
    "bundle": 4, "inference": 4, "measure": 4, "registration": 4,
    "anatomy": 5, "inference_volume": 5,
    "report": 6, "infarct": 6,
    "result": 7, "focal_result": 7, "cohort": 7,
    "burden_result": 8,
    "pipelines": 9, "comparison": 9,
    "commands": 10,
    "cli": 11,
    "__main__": 12,
}  # fmt: skip
NEVER = {"slicer", "qt", "ctk", "vtk", "trame"}
ALLOWED = {"numpy", "scipy", "SimpleITK", "torch", "safetensors", "jsonschema", "PIL"}
# What one file of the engine may import on top of that.
EXTRA = {
    "networks/resnet34unet.py": {"monai"}, "networks/mounet.py": {"monai"}, "networks/unet3d.py": {"monai"},
    "inference_volume.py": {"monai"}, "cohort/plots.py": {"matplotlib"},
}  # fmt: skip
LARGEST_FILE_MB = 16
LARGEST_MODELS_MB = 60


def part(path: Path) -> str:
    """The name in ``FLOORS`` of a file of the engine."""
    return path.relative_to(ENGINE).parts[0].removesuffix(".py")


def imports(path: Path, source: str | None = None) -> set[str]:
    """Full names of all modules that a file imports, at any depth, also inside functions; not those for types alone."""
    tree = ast.parse(source if source is not None else path.read_text(encoding="utf-8"))
    package = ["csvd", *path.relative_to(ENGINE).parent.parts]
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names |= {f"{base}.{alias.name}" for alias in node.names} if base == "csvd" else {base}
    return names


def engine_parts(names: set[str]) -> set[str]:
    """The parts of the engine among imported names; ``csvd`` and ``csvd.__version__`` are no part."""
    found = {name.split(".")[1] for name in names if name.startswith("csvd.")}
    return {name for name in found if not name.startswith("__")}


SOURCES = sorted(ENGINE.rglob("*.py"))


def test_the_import_reader_sees_relative_absolute_late_and_type_only_imports():
    source = (
        "from ..image import Grid\nimport csvd.measure.zones\nfrom csvd import nifti, __version__\nimport vtk.util\n"
        "def late():\n    from .elements import card\n"
        "if TYPE_CHECKING:\n    from csvd.result import Result\n"
    )
    names = imports(ENGINE / "report" / "html.py", source)
    assert engine_parts(names) == {"image", "measure", "nifti", "report"}
    assert "vtk.util" in names


def test_every_part_of_the_engine_has_a_floor():
    assert {part(path) for path in SOURCES} - {"__init__"} == set(FLOORS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_upward_or_what_is_not_ours(path):
    here, names = part(path), imports(path)
    used = engine_parts(names) - {here}
    if here == "__init__":
        assert not names
    elif here == "image":  # grids are born in grid.py; image.py is where everybody takes them from
        assert used <= {"errors", "grid", "nifti", "itk"}
    else:
        upward = {other for other in used if FLOORS[other] >= FLOORS[here]}
        assert not upward, f"{path.name} imports {upward}"
    foreign = {name.split(".")[0] for name in names} - {"csvd"} - set(sys.stdlib_module_names)
    assert not foreign & NEVER
    assert foreign <= ALLOWED | EXTRA.get(str(path.relative_to(ENGINE).as_posix()), set())


@pytest.mark.parametrize(
    ("name", "barred"),
    [
        ("networks", set(FLOORS) - {"networks"}),
        ("measure", set(FLOORS) - {"measure", "errors", "marker"}),
        ("anatomy", {"measure", "report", "result"}),
        ("inference", {"preprocessing", "image", "bundle"}),
        ("pipelines", {"report", "commands", "cli"}),
    ],
)
def test_a_part_keeps_to_its_own_business(name, barred):
    files = [path for path in SOURCES if part(path) == name]
    assert files
    used = set().union(*(engine_parts(imports(path)) for path in files))
    assert not used & barred


def test_help_answers_without_loading_a_heavy_library():
    script = (
        "import sys; from csvd.cli import main; status = main(['--help']); "
        f"heavy = {sorted(ALLOWED)!r}; print(status, [name for name in heavy if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "usage: csvd" in told
    assert told.rstrip().splitlines()[-1] == "0 []"


def test_a_wrong_call_is_refused_without_loading_torch():
    script = (
        "import sys; from csvd.cli import main; status = main(['wmh', 'no_such_file.nii', '-o', 'out']); "
        "print(status, 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.rstrip().splitlines()[-1] == "2 False"


def test_monai_is_loaded_by_the_one_network_that_needs_it_and_not_before():
    pytest.importorskip("monai", reason="MONAI is not installed")
    script = (
        "import sys, torch, csvd.bundle, csvd.inference, csvd.pipelines.wmh; from csvd.networks import build\n"
        "for name in ('SEUNet', 'UNet', 'TiantanCNN'):\n"
        "    build({'architecture': name, 'width': 4}).eval()(torch.zeros(1, 1, 32, 32))\n"
        "print('monai' in sys.modules); build({'architecture': 'ResNet34UNet', 'width': 4})\n"
        "print('monai' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "True"]


def test_the_citation_and_the_package_tell_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", citation, re.M) == [csvd.__version__]


def test_the_wheel_takes_every_package_and_the_models():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    here = {".".join(path.parent.relative_to(ROOT).parts) for path in ENGINE.rglob("__init__.py")}
    assert set(setup["packages"]) == here | {"csvd_models"}
    assert setup["package-dir"] == {"csvd_models": "Resources/Models"}


def test_the_makefile_installs_versions_that_the_package_allows():
    pins = dict(re.findall(r"^([A-Za-z]+)==([\d.]+)$", (ROOT / "requirements.txt").read_text(), re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"]:
        name, least = requirement.split(">=")
        assert numbers(pins[name]) >= numbers(least), requirement
    extras = project["optional-dependencies"]
    assert {f"{name}=={pins[name]}" for name in ("pytest", "ruff", "nibabel")} == set(extras["dev"])
    assert [f"matplotlib=={pins['matplotlib']}"] == extras["cohort"] == extras["train"]
    for requirement in (text for packages in EXTRA_PACKAGES.values() for text in packages.values()):
        name, least = requirement.split(">=")
        assert numbers(pins[name]) >= numbers(least), requirement


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def test_every_shipped_model_is_described_intact_and_small():
    schema = json.loads((ENGINE / "model.schema.json").read_text(encoding="utf-8"))
    folders = [path for path in sorted(MODELS.iterdir()) if path.is_dir()]
    total = 0
    for folder in folders:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        jsonschema.validate(card, schema)
        assert card["id"] == folder.name
        assert {row["file"] for row in card["weights"]} | {"model.json"} == {path.name for path in folder.iterdir()}
        for row in card["weights"]:
            content = (folder / row["file"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (row["bytes"], row["sha256"]), row["file"]
            total += len(content)
    assert {"anatomy", "wmh-seunet"} <= {folder.name for folder in folders}
    assert total < LARGEST_MODELS_MB * 1e6


def test_no_file_in_the_tree_is_large():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    large = [str(path) for path in files if path.is_file() and path.stat().st_size > LARGEST_FILE_MB * 1e6]
    assert files
    assert not large
