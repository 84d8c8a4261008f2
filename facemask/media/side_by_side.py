"""Draws a detector's boxes beside the ground truth of a picture."""

from collections.abc import Iterable, Sequence

import numpy as np
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.detector import Detector
from facemask.detect.score_thresholds import above_thresholds
from facemask.media import annotating

_GAP = 12


def most_varied(pictures: Iterable[tuple[np.ndarray, GroundTruth]]) -> tuple[np.ndarray, GroundTruth]:
    """The picture whose ground truth has the most classes; the first of equals. The choice ignores any detector."""
    return max(pictures, key=lambda pair: len(set(pair[1].class_ids.tolist())))


def draw_side_by_side(
    image: np.ndarray, truth: GroundTruth, detector: Detector, thresholds: Sequence[float]
) -> np.ndarray:
    """Draw a detector's boxes on a picture, and to the right of it the ground truth.

    Args:
        image: uint8 array of shape (height, width, 3), RGB.
        truth: Its labelled boxes.
        detector: The detector.
        thresholds: The least score of a box of each class, in the order of the ids.

    Returns:
        uint8 array, RGB: both drawings side by side, a small picture enlarged as by `annotating.draw_boxes`.
    """
    [found] = detector.detect([image])
    left = annotating.draw_boxes(image, above_thresholds(found, thresholds))
    labels = _as_detections(truth, detector.label_map)
    right = annotating.draw_boxes(image, labels, list(labels["class_name"]))
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    return np.hstack([left, gap, right])


def _as_detections(truth: GroundTruth, label_map: LabelMap) -> sv.Detections:
    """The ground truth of a picture as detections with a score of 1."""
    return sv.Detections(
        xyxy=np.asarray(truth.boxes, np.float32).reshape(-1, 4),
        confidence=np.ones(len(truth.boxes), np.float32),
        class_id=np.asarray(truth.class_ids, int),
        data={"class_name": np.array([label_map.name_of(int(i)) for i in truth.class_ids], dtype=str)},
    )
