"""Pictures from anywhere through the detectors: a few at a time, a few waiting, none for longer than its time."""

import asyncio
import contextlib
import io
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from PIL import Image

from scripts.dataset import images
from scripts.dataset.images import ImageError
from scripts.dataset.label_map import LabelMap
from scripts.detect.detector import Detector
from scripts.detect.tiles import TilingDetector
from scripts.media import drawing, inference, writing
from scripts.media.images import Picture

AUTO = "auto"
"""The runtime that is always there, and is loaded before the first request."""

MAX_PIXELS = 50_000_000
"""Larger pictures are refused before they are decoded; decoding takes about ten bytes a pixel. `make infer` takes
larger ones."""

MAX_SIDE = 30_000
"""Longer sides, in pixels, are refused: a JPEG ends at 65,535, and drawn pictures are JPEG."""


class RefusedError(Exception):
    """A request that gets no answer. The message says why and what to do; `status` is HTTP's number for it."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes:
        megabytes: The most that an upload may weigh.
        seconds: The longest that it may take to arrive, and then to be answered.
        workers: Pictures that are in work at the same time; the detector looks at one of them, with all cores.
        waiting: Pictures that wait for that; more are refused.
    """

    megabytes: int = 20
    seconds: float = 30.0
    workers: int = 2
    waiting: int = 14

    @property
    def bytes(self) -> int:
        """The most that an upload may weigh, in bytes."""
        return self.megabytes << 20


@dataclass(frozen=True)
class Question:
    """What to look at, and how.

    Attributes:
        data: The picture's file: its bytes, or where it is.
        name: The file's name, as its sender calls it.
        threshold: The score from which boxes count.
        runtime: One of the service's runtimes.
        draw: Whether the drawn picture is wanted.
        enlarge: Draw a small picture enlarged.
    """

    data: bytes | Path
    name: str = ""
    threshold: float = 0.5
    runtime: str = AUTO
    draw: bool = False
    enlarge: bool = True


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        name: A name for the picture's file that is safe to write.
        size: Its width and height in pixels, upright.
        detections: The boxes that count.
        counts: How many they are by class, every class in it.
        drawn: The picture with the boxes on it, as the bytes of a JPEG file; empty where it was not wanted.
        boxes: The same as JSON values, as `make infer` writes them.
        runtime: What ran the model.
        milliseconds: What the detector took.
    """

    name: str
    size: tuple[int, int]
    detections: sv.Detections
    counts: dict[str, int]
    drawn: bytes
    boxes: dict[str, Any]
    runtime: str
    milliseconds: float


class Service:
    """Answers questions about pictures; one for all that a server offers.

    Its coroutines belong to one event loop; the work is done in threads. What cannot be stopped, a picture that takes
    too long, keeps its place until it is through, so that never more than `limits.workers` are in work.

    Args:
        openers: By name, what loads a detector; `AUTO` among them, which is loaded at once, the others when they are
            first asked for.
        about: What answers say of the model (`choosing.Chosen.model`).
        limits: What a request may take.

    Raises:
        UserError: The detector of `AUTO` cannot be loaded.
    """

    def __init__(self, openers: Mapping[str, Callable[[], Detector]], about: dict[str, Any], limits: Limits):
        self.limits = limits
        self.about = about
        self._openers = dict(openers)
        self._opening = threading.Lock()
        # One call at a time into each: not every runtime stands more, and one call uses all the cores as it is.
        self._detectors = {AUTO: (self._openers[AUTO](), threading.Lock())}
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="looking")
        self._inside = 0

    @property
    def runtimes(self) -> tuple[str, ...]:
        """What a question may name."""
        return tuple(self._openers)

    @property
    def auto_name(self) -> str:
        """What `AUTO` is here, for people."""
        return self._detectors[AUTO][0].name

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self._detectors[AUTO][0].label_map

    @property
    def inside(self) -> int:
        """How many requests have a place now."""
        return self._inside

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for the block; to be taken before a picture's bytes are read.

        Raises:
            RefusedError: All are taken.
        """
        if self._inside >= self.limits.workers + self.limits.waiting:
            raise RefusedError(503, "Busy: too many pictures at once. Try again in a few seconds.")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def look(self, question: Question) -> Answer:
        """Answer a question, in a `place`.

        Raises:
            RefusedError: It is no picture, or too large, or it takes too long, or the runtime is unknown.
            UserError: The runtime cannot be loaded.
        """
        if question.runtime not in self._openers:
            raise RefusedError(400, f"runtime={question.runtime}: must be one of {', '.join(self._openers)}.")
        if not 0 <= question.threshold <= 1:
            raise RefusedError(400, f"threshold={question.threshold}: scores run from 0 to 1.")
        work = self._pool.submit(self._look, question)
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
            # An exception holds the frames that it came through, with their pictures; did this one hold it in turn, all
            # of that would stay until the garbage collector comes.
            done, waited, work = set(), None, None  # type: ignore[assignment]

    def _keep_place_of(self, work: "Future[Answer]", waited: "asyncio.Future[Answer]") -> None:
        """Hold a place for work that goes on although nobody waits for it."""
        if work.cancel() or work.done():
            return
        self._inside += 1

        def leave(future: "asyncio.Future[Answer]") -> None:
            self._inside -= 1
            if not future.cancelled():
                future.exception()  # nobody else asks for it

        waited.add_done_callback(leave)

    def close(self) -> None:
        """Take no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _detector(self, runtime: str) -> tuple[Detector, threading.Lock]:
        if runtime not in self._detectors:
            with self._opening:
                if runtime not in self._detectors:
                    self._detectors[runtime] = (self._openers[runtime](), threading.Lock())
        return self._detectors[runtime]

    def _look(self, question: Question) -> Answer:
        image = _decode(question)
        detector, lock = self._detector(question.runtime)
        with lock:
            start = time.perf_counter()
            [found] = TilingDetector(detector).detect([image])
            milliseconds = (time.perf_counter() - start) * 1000
        names = detector.label_map.names
        thresholds = dict.fromkeys(names, question.threshold)
        kept = inference.kept(found, tuple(thresholds.values()))
        name, size = safe_name(question.name), (image.shape[1], image.shape[0])
        picture, counts = Picture(Path(name), Path(name)), Counter(map(str, kept["class_name"]))
        return Answer(
            name=name,
            size=size,
            detections=kept,
            counts={known: counts[known] for known in names},
            drawn=_as_jpeg(drawing.draw(image, kept, enlarge=question.enlarge)) if question.draw else b"",
            boxes=writing.boxes_as_json(picture, size, kept, self.about, detector.name, thresholds),
            runtime=detector.name,
            milliseconds=milliseconds,
        )


def _decode(question: Question) -> np.ndarray:
    image, wrong = None, ""
    try:
        data = question.data if isinstance(question.data, bytes) else images.read_bytes(question.data)
        image = images.decode(data, MAX_PIXELS)
        if max(image.shape) > MAX_SIDE:
            wrong = f"a side of {max(image.shape)} pixels, the limit is {MAX_SIDE:,}"
    except ImageError as error:
        wrong = str(error)
    # Raised out here, the refusal has no memory of the error, whose frames hold what of the picture was decoded.
    if image is None or wrong:
        image = None
        raise RefusedError(422, f"{safe_name(question.name)}: {wrong}.")
    return image


def _as_jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


def safe_name(name: str) -> str:
    """A file's name that can do no harm: no folders, no control characters, not hidden, at most 80 letters.

    Example:
        >>> safe_name("../../.secret/a b.jpg")
        'a b.jpg'
    """
    stem, dot, suffix = re.sub(r"[^\w .()+-]", "_", re.split(r"[/\\]", name)[-1]).strip(" .").rpartition(".")
    return f"{stem[:70]}.{suffix[:9]}" if dot and stem else f"{suffix[:70] or 'picture'}.jpg"
