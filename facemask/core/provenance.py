"""Describe how an output was made, for the small JSON file beside it."""

import datetime
import itertools
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("tensorflow", "tf-models-research-object-detection", "pillow")

READY = "ready"
"""The weights that come with facemask, as CHECKPOINT=, WEIGHTS= and FACES_MODEL= name them."""

_DESCRIPTIONS = ("run.json", "model.json", "classifier.json", "faces.json")
"""The files of runs and exports that hold their provenance."""

RUNTIME_MODULES = {
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "ai-edge-litert": "ai_edge_litert",
    "tensorflow": "tensorflow",
    "opencv": "cv2",
}
"""The packages that run networks, and the names of their modules."""


def made_by(step: str, **settings: Any) -> dict[str, Any]:
    """Describe how an output was made, as JSON values.

    Args:
        step: The step's name, as in `python -m scripts.<step>`.
        settings: The options that determine the output, including seeds. Paths become strings.

    Returns:
        `{"step", "settings", "commit", "made", "python", "packages"}`. `commit` is None outside a checkout of facemask.
        `packages` holds the versions of the training packages (None if not installed) and `runtime_versions`.

    Example:
        >>> write_json(folder / "sample.json", made_by("sample", seed=0, images=300))
    """
    return {
        "step": step,
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()},
        "commit": _commit(Path(__file__).resolve().parents[2]),
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES} | runtime_versions(),
    }


def started_from(weights: Path) -> str | None:
    """What the training of some weights began with, directly or through other runs: `READY`, or None for all else.

    Args:
        weights: The folder of a run or of an export, or a checkpoint or a network in it. The steps write the start as
            `started_from` into the provenance there. Earlier versions wrote the options alone.
    """
    for folder, name in itertools.product((weights, *list(weights.parents)[:2]), _DESCRIPTIONS):
        try:
            made = json.loads((folder / name).read_text(encoding="utf-8"))["made"]
            if "started_from" in made:
                return READY if made["started_from"] == READY else None
            return READY if READY in (made["settings"].get("checkpoint"), made["settings"].get("weights")) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return None


def runtime_versions() -> dict[str, str]:
    """The versions of the packages of `RUNTIME_MODULES` that this process has imported.

    Example:
        >>> runtime_versions()
        {'openvino': '2025.3.0', 'opencv': '4.12.0'}
    """
    loaded = {name: sys.modules.get(module) for name, module in RUNTIME_MODULES.items()}
    return {name: str(getattr(module, "__version__", "unknown")) for name, module in loaded.items() if module}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(root: Path) -> str | None:
    """The checkout's commit, with `+changes` where tracked files differ from it; None where `root` is not its top."""
    # git would look in the folders above: an installed package often lies in a .venv inside the user's repository.
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
