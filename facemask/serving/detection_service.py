"""Runs detectors for a server: a bounded number of pictures at once, a bounded queue, and a time limit."""

import asyncio
import contextlib
import io
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from PIL import Image

from facemask.core.label_map import LabelMap
from facemask.data import images
from facemask.data.images import ImageError
from facemask.detect.detector import Detector
from facemask.detect.score_thresholds import above_thresholds
from facemask.media import annotating, writing
from facemask.media.picture_files import Picture

AUTO = "auto"
"""The name of the default runtime, which is loaded before the first request."""

MAX_PIXELS = 50_000_000
"""Larger pictures are refused before they are decoded; decoding takes about ten bytes per pixel. The limit of
`make infer` is higher."""

MAX_SIDE = 30_000
"""Pictures with a longer side, in pixels, are refused: drawn pictures are JPEG, whose limit is 65,535."""


class RefusedError(Exception):
    """A refused request. The message says why and what to do; `status` is the HTTP status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """The limits of requests.

    Attributes:
        megabytes: The largest upload.
        seconds: The longest time for an upload, and again for its response.
        workers: The number of requests processed at once. The detector takes one of their pictures at a time, with all
            cores.
        waiting: The number of requests that may wait; more are refused.
    """

    megabytes: int = 20
    seconds: float = 30.0
    workers: int = 2
    waiting: int = 14

    @property
    def bytes(self) -> int:
        """The largest upload, in bytes."""
        return self.megabytes << 20


@dataclass(frozen=True)
class DetectionRequest:
    """A picture with the options of its detection.

    Attributes:
        data: The bytes of the picture's file, or the path of the file.
        name: The file's name, as the client gives it.
        threshold: The least score of a box of any class; None takes the service's `thresholds`.
        runtime: One of the service's runtimes.
        draw: Also return the drawn picture.
        enlarge: Draw a small picture enlarged.
    """

    data: bytes | Path
    name: str = ""
    threshold: float | None = None
    runtime: str = AUTO
    draw: bool = False
    enlarge: bool = True


@dataclass(frozen=True)
class DetectionResponse:
    """The result of a detection.

    Attributes:
        name: The picture's file name, made safe to write (`safe_name`).
        size: The width and height of the upright picture in pixels.
        detections: The boxes.
        counts: The number of boxes by class, every class included.
        drawn: The picture with its boxes, as the bytes of a JPEG file; empty if the request did not ask for it.
        boxes: The boxes as JSON values, as `make infer` writes them.
        runtime: The name of the runtime and the precision.
        milliseconds: The time of the detector.
    """

    name: str
    size: tuple[int, int]
    detections: sv.Detections
    counts: dict[str, int]
    drawn: bytes
    boxes: dict[str, Any]
    runtime: str
    milliseconds: float


class DetectionService:
    """Detects faces in the pictures of requests. A server has one.

    Its coroutines belong to one event loop; threads do the work. A detection that exceeds its time cannot be stopped.
    It keeps its place until it ends, so that never more than `limits.workers` requests are processed at once.

    Args:
        openers: Functions that load a detector, by the name of the runtime. `AUTO` must be among them and is loaded at
            once; the others are loaded by the first request for them. Names with the same opener share a detector.
        about: The description of the model for the responses (`detector_choice.ChosenDetector.model`).
        limits: The limits of requests.
        thresholds: The least score of a box of each class, in the order of the ids, for requests without a threshold.

    Raises:
        UserError: The detector of `AUTO` cannot be loaded.
    """

    def __init__(
        self,
        openers: Mapping[str, Callable[[], Detector]],
        about: dict[str, Any],
        limits: Limits,
        thresholds: Sequence[float],
    ):
        self.limits = limits
        self.thresholds = tuple(map(float, thresholds))
        self.about = about
        self._openers = dict(openers)
        self._opening = threading.Lock()
        # One call at a time for each detector: not every runtime is thread-safe, and one call uses all cores.
        self._detectors = {self._openers[AUTO]: (self._openers[AUTO](), threading.Lock())}
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="detecting")
        self._inside = 0

    @property
    def runtimes(self) -> tuple[str, ...]:
        """The runtimes that a request may name."""
        return tuple(self._openers)

    @property
    def other_runtimes(self) -> tuple[str, ...]:
        """Those that are another detector than `AUTO`."""
        return tuple(name for name, opener in self._openers.items() if opener is not self._openers[AUTO])

    @property
    def auto_name(self) -> str:
        """The name of the runtime and the precision behind `AUTO`."""
        return self._detectors[self._openers[AUTO]][0].name

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._detectors[self._openers[AUTO]][0].label_map

    @property
    def inside(self) -> int:
        """The number of requests that hold a place."""
        return self._inside

    @contextlib.contextmanager
    def reserve_place(self) -> Iterator[None]:
        """Hold one of the `workers + waiting` places for the block. Take it before reading a picture's bytes.

        Raises:
            RefusedError: No place is free.
        """
        if self._inside >= self.limits.workers + self.limits.waiting:
            raise RefusedError(503, "Busy: too many pictures at once. Try again in a few seconds.")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def detect(self, request: DetectionRequest) -> DetectionResponse:
        """Detect the faces of a request. Call it inside `reserve_place`.

        Raises:
            RefusedError: The data is not a picture, is too large or takes too long, or the runtime is unknown.
            UserError: The runtime cannot be loaded.
        """
        if request.runtime not in self._openers:
            raise RefusedError(400, f"runtime={request.runtime}: must be one of {', '.join(self._openers)}.")
        if request.threshold is not None and not 0 <= request.threshold <= 1:
            raise RefusedError(400, f"threshold={request.threshold}: scores run from 0 to 1.")
        work = self._pool.submit(self._respond, request)
        waited = asyncio.wrap_future(work)
        try:
            done, _ = await asyncio.wait({waited}, timeout=self.limits.seconds)
            if done:
                return waited.result()
            raise RefusedError(
                504, f"Not done within {self.limits.seconds:g} seconds. Send a smaller picture, or try again later."
            )
        finally:
            self._keep_place_of(work, waited)
            # An exception refers to the frames that it passed, and to their pictures. If this frame referred to it too,
            # the cycle would stay in memory until the garbage collector runs.
            done, waited, work = set(), None, None  # type: ignore[assignment]

    def _keep_place_of(self, work: "Future[DetectionResponse]", waited: "asyncio.Future[DetectionResponse]") -> None:
        """Hold a place for work that goes on after its request was given up."""
        if work.cancel() or work.done():
            return
        self._inside += 1

        def leave(future: "asyncio.Future[DetectionResponse]") -> None:
            self._inside -= 1
            if not future.cancelled():
                future.exception()  # reads the exception, which asyncio would log otherwise

        waited.add_done_callback(leave)

    def close(self) -> None:
        """Accept no more requests."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _detector(self, runtime: str) -> tuple[Detector, threading.Lock]:
        opener = self._openers[runtime]
        if opener not in self._detectors:
            with self._opening:
                if opener not in self._detectors:
                    self._detectors[opener] = (opener(), threading.Lock())
        return self._detectors[opener]

    def _respond(self, request: DetectionRequest) -> DetectionResponse:
        image = _decode(request)
        detector, lock = self._detector(request.runtime)
        with lock:
            start = time.perf_counter()
            [found] = detector.detect([image])
            milliseconds = (time.perf_counter() - start) * 1000
        names = detector.label_map.names
        least = self.thresholds if request.threshold is None else (request.threshold,) * len(names)
        kept = above_thresholds(found, least)
        name, size = safe_name(request.name), (image.shape[1], image.shape[0])
        picture, counts = Picture(Path(name), Path(name)), Counter(map(str, kept["class_name"]))
        return DetectionResponse(
            name=name,
            size=size,
            detections=kept,
            counts={known: counts[known] for known in names},
            drawn=_as_jpeg(annotating.draw_boxes(image, kept, enlarge=request.enlarge)) if request.draw else b"",
            boxes=writing.boxes_as_json(
                picture, size, kept, self.about, detector.name, dict(zip(names, least, strict=True))
            ),
            runtime=detector.name,
            milliseconds=milliseconds,
        )


def _decode(request: DetectionRequest) -> np.ndarray:
    image, wrong = None, ""
    try:
        data = request.data if isinstance(request.data, bytes) else images.read_bytes(request.data)
        image = images.decode_image(data, MAX_PIXELS)
        if max(image.shape) > MAX_SIDE:
            wrong = f"a side of {max(image.shape)} pixels, the limit is {MAX_SIDE:,}"
    except ImageError as error:
        wrong = str(error)
    # Raised here, the refusal does not refer to the ImageError, whose frames hold the decoded part of the picture.
    if image is None or wrong:
        image = None
        raise RefusedError(422, f"{safe_name(request.name)}: {wrong}.")
    return image


def _as_jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


def safe_name(name: str) -> str:
    """A safe file name: no folders, no control characters, not hidden, at most 80 characters.

    Example:
        >>> safe_name("../../.secret/a b.jpg")
        'a b.jpg'
    """
    stem, dot, suffix = re.sub(r"[^\w .()+-]", "_", re.split(r"[/\\]", name)[-1]).strip(" .").rpartition(".")
    return f"{stem[:70]}.{suffix[:9]}" if dot and stem else f"{suffix[:70] or 'picture'}.jpg"
