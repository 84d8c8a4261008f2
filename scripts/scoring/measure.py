"""Run a detector over labelled images, one after the other, and keep what it found and how long it took."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scripts.dataset.truth import Truth

if TYPE_CHECKING:
    import supervision as sv

    from scripts.detect.detector import Detector


@dataclass(frozen=True)
class Speed:
    """How fast it was.

    Attributes:
        images: Images timed.
        batch: Images given to the detector at once.
        latency_ms: Median time in milliseconds from a batch of images in memory to its detections.
        latency_p95_ms: The time that 95% of the batches stay under.
        images_per_second: Images a second from start to end, reading and decoding them included.
        hardware: What it ran on, for people.
    """

    images: int
    batch: int
    latency_ms: float
    latency_p95_ms: float
    images_per_second: float
    hardware: str


@dataclass(frozen=True)
class Measured:
    """What a detector found on each image, the truth beside it; the images themselves are gone."""

    truths: tuple[Truth, ...]
    detections: "tuple[sv.Detections, ...]"
    speed: Speed


def measure(
    detector: "Detector",
    pictures: Iterable[tuple[np.ndarray, Truth]],
    batch: int = 1,
    hardware: str = "",
    seen: Callable[[int], None] = lambda images: None,
) -> Measured:
    """Detect on every image; no more than one batch of them is in memory.

    The first batch is detected twice and only the second time is counted: the first call builds the graph.

    Args:
        detector: What detects.
        pictures: RGB uint8 images (height, width, 3), each with its truth; at least one.
        batch: Images given to the detector at once.
        hardware: What it runs on.
        seen: Called with the number of images done so far, for a progress bar.

    Raises:
        ValueError: There are no pictures.
    """
    truths: list[Truth] = []
    found: list[sv.Detections] = []
    times: list[float] = []
    warm_up = 0.0
    start = time.perf_counter()
    for images, group in _batches(pictures, batch):
        if not times:
            before = time.perf_counter()
            detector.detect(images)
            warm_up = time.perf_counter() - before
        before = time.perf_counter()
        found.extend(detector.detect(images))
        times.append(time.perf_counter() - before)
        truths.extend(group)
        seen(len(truths))
    total = time.perf_counter() - start - warm_up
    if not truths:
        raise ValueError("no pictures to measure on")
    median, p95 = np.quantile(times, [0.5, 0.95]) * 1000
    speed = Speed(len(truths), batch, float(median), float(p95), len(truths) / total, hardware)
    return Measured(tuple(truths), tuple(found), speed)


def _batches(pictures: Iterable[tuple[np.ndarray, Truth]], size: int) -> Iterable[tuple[list[np.ndarray], list[Truth]]]:
    images: list[np.ndarray] = []
    truths: list[Truth] = []
    for image, truth in pictures:
        images.append(image)
        truths.append(truth)
        if len(images) == size:
            yield images, truths
            images, truths = [], []
    if images:
        yield images, truths
