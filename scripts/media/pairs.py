"""Prediction beside truth: one picture that shows what a detector got right."""

from collections.abc import Iterable

import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.dataset.truth import Truth
from scripts.detect.detector import Detector
from scripts.media import drawing

_GAP = 12


def most_varied(pictures: Iterable[tuple[np.ndarray, Truth]]) -> tuple[np.ndarray, Truth]:
    """The first of the pictures that show most classes. It is chosen by its truth, so it flatters no detector."""
    return max(pictures, key=lambda pair: len(set(pair[1].class_ids.tolist())))


def draw(image: np.ndarray, truth: Truth, detector: Detector, threshold: float) -> np.ndarray:
    """Draw what a detector finds in a picture, and the truth to the right of it.

    Args:
        image: uint8 array of shape (height, width, 3), RGB.
        truth: Its labelled boxes.
        detector: The detector.
        threshold: Least score that is drawn.

    Returns:
        uint8 array of shape (about the height, twice the width, 3), enlarged as `drawing.draw` does, RGB.
    """
    [found] = detector.detect([image])
    found = found[np.asarray(found.confidence) >= threshold]
    left = drawing.draw(image, found)
    right = drawing.draw(image, labelled(truth, detector.label_map), labels=labels_of(truth, detector.label_map))
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    return np.hstack([left, gap, right])


def labelled(truth: Truth, label_map: LabelMap) -> sv.Detections:
    """A picture's truth as detections of score 1."""
    names = np.array(labels_of(truth, label_map), dtype=str)
    return sv.Detections(
        xyxy=np.asarray(truth.boxes, np.float32).reshape(-1, 4),
        confidence=np.ones(len(truth.boxes), np.float32),
        class_id=np.asarray(truth.class_ids, int),
        data={"class_name": names},
    )


def labels_of(truth: Truth, label_map: LabelMap) -> list[str]:
    """The class names of a picture's truth, in its order."""
    return [label_map.name_of(int(class_id)) for class_id in truth.class_ids]
