"""Score thresholds for each class, as the option THRESHOLD= takes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facemask.core.errors import UserError
from facemask.core.files import expand_home
from facemask.core.label_map import LabelMap

if TYPE_CHECKING:
    import supervision as sv

DEFAULT_THRESHOLD = 0.5
"""The threshold of a class for which neither the exported model nor an evaluation has one."""

METRICS = "metrics.json"
"""The file in which `make eval` writes the best thresholds, in a folder of that detector's name among the reports."""


def thresholds_by_class(known: Mapping[str, float], label_map: LabelMap) -> tuple[float, ...]:
    """The threshold of each class in the order of the label map, `DEFAULT_THRESHOLD` for a class that has none."""
    return tuple(known.get(name, DEFAULT_THRESHOLD) for name in label_map.names)


def parse_thresholds(
    text: str, label_map: LabelMap, metrics: Path | None = None, own: Mapping[str, float] | None = None
) -> tuple[float, ...]:
    """A threshold for each class from what a user wrote.

    Args:
        text: A number from 0 to 1 for all the classes; or the path of a `metrics.json`, whose best thresholds are
            taken; or `best` for those of `metrics`; or nothing, for those of `own`.
        label_map: The classes.
        metrics: The `metrics.json` of this detector's evaluation; None where `best` cannot be meant.
        own: The thresholds that the exported model carries, by class.

    Returns:
        One score in 0..1 for each class, in the order of the label map; `DEFAULT_THRESHOLD` for a class that has no
        threshold there.

    Raises:
        UserError: It is neither, or the file is missing, is not a `metrics.json`, or is about other classes.

    Example:
        >>> parse_thresholds("0.4", label_map)
        (0.4, 0.4, 0.4)
    """
    if not text:
        return thresholds_by_class(own or {}, label_map)
    if text == "best" and metrics is not None:
        text = str(metrics)
    try:
        value = float(text)
    except ValueError:
        if not text.endswith(".json"):
            raise UserError(f"threshold {text!r}: give a number from 0 to 1, best, or a {METRICS}.") from None
        return thresholds_by_class(read_best_thresholds(expand_home(text), label_map), label_map)
    if not 0 <= value <= 1:
        raise UserError(f"threshold {text}: scores run from 0 to 1.")
    return (value,) * len(label_map)


def read_best_thresholds(path: Path, label_map: LabelMap) -> dict[str, float]:
    """The best thresholds that an evaluation wrote, by class; a class that was never found is left out.

    Raises:
        UserError: The file is missing, is not a `metrics.json`, or is about other classes.

    Example:
        >>> read_best_thresholds(Path("workspace/reports/default/metrics.json"), label_map)
        {'with_mask': 0.41, 'without_mask': 0.35}
    """
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        classes = tuple(metrics["classes"])
        found = {str(name): float(threshold) for name, threshold in metrics["thresholds"].items()}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. `make eval` writes it.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not the metrics.json that `make eval` writes. Run it again.") from None
    if classes != label_map.names:
        raise UserError(
            f"{path}: its classes are {', '.join(classes)}; the model's are {', '.join(label_map.names)}. "
            "Take the metrics of this model."
        )
    return found


def above_thresholds(detections: "sv.Detections", thresholds: Sequence[float]) -> "sv.Detections":
    """The detections that score at least the threshold of their class.

    Args:
        detections: The boxes of one picture, with `confidence` and `class_id`.
        thresholds: One score in 0..1 for each class, in the order of the ids.
    """
    return detections[reach_thresholds(detections, thresholds)]


def reach_thresholds(detections: "sv.Detections", thresholds: Sequence[float]) -> np.ndarray:
    """Which detections score at least the threshold of their class: (n,) bool. Arguments as of `above_thresholds`."""
    # float32 on both sides: 0.3 as it is typed and 0.3 as a model gives it are the same score.
    least = np.asarray(thresholds, np.float32)[np.asarray(detections.class_id, int) - 1]
    return np.asarray(np.asarray(detections.confidence, np.float32) >= least)
