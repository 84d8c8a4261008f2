"""The notebook: it is valid and small, its commands exist, and run from top to bottom it makes a better detector."""

import base64
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from facemask.cli import make_variables
from facemask.cli.app import command_of, step_names

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "face_masks.ipynb"
LARGEST_PICTURE = 300_000
MAKE = re.compile(r"^ *!make (.*)$|`make ([^`]*)`", re.MULTILINE)


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def make_commands(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, dict[str, str]]]:
    """The target and the variables of each command of make that the notebook runs or names."""
    for cell in notebook.cells:
        for match in MAKE.finditer(cell.source):
            target, *given = shlex.split(match[1] or match[2])
            yield target, dict(variable.split("=", 1) for variable in given if "=" in variable)


def test_the_notebook_is_valid(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)


def test_the_notebook_keeps_no_outputs_but_small_pictures(notebook: nbformat.NotebookNode) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count is None for cell in cells)
    for output in (output for cell in cells for output in cell.outputs):
        kinds = set(output.data) - {"text/plain"}
        assert kinds and kinds <= {"image/png", "image/jpeg"}
        assert all(len(base64.b64decode(output.data[kind])) < LARGEST_PICTURE for kind in kinds)


def test_the_commands_of_the_notebook_exist(notebook: nbformat.NotebookNode) -> None:
    commands = list(make_commands(notebook))
    assert {"infer", "prelabel", "label", "records", "train", "export"} <= {target for target, _ in commands}
    for target, given in commands:
        if target != "setup":
            assert target in step_names()
            make_variables.to_arguments(command_of(target), target, given)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_the_notebook_runs_and_its_training_helps(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    import nbclient

    checkout = tmp_path / "checkout"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    (checkout / ".venv").symlink_to((ROOT / ".venv").resolve())

    where = {"metadata": {"path": str(checkout / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=3000, resources=where).execute()

    texts = [output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output]
    assert not [text for text in texts if "make: ***" in text]
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert len(pictures) == 3
    before, after = (
        json.loads((checkout / "workspace" / "reports" / name / "metrics.json").read_text(encoding="utf-8"))["figures"]
        for name in ("notebook-before", "notebook")
    )
    assert before["boxes"] == after["boxes"] > 0
    assert after["map50"] > before["map50"] + 0.05
