"""What a run wrote for TensorBoard while it trained, as plain series of numbers. Imports no TensorFlow."""

import sys
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Series:
    """One scalar over the training steps: `steps` (N,) int, rising, and `values` (N,) float."""

    tag: str
    steps: np.ndarray
    values: np.ndarray


def read(folder: Path) -> dict[str, Series]:
    """All scalars in the event files under `folder`, by tag; empty where there are none.

    A run that was resumed wrote some steps twice: what was written last counts. Event files end in the middle of a
    record when their writer was killed: what is whole is read. Images and histograms are passed over one at a time.

    Example:
        >>> read(Path("workspace/models/default/train"))["Loss/total_loss"].values[-1]
        0.41
    """
    points: dict[str, dict[int, tuple[float, float]]] = {}
    for path in sorted(folder.rglob("*tfevents*")):
        for tag, step, time, value in _scalars(path):
            if step not in points.setdefault(tag, {}) or points[tag][step][0] <= time:
                points[tag][step] = (time, value)
    return {
        tag: Series(tag, np.array(sorted(found)), np.array([found[step][1] for step in sorted(found)]))
        for tag, found in sorted(points.items())
    }


def of_run(folder: Path) -> dict[str, Series]:
    """All scalars of a training run's folder, of training and of validation; empty where there are none yet."""
    return {**read(folder / "train"), **read(folder / "eval")}


def _scalars(path: Path) -> list[tuple[str, int, float, float]]:
    # TensorBoard's own switch to its reader without TensorFlow, whose import takes seconds (tensorboard/compat).
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found = []
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            # The loader gives every kind of summary as a tensor; a scalar is a single number.
            if value.HasField("tensor") and not value.tensor.string_val:
                array = tensor_util.make_ndarray(value.tensor)
                if array.size == 1 and np.issubdtype(array.dtype, np.number):
                    found.append((value.tag, int(event.step), float(event.wall_time), float(array.item())))
    return found
