"""Use the exported detector as a face detector: its boxes without their classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

from facemask.detect.detector import RawDetector
from facemask.detect.faces.face_boxes import to_faces

MIN_SCORE = 0.05
"""Boxes that score less are left out: a picture has hundreds of them, and the classifier would classify each."""


@dataclass(frozen=True)
class DetectorFaces:
    """A `FaceFinder` that runs a `RawDetector`; a face's score is that of its best class."""

    detector: RawDetector

    @property
    def name(self) -> str:
        """See `FaceFinder.name`."""
        return f"ssd {self.detector.name}"

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `FaceFinder.find`."""
        faces = []
        for image, found in zip(images, self.detector.detect_all(images), strict=True):
            scores = np.asarray(found.confidence)
            faces.append(to_faces(found.xyxy[scores >= MIN_SCORE], scores[scores >= MIN_SCORE], image))
        return faces
