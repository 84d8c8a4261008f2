"""OpenCV's own face detector: an SSD at 300x300 pixels on a ResNet of ten layers, run by OpenCV.

At 300x300 pixels the faces of a crowd are too small to be found, and the network finds fewer faces in an input that is
larger than it was trained on. So it looks at the picture as a whole and at overlapping tiles, each scaled to 300x300.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.core.errors import UserError
from facemask.detect.faces.face_boxes import cannot_load, limit_opencv_threads, to_faces

FILE = "res10's network (.pb or .caffemodel, with its .pbtxt or .prototxt in the same folder)"

SIDE = 300
"""The side of the network's input in pixels."""

MEAN = (123, 177, 104)
"""Subtracted from red, green and blue (opencv/opencv, samples/dnn/face_detector)."""

MIN_SCORE = 0.1
"""Boxes that score less are left out: hardly any of them is a face."""

OVERLAP = 0.25
"""The overlap of neighbouring tiles, as a share of a tile's side."""

_EDGE = 0.02


@dataclass(frozen=True)
class Res10:
    """A `FaceFinder` that runs the network on the picture and on `tiles` by `tiles` parts of it."""

    name: str
    tiles: int
    network: Any
    # OpenCV's object is not thread-safe: it holds the picture in work.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `FaceFinder.find`."""
        return [self._find(image) for image in images]

    def _find(self, image: np.ndarray) -> sv.Detections:
        height, width = image.shape[:2]
        boxes, scores = [], []
        for x0, y0, x1, y1 in picture_parts(width, height, self.tiles):
            rows = self._run(image[y0:y1, x0:x1])
            # A face that a tile's edge cuts is whole in another tile, or in the picture.
            inner = np.array([x0 == 0, y0 == 0, x1 == width, y1 == height])
            cut = np.concatenate([rows[:, 3:5] < _EDGE, rows[:, 5:7] > 1 - _EDGE], axis=1) & ~inner
            rows = rows[~cut.any(axis=1)]
            boxes.append(rows[:, 3:7] * [x1 - x0, y1 - y0, x1 - x0, y1 - y0] + [x0, y0, x0, y0])
            scores.append(rows[:, 2])
        return to_faces(np.concatenate(boxes), np.concatenate(scores), image)

    def _run(self, image: np.ndarray) -> np.ndarray:
        """The network's rows for a picture: (n, 7), of which 2 is the score and 3 to 6 the normalised xyxy."""
        import cv2

        blob = cv2.dnn.blobFromImage(np.ascontiguousarray(image[:, :, ::-1]), 1.0, (SIDE, SIDE), MEAN[::-1])
        with self.lock:
            self.network.setInput(blob)
            rows: np.ndarray = self.network.forward()[0, 0].copy()
        return rows[rows[:, 2] >= MIN_SCORE]


def tiles_for(size: int) -> int:
    """The number of tiles along each side with which the network sees the picture at `size` pixels."""
    return 1 + max(0, math.ceil((size - SIDE) / (SIDE * (1 - OVERLAP))))


def picture_parts(width: int, height: int, tiles: int) -> Iterator[tuple[int, int, int, int]]:
    """The picture as a whole and, if `tiles` is more than 1, `tiles` rows and columns of it, as xyxy in pixels."""
    yield 0, 0, width, height
    if tiles > 1:
        spans = [[_span(length, tiles, place) for place in range(tiles)] for length in (width, height)]
        for y0, y1 in spans[1]:
            for x0, x1 in spans[0]:
                yield x0, y0, x1, y1


def _span(length: int, tiles: int, place: int) -> tuple[int, int]:
    side = length / (tiles - (tiles - 1) * OVERLAP)
    start = place * side * (1 - OVERLAP)
    return int(start), min(length, max(int(start) + 1, round(start + side)))


def with_companions(given: Path | None) -> tuple[Path, ...]:
    """The network and, from the same folder, the text graph with which OpenCV reads it."""
    assert given is not None  # OpenCV brings none
    ending = ".prototxt" if given.suffix == ".caffemodel" else ".pbtxt"
    texts = sorted(given.parent.glob(f"*{ending}"))
    if len(texts) != 1:
        problem = f"has {len(texts)} files (*{ending})" if texts else f"has no file (*{ending})"
        raise UserError(f"{given.parent}: {problem} to read {given.name} with. Exactly one must stand beside it.")
    return given, texts[0]


def load_res10(files: Sequence[Path], size: int) -> Res10:
    """Load the network.

    Raises:
        UserError: The file is not a network of this kind.
    """
    import cv2

    limit_opencv_threads()
    try:
        network = cv2.dnn.readNet(str(files[0]), str(files[1]))
        # A wrong network is only noticed when it runs.
        network.setInput(np.zeros((1, 3, SIDE, SIDE), np.float32))
        if network.forward().shape[-1] != 7:
            raise ValueError("its output has not seven columns")
    except (cv2.error, SystemError, ValueError) as error:
        raise cannot_load(files[0], "res10", error) from None
    return Res10(f"res10 {size} px", tiles_for(size), network)
