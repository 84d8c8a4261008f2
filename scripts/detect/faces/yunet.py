"""YuNet, a small network for faces of some 10 to 300 pixels, run by OpenCV.

A picture is looked at twice: large, for the small faces, and at a third of that, for those that fill it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from scripts.detect.faces.boxes import SAME_FACE, cannot_load, scaled, to_faces

FILE = "YuNet's network (.onnx)"

LEAST = 0.3
"""Faces that score less are left out: on the val split they add false alarms, and hardly a face."""

SMALLER = 3
"""The second look is at so many times smaller a picture, unless that is smaller than `SMALLEST`."""

SMALLEST = 160

_MOST = 5000

_THINNEST = 64
"""In pictures of up to 32 pixels, the network's coarsest stride, OpenCV reads what happens to be in memory, and comes
upon faces there. Others get a black edge until they are as high and as wide as this."""


@dataclass(frozen=True)
class YuNet:
    """A `FaceFinder` that runs YuNet on the picture scaled to each of `sizes`."""

    name: str
    sizes: tuple[int, ...]
    network: Any
    # OpenCV's object holds the size of the picture that it is at.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `FaceFinder.find`."""
        return [self._find(image) for image in images]

    def _find(self, image: np.ndarray) -> sv.Detections:
        looks = [self._look(image, size) for size in self.sizes]
        boxes, scores = (np.concatenate(parts) for parts in zip(*looks, strict=True))
        return to_faces(boxes, scores, image)

    def _look(self, image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        small = scaled(image, size)
        height, width = small.shape[:2]
        padded = np.pad(small, ((0, max(0, _THINNEST - height)), (0, max(0, _THINNEST - width)), (0, 0)))
        with self.lock:
            self.network.setInputSize(padded.shape[1::-1])
            _, rows = self.network.detect(np.ascontiguousarray(padded[:, :, ::-1]))
        # x, y, width, height, five landmarks, score
        rows = np.zeros((0, 15), np.float32) if rows is None else rows
        xyxy = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        # Rounding can scale a thin picture's sides differently.
        return xyxy * np.tile([image.shape[1] / width, image.shape[0] / height], 2), rows[:, 14]


def with_companions(given: Path | None) -> tuple[Path, ...]:
    """The network alone."""
    assert given is not None  # OpenCV brings none
    return (given,)


def load(files: Sequence[Path], size: int) -> YuNet:
    """Load the network.

    Raises:
        UserError: It is no network of YuNet's kind.
    """
    import cv2

    try:
        network = cv2.FaceDetectorYN.create(str(files[0]), "", (size, size), LEAST, SAME_FACE, _MOST)
        # What is no YuNet shows only when it is run.
        network.setInputSize((64, 64))
        network.detect(np.zeros((64, 64, 3), np.uint8))
    except (cv2.error, SystemError) as error:
        raise cannot_load(files[0], "YuNet", error) from None
    sizes = (size, size // SMALLER) if size // SMALLER >= SMALLEST else (size,)
    return YuNet(f"yunet {size} px", sizes, network)
