"""Run a detector on labelled images, collect its detections and measure its speed."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facemask.data.labelled_picture import GroundTruth

if TYPE_CHECKING:
    import supervision as sv

    from facemask.detect.detector import RawDetector


@dataclass(frozen=True)
class Speed:
    """The speed of a detector.

    Attributes:
        images: Images timed.
        batch: Images given to the detector at once.
        latency_ms: Median time in milliseconds to detect on a batch of images in memory.
        latency_p95_ms: The 95th percentile of that time.
        images_per_second: Images a second, including reading and decoding.
        hardware: What it ran on, for people.
    """

    images: int
    batch: int
    latency_ms: float
    latency_p95_ms: float
    images_per_second: float
    hardware: str


@dataclass(frozen=True)
class MeasuredDetections:
    """The ground truth and the detections of each image, and the speed. The images are not kept."""

    truths: tuple[GroundTruth, ...]
    detections: "tuple[sv.Detections, ...]"
    speed: Speed


def measure_detector(
    detector: "RawDetector",
    pictures: Iterable[tuple[np.ndarray, GroundTruth]],
    batch: int = 1,
    hardware: str = "",
    report_progress: Callable[[int], None] = lambda images: None,
) -> MeasuredDetections:
    """Detect on every image. Only one batch of images is in memory.

    The detector runs twice on the first batch, and only the second run is timed, because the first may build the graph.

    Args:
        detector: The detector.
        pictures: RGB uint8 images (height, width, 3), each with its ground truth; at least one.
        batch: Images given to the detector at once.
        hardware: What it runs on, for people.
        report_progress: Called after each batch with the number of images done so far.

    Raises:
        ValueError: There are no pictures.
    """
    import supervision as sv

    truths: list[GroundTruth] = []
    found: list[sv.Detections] = []
    times: list[float] = []
    warm_up = 0.0
    start = time.perf_counter()
    for images, group in _batches(pictures, batch):
        if not times:
            before = time.perf_counter()
            detector.detect_all(images)
            warm_up = time.perf_counter() - before
        before = time.perf_counter()
        detected = detector.detect_all(images)
        times.append(time.perf_counter() - before)
        # Without the names of the classes: an array of text takes four times the memory of all the rest.
        found += [sv.Detections(one.xyxy, confidence=one.confidence, class_id=one.class_id) for one in detected]
        truths.extend(group)
        report_progress(len(truths))
    total = time.perf_counter() - start - warm_up
    if not truths:
        raise ValueError("no pictures to measure on")
    median, p95 = np.quantile(times, [0.5, 0.95]) * 1000
    speed = Speed(len(truths), batch, float(median), float(p95), len(truths) / total, hardware)
    return MeasuredDetections(tuple(truths), tuple(found), speed)


def _batches(
    pictures: Iterable[tuple[np.ndarray, GroundTruth]], size: int
) -> Iterable[tuple[list[np.ndarray], list[GroundTruth]]]:
    images: list[np.ndarray] = []
    truths: list[GroundTruth] = []
    for image, truth in pictures:
        images.append(image)
        truths.append(truth)
        if len(images) == size:
            yield images, truths
            images, truths = [], []
    if images:
        yield images, truths
