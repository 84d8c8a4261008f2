"""Read the scalars that a run wrote for TensorBoard as arrays, and choose its charts. Imports no TensorFlow."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemask.core.charts import Line, Panel
from facemask.core.colours import chart_colour
from facemask.core.errors import UserError
from facemask.data import tfrecord

COCO_TAG = "DetectionBoxes_Precision/"
"""The prefix of COCO's metrics in TensorBoard, as the API writes it."""

_COLOURS = (3, 0, 1, 4, 5)


@dataclass(frozen=True)
class Series:
    """One scalar over the training steps: `steps` (N,) int, in ascending order, and `values` (N,) float."""

    tag: str
    steps: np.ndarray
    values: np.ndarray


def read_events(folder: Path) -> dict[str, Series]:
    """Read all scalars in the event files below `folder`, by tag; empty if there are none.

    A resumed run may have written a step twice. The value that was written last counts. The event file of a killed run
    may end in the middle of a record. The records before it are read. Images and histograms are skipped.

    Example:
        >>> read_events(Path("workspace/models/default/train"))["Loss/total_loss"].values[-1]
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


def read_run_scalars(folder: Path) -> dict[str, Series]:
    """Read all scalars of a training run's folder, of training and of validation; empty if there are none yet."""
    return {**read_events(folder / "train"), **read_events(folder / "eval")}


def training_panels(series: Mapping[str, Series]) -> list[Panel]:
    """The charts of a training run: losses, learning rate and validation. A chart without values is left out.

    Args:
        series: The scalars by tag, from `read_run_scalars`.
    """
    groups = (
        ("Loss", [tag for tag in series if tag.startswith("Loss/")], "Loss/"),
        ("Learning rate", [tag for tag in series if tag == "learning_rate"], ""),
        ("Validation", [tag for tag in series if tag.startswith(COCO_TAG) and "(" not in tag], COCO_TAG),
    )
    panels = []
    for title, tags, prefix in groups:
        shown = [series[tag] for tag in tags if np.isfinite(series[tag].values).any()]
        lines = tuple(
            Line(
                one.tag.removeprefix(prefix).replace("_", " "),
                one.steps,
                one.values,
                chart_colour(_COLOURS[index % len(_COLOURS)]),
            )
            for index, one in enumerate(shown)
        )
        if lines:
            panels.append(Panel(title, lines, smoothed=title == "Loss"))
    return panels


def _scalars(path: Path) -> list[tuple[str, int, float, float]]:
    # TensorBoard's own loader of event files decides once in a process whether its writers, too, do without TensorFlow.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.util import tensor_util

    found = []
    for record in _whole_records(path):
        event = Event.FromString(record)
        for value in event.summary.value:
            if value.HasField("simple_value"):
                array = np.array(value.simple_value)
            elif value.HasField("tensor") and not value.tensor.string_val:
                array = tensor_util.make_ndarray(value.tensor)
            else:
                continue
            if array.size == 1 and np.issubdtype(array.dtype, np.number):
                found.append((value.tag, int(event.step), float(event.wall_time), float(array.item())))
    return found


def _whole_records(path: Path) -> Iterator[bytes]:
    """The records of an event file up to its end, or up to one that is cut off."""
    with contextlib.suppress(UserError):
        yield from tfrecord.read_tfrecord(path)
