"""List the training runs with their progress, from their folders. Imports no TensorFlow."""

import contextlib
import datetime
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from facemask.core.errors import UserError
from facemask.tfod import training_estimate, training_runs


@dataclass(frozen=True)
class Overview:
    """A training run's progress.

    Attributes:
        name: The run's name.
        model: The architecture, as the model zoo names it; the reason if the run cannot be read.
        size: Side of the input in pixels; None if the config cannot be read.
        step: Step of the latest checkpoint; 0 without one.
        steps: Total number of steps; None if the config cannot be read.
        best_map: mAP@0.5 of the best validation, 0..1; None without one.
        best_step: Its step.
        bytes: Size of the run on disk. A file with two names counts once.
        saved: The time at which the latest checkpoint was written; None without one.
    """

    name: str
    model: str
    size: int | None = None
    step: int = 0
    steps: int | None = None
    best_map: float | None = None
    best_step: int | None = None
    bytes: int = 0
    saved: datetime.datetime | None = None

    def row(self) -> tuple[str, ...]:
        """The texts of a table's row: run and model, steps, best mAP, size, last saved."""
        return (
            f"{self.name}\n{self.model}" + ("" if self.size is None else f", {self.size} px"),
            f"{self.step:,}" + ("" if self.steps is None else f" of {self.steps:,}"),
            "" if self.best_map is None else f"{self.best_map:.3f} at {self.best_step:,}",
            f"{self.bytes / 1e6:,.0f} MB",
            "" if self.saved is None else f"{self.saved:%Y-%m-%d %H:%M}",
        )


def list_runs(models: Path) -> list[Overview]:
    """The runs in a folder of runs, sorted by name."""
    return [overview_of_run(path.parent) for path in sorted(models.glob(f"*/{training_runs.NAME}"))]


def overview_of_run(folder: Path) -> Overview:
    """Read one run. Values that cannot be read are None, and `model` is then the reason."""
    try:
        model = training_runs.read_run(folder).model
    except UserError as error:
        model = f"cannot be read: {error}"
    config = _text(folder / "pipeline.config")
    # A user's copy of a checkpoint, such as ckpt-500-copy.index, is no step of the run.
    names = [re.fullmatch(r"ckpt-(\d+)\.index", path.name) for path in folder.glob("ckpt-*.index")]
    step, latest = max(((int(name[1]), name[0]) for name in names if name), default=(0, ""))
    saved: datetime.datetime | None = None
    if latest:
        with contextlib.suppress(FileNotFoundError):  # a training has just removed it
            saved = datetime.datetime.fromtimestamp((folder / latest).stat().st_mtime)
    best_map: float | None = None
    best_step: int | None = None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        best = json.loads(_text(folder / "best" / "best.json"))
        best_map, best_step = float(best["map"]), int(best["step"])
    # os.walk passes over a folder that a training has just removed.
    files = (Path(below) / name for below, _, names_below in os.walk(folder) for name in names_below)
    return Overview(
        folder.name,
        model,
        _number(config, r"resizer\s*{\s*(?:height|min_dimension):\s*(\d+)"),
        step,
        _number(config, r"num_steps:\s*(\d+)"),
        best_map,
        best_step,
        training_estimate.bytes_of_files(files),
        saved,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _number(config: str, pattern: str) -> int | None:
    # Parsing the whole config needs the API, whose import takes seconds. The templates write these two values.
    found = re.search(pattern, config)
    return int(found[1]) if found else None
