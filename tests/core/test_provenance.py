import re
import subprocess
from pathlib import Path

import pytest

from facemask.core import provenance
from facemask.core.files import write_json


def test_the_commit_is_that_of_facemask_and_not_of_the_users_repository(tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    user = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], [*user, "commit", "--quiet", "--allow-empty", "--message", "a"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    assert re.fullmatch("[0-9a-f]{40}", provenance._commit(tmp_path) or "")
    assert provenance._commit(packages) is None


@pytest.mark.parametrize(
    ("name", "made", "start"),
    [
        ("run.json", {"settings": {"checkpoint": "workspace/models/first"}, "started_from": "ready"}, "ready"),
        ("model.json", {"settings": {"checkpoint": "ckpt-7"}, "started_from": "ready"}, "ready"),
        ("classifier.json", {"settings": {"weights": "ready"}}, "ready"),  # of an earlier version
        ("run.json", {"settings": {"checkpoint": "ready"}, "started_from": None}, None),  # continued with that option
        ("faces.json", {"settings": {"weights": None}}, None),
        ("model.json", {}, None),
        ("model.json", None, None),
    ],
)
def test_the_start_of_weights_is_read_beside_them(tmp_path: Path, name: str, made: object, start: str | None) -> None:
    folder = tmp_path / "default"
    write_json(folder / name, {"format": 1, "made": made})
    for weights in (folder, folder / "yunet.onnx", folder / "best" / "ckpt-7"):
        assert provenance.started_from(weights) == start
    assert provenance.started_from(tmp_path / "other") is None
