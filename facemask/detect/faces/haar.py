"""A Haar cascade (Viola and Jones, 2001). OpenCV contains one of frontal faces, so nothing is downloaded."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.detect.faces.face_boxes import cannot_load, limit_opencv_threads, scale_picture, to_faces

FILE = "a cascade (.xml)"

STEP = 1.1
"""The factor from one size of the search window to the next."""

NEIGHBOURS = 3
"""The least number of overlapping hits that count as a face: OpenCV's default."""

SMALLEST = 20
"""The side in pixels of the smallest face, after scaling; the cascade's own window has 24."""


@dataclass(frozen=True)
class Haar:
    """A `FaceFinder` that runs a cascade on the grey picture scaled to `size`."""

    name: str
    size: int
    cascade: Any
    # OpenCV's object is not thread-safe: it holds the pyramid of the picture in work.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `FaceFinder.find`."""
        return [self._find(image) for image in images]

    def _find(self, image: np.ndarray) -> sv.Detections:
        import cv2

        small = scale_picture(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), self.size)
        with self.lock:
            boxes, _, weights = self.cascade.detectMultiScale3(
                small, STEP, NEIGHBOURS, minSize=(SMALLEST, SMALLEST), outputRejectLevels=True
            )
        rows = np.asarray(boxes, float).reshape(-1, 4)
        xyxy = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
        factor = np.tile([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]], 2)
        return to_faces(xyxy * factor, scores_of(np.asarray(weights, float).reshape(-1)), image)


def scores_of(weights: np.ndarray) -> np.ndarray:
    """Scores in 0..1 from the sums of the cascade's last stage, which have no upper bound.

    A logistic function, fitted so that a score is about the share of such boxes that were faces on the val split: a
    fifth at 0, half at 2.5, nine in ten at 6.
    """
    return 1 / (1 + np.exp(1.5 - 0.6 * weights))


def with_companions(given: Path | None) -> tuple[Path, ...]:
    """The user's cascade, or OpenCV's own of frontal faces."""
    import cv2

    return (given or Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml",)


def load_haar(files: Sequence[Path], size: int) -> Haar:
    """Load the cascade.

    Raises:
        UserError: The file is not a Haar cascade.
    """
    import cv2

    limit_opencv_threads()
    try:
        cascade = cv2.CascadeClassifier(str(files[0]))
    except (cv2.error, SystemError) as error:
        raise cannot_load(files[0], "a Haar cascade", error) from None
    if cascade.empty():
        raise cannot_load(files[0], "a Haar cascade", ValueError("it holds no cascade"))
    return Haar(f"haar {size} px", size, cascade)
