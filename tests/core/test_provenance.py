import re
import subprocess
from pathlib import Path

from facemask.core import provenance


def test_the_commit_is_that_of_facemask_and_not_of_the_users_repository(tmp_path: Path) -> None:
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    packages.mkdir(parents=True)
    user = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], [*user, "commit", "--quiet", "--allow-empty", "--message", "a"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    assert re.fullmatch("[0-9a-f]{40}", provenance._commit(tmp_path) or "")
    assert provenance._commit(packages) is None
