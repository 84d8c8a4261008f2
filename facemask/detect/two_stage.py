"""Detectors of two stages: faces first, then a classifier names the class of each; or a detector's boxes of all classes
first, which the classifier then scores again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

from facemask.classifier.face_classifier import Classifier
from facemask.classifier.face_crops import cut_faces
from facemask.core.label_map import LabelMap
from facemask.detect.detector import RawDetector
from facemask.detect.faces.face_finder import FaceFinder

MIN_SCORE = 0.05
"""Boxes of a detector that score less are left out and not classified: most of its boxes score less."""

WEIGHT = 0.3
"""The classifier's share in the score of a rescored box; with 0, only the detector's score counts. 0.3 was the best
value tried on the val split. At 0.5, a mediocre classifier already lowered the mAP there."""


@dataclass(frozen=True)
class TwoStageDetector:
    """A `RawDetector` that finds faces and classifies each.

    A face is reported once for each class, and its score is the face's score times the class's probability: how
    probable it is that a face is there and of that class. The scores of one face add up to at most 1, so from a
    threshold of 0.5 on it has one box at most.

    Attributes:
        faces: Finds the faces.
        classifier: Classifies them.
        large_faces: Finds the faces of large pictures, which are then not tiled; None to tile them.
    """

    faces: FaceFinder
    classifier: Classifier
    large_faces: FaceFinder | None = None

    @property
    def for_large_pictures(self) -> RawDetector | None:
        """See `tiling.ScalingDetector`."""
        return None if self.large_faces is None else TwoStageDetector(self.large_faces, self.classifier)

    @property
    def name(self) -> str:
        """See `RawDetector.name`."""
        return f"{self.faces.name} + {self.classifier.name}"

    @property
    def label_map(self) -> LabelMap:
        """See `RawDetector.label_map`."""
        return self.classifier.label_map

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`. The faces of all the pictures go through the classifier together."""
        found = self.faces.find(images)
        probabilities = _classify(self.classifier, images, [faces.xyxy for faces in found])
        return [scored_faces(faces, rows, self.label_map) for faces, rows in zip(found, probabilities, strict=True)]


@dataclass(frozen=True)
class RescoredDetector:
    """A `RawDetector` whose boxes a classifier scores again: each keeps its class, and its score becomes the weighted
    geometric mean of the detector's score and the classifier's probability of that class.
    """

    detector: RawDetector
    classifier: Classifier

    @property
    def name(self) -> str:
        """See `RawDetector.name`."""
        return f"{self.detector.name}, rescored by {self.classifier.name}"

    @property
    def label_map(self) -> LabelMap:
        """See `RawDetector.label_map`."""
        return self.detector.label_map

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`."""
        found = [one[np.asarray(one.confidence) >= MIN_SCORE] for one in self.detector.detect_all(images)]
        # The boxes of several classes are often one and the same, which is cut out once.
        unique = [np.unique(one.xyxy, axis=0, return_inverse=True) for one in found]
        probabilities = _classify(self.classifier, images, [boxes for boxes, _ in unique])
        for one, rows, (_, places) in zip(found, probabilities, unique, strict=True):
            of_class = rows[places.reshape(-1), np.asarray(one.class_id, int) - 1]
            one.confidence = (np.asarray(one.confidence) ** (1 - WEIGHT) * of_class**WEIGHT).astype(np.float32)
        return [one[np.argsort(-np.asarray(one.confidence), kind="stable")] for one in found]


def _classify(classifier: Classifier, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The probabilities (n, K) for each picture's n boxes."""
    margin, size = classifier.margin, classifier.size
    crops = [cut_faces(image, xyxy, margin, size) for image, xyxy in zip(images, boxes, strict=True)]
    probabilities = classifier.classify([crop for of_picture in crops for crop in of_picture])
    ends = np.cumsum([len(xyxy) for xyxy in boxes], dtype=int)
    return [probabilities[end - len(xyxy) : end] for xyxy, end in zip(boxes, ends, strict=True)]


def scored_faces(faces: sv.Detections, probabilities: np.ndarray, label_map: LabelMap) -> sv.Detections:
    """Each face once for each class, as `TwoStageDetector` reports them.

    Args:
        faces: n faces with their scores.
        probabilities: (n, K), of the classes of each face.
        label_map: The K classes.
    """
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
