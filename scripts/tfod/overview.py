"""What can be said of a training run by looking at its folder. Imports no TensorFlow."""

import contextlib
import datetime
import json
import re
from dataclasses import dataclass
from pathlib import Path

from scripts.support.errors import UserError
from scripts.tfod import runs


@dataclass(frozen=True)
class Overview:
    """A training run at a glance.

    Attributes:
        name: The run's name.
        model: The architecture, as the model zoo names it; what is wrong with the run where it cannot be read.
        size: Side of the input in pixels; None where the config does not say.
        step: Step of the latest checkpoint; 0 without one.
        steps: Steps the run is to have; None where the config does not say.
        best_map: mAP@0.5 of the best validation, 0..1; None without one.
        best_step: Its step.
        bytes: Size of the run on disk; a file with two names counts once.
        saved: When the latest checkpoint was written; None without one.
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
        """As texts: run and model, steps, best mAP, size, last saved."""
        return (
            f"{self.name}\n{self.model}" + ("" if self.size is None else f", {self.size} px"),
            f"{self.step:,}" + ("" if self.steps is None else f" of {self.steps:,}"),
            "" if self.best_map is None else f"{self.best_map:.3f} at {self.best_step:,}",
            f"{self.bytes / 1e6:,.0f} MB",
            "" if self.saved is None else f"{self.saved:%Y-%m-%d %H:%M}",
        )


def runs_in(models: Path) -> list[Overview]:
    """The runs in a folder of runs, in the order of their names."""
    return [of(path.parent) for path in sorted(models.glob(f"*/{runs.NAME}"))]


def of(folder: Path) -> Overview:
    """Look at one run; what of it cannot be read is left out, and said in place of the model."""
    try:
        model = runs.read(folder).model
    except UserError as error:
        model = f"cannot be read: {error}"
    config = _text(folder / "pipeline.config")
    checkpoints = {int(path.stem.removeprefix("ckpt-")): path for path in folder.glob("ckpt-*.index")}
    step = max(checkpoints, default=0)
    saved = datetime.datetime.fromtimestamp(checkpoints[step].stat().st_mtime) if checkpoints else None
    best_map: float | None = None
    best_step: int | None = None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        best = json.loads(_text(folder / "best" / "best.json"))
        best_map, best_step = float(best["map"]), int(best["step"])
    files = {(s.st_dev, s.st_ino): s.st_size for s in (f.stat() for f in folder.rglob("*") if f.is_file())}
    return Overview(
        folder.name,
        model,
        _number(config, r"resizer\s*{\s*(?:height|min_dimension):\s*(\d+)"),
        step,
        _number(config, r"num_steps:\s*(\d+)"),
        best_map,
        best_step,
        sum(files.values()),
        saved,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _number(config: str, pattern: str) -> int | None:
    # The whole config is the API's to parse, which takes seconds; these two are what our templates write.
    found = re.search(pattern, config)
    return int(found[1]) if found else None
