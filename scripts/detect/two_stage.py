"""Two stages as one more detector: faces first, the class of each face second. And the same classifier's second look
at the boxes of a detector that has already named a class.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

from scripts.classify.classifier import Classifier
from scripts.classify.crops import cut
from scripts.dataset.label_map import LabelMap
from scripts.detect.detector import Detector
from scripts.detect.faces.finder import FaceFinder

LEAST = 0.05
"""Boxes of a detector that score less are not looked at again, and left out: most of its boxes are such."""

WEIGHT = 0.3
"""How much the classifier's word counts against the detector's when a box is scored again: 0 not at all, 1 alone. The
best of those tried on the val split, where a middling classifier at 0.5 already did harm."""


@dataclass(frozen=True)
class TwoStageDetector:
    """A `Detector` that finds faces and classifies each.

    A face is reported once for each class, and its score is the face's score times the class's probability: how
    probable it is that a face is there and of that class. The scores of one face add up to at most 1, so from a
    threshold of 0.5 on it has one box at most.
    """

    faces: FaceFinder
    classifier: Classifier

    @property
    def name(self) -> str:
        """See `Detector.name`."""
        return f"{self.faces.name} + {self.classifier.name}"

    @property
    def label_map(self) -> LabelMap:
        """See `Detector.label_map`."""
        return self.classifier.label_map

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`. The faces of all the pictures go through the classifier together."""
        found = self.faces.find(images)
        probabilities = _classify(self.classifier, images, [faces.xyxy for faces in found])
        return [_each_class(faces, rows, self.label_map) for faces, rows in zip(found, probabilities, strict=True)]


@dataclass(frozen=True)
class RescoredDetector:
    """A `Detector` whose boxes a classifier looks at again: each keeps its class and gets another score, the weighted
    geometric mean of the detector's score and the classifier's probability of that class.
    """

    detector: Detector
    classifier: Classifier

    @property
    def name(self) -> str:
        """See `Detector.name`."""
        return f"{self.detector.name}, rescored by {self.classifier.name}"

    @property
    def label_map(self) -> LabelMap:
        """See `Detector.label_map`."""
        return self.detector.label_map

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`."""
        found = [one[np.asarray(one.confidence) >= LEAST] for one in self.detector.detect(images)]
        # The boxes of several classes are often one and the same, which is cut out once.
        unique = [np.unique(one.xyxy, axis=0, return_inverse=True) for one in found]
        probabilities = _classify(self.classifier, images, [boxes for boxes, _ in unique])
        for one, rows, (_, places) in zip(found, probabilities, unique, strict=True):
            of_class = rows[places.reshape(-1), np.asarray(one.class_id, int) - 1]
            one.confidence = (np.asarray(one.confidence) ** (1 - WEIGHT) * of_class**WEIGHT).astype(np.float32)
        return [one[np.argsort(-np.asarray(one.confidence), kind="stable")] for one in found]


def _classify(classifier: Classifier, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The probabilities (n, K) for each picture's n boxes."""
    crops = [crop for image, xyxy in zip(images, boxes, strict=True) for crop in cut(image, xyxy, classifier.margin)]
    probabilities = classifier.classify(crops)
    ends = np.cumsum([len(xyxy) for xyxy in boxes], dtype=int)
    return [probabilities[end - len(xyxy) : end] for xyxy, end in zip(boxes, ends, strict=True)]


def _each_class(faces: sv.Detections, probabilities: np.ndarray, label_map: LabelMap) -> sv.Detections:
    count = len(label_map)
    scores = (np.asarray(faces.confidence)[:, np.newaxis] * probabilities).reshape(-1).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    ids = np.tile(np.arange(1, count + 1), len(faces))[order]
    return sv.Detections(
        xyxy=np.repeat(faces.xyxy, count, axis=0)[order].astype(np.float32),
        confidence=scores[order],
        class_id=ids,
        data={"class_name": np.array([label_map.name_of(i) for i in ids], dtype=str)},
    )
