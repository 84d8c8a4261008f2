"""Precision, recall and F1 at a score threshold, and the threshold with the highest F1 of each class."""

from dataclasses import dataclass

import numpy as np

from facemask.evaluation.coco import Matches


@dataclass(frozen=True)
class OperatingPoint:
    """Precision, recall and F1 of a class's detections with a score of `threshold` or more, at IoU 0.5.

    Attributes:
        name: The class.
        threshold: The score threshold.
        precision: None if nothing was detected.
        recall: None if there is no ground truth.
        f1: None if nothing was detected and there is no ground truth.
        hits: Detections that match a face.
        false_alarms: Detections that do not.
        missed: Faces without a detection.
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
class PrecisionRecallCurve:
    """A class's precision and recall at IoU 0.5, at each threshold.

    Attributes:
        name: The class.
        thresholds: (N,) the distinct scores, in descending order.
        precision: (N,) precision of the detections with that score or a higher one.
        recall: (N,) recall of the same detections, in ascending order.
    """

    name: str
    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def precision_recall_curve(matches: Matches) -> PrecisionRecallCurve:
    """The precision-recall curve of one class; empty if it has no ground truth or no detections."""
    scores, hits, alarms = _cumulative(matches)
    boxes = int(matches.truths.sum())
    if boxes == 0 or scores.size == 0:
        return PrecisionRecallCurve(matches.name, *(np.zeros(0) for _ in range(3)))
    return PrecisionRecallCurve(matches.name, scores, hits / np.maximum(hits + alarms, 1), hits / boxes)


def operating_point_at(matches: Matches, threshold: float) -> OperatingPoint:
    """Precision, recall and F1 of the detections with a score of `threshold` or more."""
    scores, hits, alarms = _cumulative(matches)
    # float32 on both sides: 0.3 as it is typed and 0.3 as a model gives it are the same score.
    kept = int(np.count_nonzero(scores.astype(np.float32) >= np.float32(threshold)))
    hit, alarm = (int(hits[kept - 1]), int(alarms[kept - 1])) if kept else (0, 0)
    return operating_point(matches.name, threshold, hit, alarm, int(matches.truths.sum()))


def operating_point(name: str, threshold: float, hits: int, false_alarms: int, boxes: int) -> OperatingPoint:
    """Precision, recall and F1 from counts.

    Example:
        >>> operating_point("with_mask", 0.5, hits=3, false_alarms=1, boxes=6).precision
        0.75
    """
    return OperatingPoint(
        name=name,
        threshold=float(threshold),
        precision=_ratio(hits, hits + false_alarms),
        recall=_ratio(hits, boxes),
        f1=_ratio(2 * hits, hits + false_alarms + boxes),
        hits=hits,
        false_alarms=false_alarms,
        missed=boxes - hits,
    )


def best_operating_point(matches: Matches) -> OperatingPoint | None:
    """The operating point with the highest F1, and among equals the highest threshold. None without a right detection.

    The threshold lies half-way to the next lower score, because another runtime may give slightly different scores.
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
            return operating_point_at(matches, threshold)
    return operating_point_at(matches, float(scores[place]))


def _cumulative(matches: Matches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores in descending order, and the hits and false alarms with that score or a higher one."""
    counts = ~matches.ignored[0]
    scores, hit = matches.scores[counts], matches.hits[0][counts]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if scores.size else np.zeros(0, int)
    hits = np.cumsum(hit)[last] if scores.size else np.zeros(0, int)
    return scores[last], hits, last + 1 - hits


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
