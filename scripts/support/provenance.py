"""What made an output: the small JSON that stands beside it."""

import datetime
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any


def made_by(step: str, **settings: Any) -> dict[str, Any]:
    """Describe the making of an output, as JSON values.

    Args:
        step: The step's name, as in `python -m scripts.<step>`.
        settings: The options that decide the output, seeds among them. Paths become strings.

    Returns:
        `{"step", "settings", "commit", "made", "python", "packages"}`. `commit` is None outside a git checkout.

    Example:
        >>> write_json(folder / "sample.json", made_by("sample", seed=0, images=300))
    """
    return {
        "step": step,
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()},
        "commit": _commit(),
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("tensorflow", "tf-models-research-object-detection", "pillow")},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with `+changes` where tracked files differ from it."""
    root = Path(__file__).resolve().parents[2]
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
