"""Footage of painted squares: people who come, stay, and go."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.media.footage import Footage, Frame, Stopped, Warn

WIDTH, HEIGHT, SIDE = 96, 72, 16

COLOURS = {"with_mask": (0, 200, 0), "without_mask": (220, 0, 0)}


class PaintedFaces:
    """Finds one square of each colour."""

    name = "painted"
    label_map = LabelMap(tuple(COLOURS))

    def __init__(self) -> None:
        self.seen: list[tuple[int, ...]] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        self.seen = [image.shape for image in images]
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        boxes, ids = [], []
        for class_id, colour in enumerate(COLOURS.values(), start=1):
            ys, xs = np.nonzero((image == np.array(colour, np.uint8)).all(axis=2))
            if len(xs):
                boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
                ids.append(class_id)
        return sv.Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            confidence=np.full(len(ids), 0.9, np.float32),
            class_id=np.array(ids, int),
            data={"class_name": np.array(self.label_map.names)[np.array(ids, int) - 1]},
        )


def painted(*people: tuple[str, float, float]) -> np.ndarray:
    """A grey picture with a square for each person: class, and the centre in shares."""
    image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    for name, x, y in people:
        left, top = round(x * WIDTH - SIDE / 2), round(y * HEIGHT - SIDE / 2)
        image[max(0, top) : max(0, top + SIDE), max(0, left) : max(0, left + SIDE)] = COLOURS[name]
    return image


def footage(
    paint: Callable[[int], np.ndarray],
    count: int | None = None,
    live: bool = False,
    step: float = 0.1,
    pause: float = 0.0,
) -> Footage:
    """Footage whose frame of a number is `paint(number)`, with times that are `step` seconds apart."""

    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        number = 0
        while not stopped() and (count is None or number < count):
            yield Frame(paint(number), number, number * step)
            number += 1
            if pause:
                time.sleep(pause)

    return Footage("painted", "painted", live=live, frames=frames)


def write_film(path: Path, images: Iterable[np.ndarray], rate: int = 10) -> Path:
    """Write a video whose colours come back as they are."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    return path


def visitors(number: int) -> np.ndarray:
    """Somebody without a mask is there for two seconds of four, at 10 frames a second."""
    return painted(("without_mask", 0.5, 0.5)) if number % 40 < 20 else painted()


def brief_visitors(number: int) -> np.ndarray:
    """Somebody without a mask is there in two of six frames: at half a second a frame, a new track each time."""
    return painted(("without_mask", 0.5, 0.5)) if number % 6 < 2 else painted()
