"""The Slicer extension as a whole: what CMake installs, what the Extensions Index reads, and who may know Slicer."""

import ast
import fnmatch
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
MODULES = sorted(path.parent.name for path in ROOT.glob("*/CMakeLists.txt"))
# What the packages between the engine and the modules may not know.
LAYERS = {"csvd_slicer": {"qt", "ctk", "PythonQt", "torch", "csvd_panel"}, "csvd_panel": {"torch"}}
LAYER = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def setting(name: str) -> str:
    """A metadata value of the top-level CMakeLists.txt, its own variables filled in."""
    values = dict(re.findall(r'^set\((\w+) "(.*?)"', CMAKE, re.MULTILINE))
    text = values[name]
    while found := re.search(r"\$\{(\w+)\}", text):
        text = text.replace(found[0], values[found[1]])
    return text


def shipped() -> list[str]:
    """Every file of the folders that the extension installs beside its modules, as git knows them."""
    folders = ("csvd", "csvd_slicer", "csvd_panel", "Resources/Models", "Resources/SampleData")
    told = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True)
    if told.returncode:
        pytest.skip("not a git checkout")
    return told.stdout.split()


def test_cmake_installs_every_file_of_the_packages_the_models_and_the_sample():
    globs = [glob for block in re.findall(r"file\(GLOB_RECURSE(.*?)\)", CMAKE, re.DOTALL) for glob in block.split()]
    globs = [glob for glob in globs if "*" in glob]
    files = shipped()
    assert len(files) > 60
    assert [path for path in files if not any(fnmatch.fnmatch(path, glob) for glob in globs)] == []
    for glob in globs:
        assert any(fnmatch.fnmatch(path, glob) for path in files), f"nothing is called {glob}"


def test_every_module_folder_is_added():
    assert sorted(re.findall(r"^add_subdirectory\((\w+)\)", CMAKE, re.MULTILINE)) == MODULES


def test_the_entry_for_the_extensions_index_says_the_same_as_cmake():
    name = re.search(r"^project\((\w+)\)", CMAKE, re.MULTILINE)[1]
    entry = json.loads((ROOT / f"{name}.json").read_text(encoding="utf-8"))
    assert not name.startswith("Slicer")
    assert entry["category"] == setting("EXTENSION_CATEGORY")
    assert entry["build_dependencies"] == setting("EXTENSION_DEPENDS").split()
    assert entry["scm_url"] == setting("EXTENSION_HOMEPAGE") + ".git"
    assert (ROOT / "LICENSE").exists()


@pytest.mark.parametrize("name", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_icon_and_screenshot_are_in_the_repository(name):
    for url in setting(name).split():
        head, path = url.split("/raw/main/")
        assert head == setting("EXTENSION_HOMEPAGE")
        assert (ROOT / path).exists()


@pytest.mark.parametrize("path", LAYER, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_layer_knows_only_what_is_below_it(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    libraries = {f"{module}Lib" for module in MODULES}
    known = {name.split(".")[0] for name in names}
    assert not known & {*LAYERS[path.relative_to(ROOT).parts[0]], *MODULES, *libraries}
