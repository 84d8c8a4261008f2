"""What `pip install .` gives: the wheel's content, and what detecting with it imports."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files_of_wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, ROOT], check=True, timeout=120)
    (wheel,) = folder.glob("facemask-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(files_of_wheel: set[str]) -> None:
    sources = [path for folder in ("facemask", "configs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = {str(path.relative_to(ROOT)) for path in sources if path.parent.name != "__pycache__"}
    # The weights to train on are in the repository alone: they would add 7 MB, and detecting does not need them.
    names -= {name for name in names if name.startswith("facemask/ready/training/")}
    expected = {f"facemask/{name}" if name.startswith("configs/") else name for name in names}
    assert {file for file in files_of_wheel if ".dist-info/" not in file} == expected
    assert "facemask/py.typed" in files_of_wheel


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
