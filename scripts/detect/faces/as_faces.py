"""Our own detector as a face detector: its boxes without their classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

from scripts.detect.detector import Detector
from scripts.detect.faces.boxes import to_faces

LEAST = 0.05
"""Boxes that score less are left out: they are hundreds to a picture, and each would cost the classifier a crop."""


@dataclass(frozen=True)
class DetectorFaces:
    """A `FaceFinder` that runs a `Detector`; a face scores what the best of the classes scores."""

    detector: Detector

    @property
    def name(self) -> str:
        """See `FaceFinder.name`."""
        return f"ssd {self.detector.name}"

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `FaceFinder.find`."""
        faces = []
        for image, found in zip(images, self.detector.detect(images), strict=True):
            scores = np.asarray(found.confidence)
            faces.append(to_faces(found.xyxy[scores >= LEAST], scores[scores >= LEAST], image))
        return faces
