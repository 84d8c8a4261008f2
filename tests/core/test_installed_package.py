"""What `pip install .` gives: the wheel's content, and what detecting with it imports."""

import ast
import subprocess
import sys
import zipfile
from collections import defaultdict
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from facemask.core.command_line import EXTRAS

ROOT = Path(__file__).resolve().parents[2]

LARGEST = 850 * 10**6
"""Bytes of all packages that the wheel requires, without bytecode. On Linux they were 786 MB on 2026-11-29.
docs/deploy.md lists them, and says what was looked at to make them fewer."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, ROOT], check=True, timeout=120)
    (file,) = folder.glob("facemask-*.whl")
    return zipfile.ZipFile(file)


def requirements_of(wheel: zipfile.ZipFile) -> list[str]:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    lines = wheel.read(metadata).decode().splitlines()
    return [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]


def packages_of(wheel: zipfile.ZipFile) -> dict[str, Distribution]:
    """What `pip install <wheel>` installs beside it, by name, as it is installed here."""
    waiting = requirements_of(wheel)
    found: dict[str, Distribution] = {}
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name not in found and (not requirement.marker or requirement.marker.evaluate({"extra": ""})):
            found[requirement.name] = distribution(requirement.name)
            waiting += found[requirement.name].requires or []
    return found


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    files_of_wheel = set(wheel.namelist())
    sources = [path for folder in ("facemask", "configs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = {str(path.relative_to(ROOT)) for path in sources if path.parent.name != "__pycache__"}
    # The weights to train on are in the repository alone: they would add 7 MB, and detecting does not need them.
    names -= {name for name in names if name.startswith("facemask/ready/training/")}
    expected = {f"facemask/{name}" if name.startswith("configs/") else name for name in names}
    assert {file for file in files_of_wheel if ".dist-info/" not in file} == expected
    assert "facemask/py.typed" in files_of_wheel


def test_detecting_installs_no_training_packages_and_little_more_than_it_needs(wheel: zipfile.ZipFile) -> None:
    packages = packages_of(wheel)
    assert {"openvino", "opencv-python", "supervision", "numpy"} <= packages.keys()
    assert (
        not {"tensorflow", "tf-keras", "pandas", "onnxruntime", "fastapi", "opencv-python-headless"} & packages.keys()
    )
    paths = {path.locate() for package in packages.values() for path in package.files or []}
    assert sum(Path(path).stat().st_size for path in paths if Path(path).exists()) < LARGEST


def owners_of_modules() -> dict[str, set[str]]:
    """The installed packages that hold each top-level module. (`packages_distributions` misses most on Python 3.10.)"""
    owners = defaultdict(set)
    for package in distributions():
        for file in package.files or []:
            owners[file.parts[0].partition(".")[0]].add(canonicalize_name(package.metadata["Name"]))
    return owners


def test_every_package_that_is_imported_is_declared(wheel: zipfile.ZipFile) -> None:
    """Also one that other packages bring with them today."""
    declared = {canonicalize_name(Requirement(line).name) for line in requirements_of(wheel)}
    owners = owners_of_modules()
    ours = {"facemask", "libs"}  # the second is a part of labelImg
    undeclared = {}
    for file in (ROOT / "facemask").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for module in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - ours:
                packages = owners.get(module, set())
                # A package of an extra may not be installed here; `EXTRAS` says which extra brings it.
                if not packages & declared and (packages or module not in EXTRAS):
                    undeclared[module] = file.name
    assert undeclared == {}


@pytest.mark.parametrize("step", ["infer", "serve", "eval"])
def test_finding_faces_needs_neither_training_packages_nor_unix(step: str) -> None:
    code = f"""
import sys
for module in ("fcntl", "tensorflow", "tf_keras", "object_detection", "pandas"):
    sys.modules[module] = None
from facemask.cli import app
app.command_of({step!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
