"""Small videos of moving squares, and a detector that finds them by their colour."""

import io
import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import supervision as sv
from PIL import Image

from facemask.core.label_map import LabelMap

WIDTH, HEIGHT = 160, 120

COLORS = {"with_mask": (0, 200, 0), "without_mask": (220, 0, 0)}
"""Of the squares, by class. What is blue beside them makes the detector unsure."""

ABOUT = {"run": "mine", "model": "squares", "steps": 1, "config_sha256": "abc"}


class SquareFinder:
    """Finds one square a class, by its colour, with the score of 0.9; or 0.3 where the upper left corner is blue."""

    name = "eyes"
    label_map = LabelMap(tuple(COLORS))

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[int] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        self.batches.append(len(images))
        time.sleep(self.seconds)
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        boxes, ids = [], []
        for class_id, color in enumerate(COLORS.values(), start=1):
            ys, xs = np.nonzero((np.abs(image.astype(int) - color) < 70).all(axis=2))
            if len(xs) > 20:
                boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                ids.append(class_id)
        score = 0.3 if image[:4, :4, 2].mean() > 150 else 0.9
        return sv.Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            confidence=np.full(len(ids), score, np.float32),
            class_id=np.array(ids, int),
            data={"class_name": np.array(self.label_map.names)[np.array(ids, int) - 1]},
        )


def square(number: int) -> tuple[int, int, int, int]:
    """Where it is: it moves two pixels to the right and one down with each frame."""
    x, y = 10 + 2 * number % 100, 20 + number % 60
    return x, y, x + 30, y + 30


def frame(number: int, label: str = "with_mask", unsure: bool = False) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    x0, y0, x1, y1 = square(number)
    image[y0:y1, x0:x1] = COLORS[label]
    if unsure:
        image[:8, :8] = (0, 0, 255)
    return image


def write(path: Path, images: Iterable[np.ndarray], rate: int = 25, codec: str = "libx264") -> Path:
    with av.open(str(path), "w") as container:
        stream = None
        for image in images:
            if stream is None:
                stream = container.add_stream(codec, rate=rate)
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
                stream.codec_context.time_base = Fraction(1, rate)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        assert stream is not None
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> list[tuple[float, np.ndarray]]:
    """All frames of a video, with their times in seconds."""
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
