"""How much a detector may learn from a picture: its uncertainty, and its disagreement with a second detector."""

from collections.abc import Iterator

import numpy as np
import supervision as sv

from facemask.detect.box_matching import match_boxes
from facemask.detect.opened_detector import SAME_FACE, one_box_per_face


def uncertainty(found: sv.Detections, classes: int) -> float:
    """How unsure a detector is about a picture: the sum of (1 - margin) squared over its faces.

    A face's margin is the score of its best class minus that of the second best. "No face" is one of the classes; its
    score is 1 minus the sum of the others. The margin is nearly 1 for a face that is clear, and for a box that scores
    nearly 0.

    Args:
        found: All detections of the picture, of every class, such as `RawDetector.detect_all` gives.
        classes: The number of classes.

    Example:
        >>> uncertainty(detections_with_one_face_that_scores(0.5), classes=3)
        1.0
    """
    return sum(face_uncertainty(scores) for scores in face_scores(found, classes))


def face_uncertainty(scores: np.ndarray) -> float:
    """(1 - margin) squared of one face, of its score for each class, (K). See `uncertainty`."""
    nothing = max(0.0, 1.0 - float(scores.sum()))
    best, second = sorted([*scores.tolist(), nothing], reverse=True)[:2]
    return float((1.0 - min(best - second, 1.0)) ** 2)


def disagreement(one: sv.Detections, other: sv.Detections) -> float:
    """How much two detectors disagree: for each face the difference of the scores, or the higher score if the classes
    differ.

    A face that only one detector found counts with its score.

    Args:
        one: The faces of a picture by one detector, one box a face.
        other: The same by the other.
    """
    # Without classes, because two classes on one face are a disagreement too.
    first, second = (sv.Detections(xyxy=found.xyxy, confidence=found.confidence) for found in (one, other))
    partner = match_boxes(first, second, SAME_FACE)
    total, alone = 0.0, np.ones(len(other), bool)
    for index, place in enumerate(partner):
        score = float(one.confidence[index])
        if place < 0:
            total += score
            continue
        alone[place] = False
        rival = float(other.confidence[place])
        same = one.class_id[index] == other.class_id[place]
        total += abs(score - rival) if same else max(score, rival)
    return total + float(np.sum(other.confidence[alone]))


def face_scores(found: sv.Detections, classes: int) -> Iterator[np.ndarray]:
    """For each face of a picture, (K,) float64 the best score of each class among the boxes on it.

    Args:
        found: As for `uncertainty`.
        classes: The number of classes, K.
    """
    faces = one_box_per_face(found)
    if not len(faces):
        return
    ious = np.asarray(sv.box_iou_batch(faces.xyxy, found.xyxy))
    nearest = ious.argmax(axis=0)
    for face in range(len(faces)):
        here = (nearest == face) & (ious[face] >= SAME_FACE)
        scores = np.zeros(classes)
        np.maximum.at(scores, np.asarray(found.class_id, int)[here] - 1, np.asarray(found.confidence, float)[here])
        yield scores
