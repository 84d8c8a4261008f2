"""Precision, recall and F1 at a score threshold, and the threshold that serves each class best."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.dataset.label_map import LabelMap
from scripts.scoring.coco import Matches
from scripts.support.errors import UserError

DEFAULT = 0.5


@dataclass(frozen=True)
class Operating:
    """What a class's detections of `threshold` and more are worth at IoU 0.5.

    `precision` is None where nothing was detected, `recall` where there is no truth, `f1` where there is neither.
    """

    name: str
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    hits: int
    false_alarms: int
    missed: int


@dataclass(frozen=True)
class Curve:
    """A class's precision and recall at IoU 0.5 as the threshold falls.

    Attributes:
        name: The class.
        thresholds: (N,) the distinct scores, falling.
        precision: (N,) of the detections that score as much or more.
        recall: (N,) the same; rising.
    """

    name: str
    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def curve(matches: Matches) -> Curve:
    """The precision-recall curve of one class; empty where it has no truth or no detections."""
    scores, hits, alarms = _cumulative(matches)
    boxes = int(matches.truths.sum())
    if boxes == 0 or scores.size == 0:
        return Curve(matches.name, *(np.zeros(0) for _ in range(3)))
    return Curve(matches.name, scores, hits / np.maximum(hits + alarms, 1), hits / boxes)


def at(matches: Matches, threshold: float) -> Operating:
    """Precision, recall and F1 of the detections that score `threshold` or more."""
    scores, hits, alarms = _cumulative(matches)
    # float32 on both sides: 0.3 as it is typed and 0.3 as a model gives it are the same score.
    kept = int(np.count_nonzero(scores.astype(np.float32) >= np.float32(threshold)))
    hit, alarm = (int(hits[kept - 1]), int(alarms[kept - 1])) if kept else (0, 0)
    boxes = int(matches.truths.sum())
    return Operating(
        name=matches.name,
        threshold=float(threshold),
        precision=_ratio(hit, hit + alarm),
        recall=_ratio(hit, boxes),
        f1=_ratio(2 * hit, hit + alarm + boxes),
        hits=hit,
        false_alarms=alarm,
        missed=boxes - hit,
    )


def best(matches: Matches) -> Operating | None:
    """Where F1 is highest; of equals the highest threshold. None where nothing was found.

    The threshold lies half-way to the next lower score, so that a score that another runtime gives a little
    differently stays on its side.
    """
    scores, hits, alarms = _cumulative(matches)
    if hits.size == 0 or hits[-1] == 0:
        return None
    f1 = 2 * hits / (hits + alarms + matches.truths.sum())
    place = int(np.argmax(f1))
    lower = scores[place + 1] if place + 1 < scores.size else 0.0
    middle = (float(scores[place]) + float(lower)) / 2
    for threshold in (round(middle, 3), middle):
        if np.float32(lower) < np.float32(threshold) <= np.float32(scores[place]):
            return at(matches, threshold)
    return at(matches, float(scores[place]))


def read(path: Path, label_map: LabelMap) -> dict[str, float]:
    """The best thresholds that an evaluation wrote to `metrics.json`, by class; a class nobody found is left out.

    Raises:
        UserError: The file is missing, is no `metrics.json`, or is about other classes.

    Example:
        >>> read(Path("workspace/reports/default/metrics.json"), label_map)
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


def parse(text: str, label_map: LabelMap) -> tuple[float, ...] | None:
    """A threshold for each class from what a user wrote: a number from 0 to 1, `best`, or the path of a metrics.json.

    A class without a best threshold in that file gets 0.5. None stands for `best`: those of the images measured.

    Raises:
        UserError: It is neither.

    Example:
        >>> parse("0.4", label_map)
        (0.4, 0.4, 0.4)
    """
    if text == "best":
        return None
    try:
        value = float(text)
    except ValueError:
        if not text.endswith(".json"):
            raise UserError(f"threshold {text!r}: give a number from 0 to 1, best, or a metrics.json.") from None
        found = read(Path(text), label_map)
        return tuple(found.get(name, DEFAULT) for name in label_map.names)
    if not 0 <= value <= 1:
        raise UserError(f"threshold {text}: scores run from 0 to 1.")
    return (value,) * len(label_map)


def _cumulative(matches: Matches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each distinct score, falling, with the hits and false alarms that score as much or more, at IoU 0.5."""
    counts = ~matches.ignored[0]
    scores, hit = matches.scores[counts], matches.hits[0][counts]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if scores.size else np.zeros(0, int)
    hits = np.cumsum(hit)[last] if scores.size else np.zeros(0, int)
    return scores[last], hits, last + 1 - hits


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
