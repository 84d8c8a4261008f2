"""Detects in the frames of several cameras at the same time, and gives each camera's frames in their order."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import supervision as sv

from facemask.media.footage import Frame
from facemask.watch.camera_feeds import CameraFeeds

_WAIT = 0.2
"""Seconds after which the caller gets its turn though no frame came."""


@dataclass(eq=False)
class DetectedFrame:
    """A frame of a camera with its faces.

    Attributes:
        name: The camera's name.
        frame: The frame.
        taken: When it was taken, in seconds since 1970.
        found: Its faces; None while the detector runs.
    """

    name: str
    frame: Frame
    taken: float
    found: sv.Detections | None = None


def detect_frames(
    feeds: CameraFeeds,
    detect: Callable[[str, Frame], sv.Detections],
    at_once: int,
    stopped: Callable[[], bool],
) -> Iterator[DetectedFrame | None]:
    """Take frames in turn, and yield them as soon as they are detected, those of a camera in their order.

    A thread takes a frame only when it is free to detect in it, so that it is the newest.

    Args:
        feeds: The cameras.
        detect: Takes a camera's name and a frame; that many threads call it.
        at_once: The number of frames that are detected at the same time.
        stopped: Whether to stop.

    Yields:
        A frame whose faces are found, or None when none came for a moment.

    Raises:
        Exception: What `feeds` or `detect` raised.
    """
    taking, changed = threading.Lock(), threading.Condition()
    line: list[DetectedFrame] = []
    errors: list[BaseException] = []
    working, left = at_once, False

    def take() -> DetectedFrame | None:
        with taking:  # so that the frames stand in the line as they were taken
            with changed:
                changed.wait_for(lambda: left or len(line) < 2 * at_once)
            taken = None if left else feeds.take(_WAIT)
            if taken is None:
                return None
            one = DetectedFrame(*taken, time.time())
            with changed:
                line.append(one)
            return one

    def work() -> None:
        nonlocal working
        try:
            while not left and not feeds.ended:
                one = take()
                if one is not None:
                    found = detect(one.name, one.frame)
                    with changed:
                        one.found = found
                        changed.notify_all()
        except BaseException as error:
            errors.append(error)
        finally:
            with changed:
                working -= 1
                changed.notify_all()

    def ready() -> DetectedFrame | None:
        earlier = set()
        for one in line:
            if one.found is not None and one.name not in earlier:
                return one
            earlier.add(one.name)
        return None

    threads = [threading.Thread(target=work, daemon=True, name=f"detecting-{i}") for i in range(at_once)]
    for thread in threads:
        thread.start()
    try:
        while not stopped():
            with changed:
                changed.wait_for(lambda: errors or not working or ready() is not None, timeout=_WAIT)
                if errors:
                    raise errors[0]
                one = ready()
                if one is not None:
                    line.remove(one)
                    changed.notify_all()
                elif not working:
                    return
            yield one
    finally:
        with changed:
            left = True
            changed.notify_all()
        for thread in threads:
            thread.join()
