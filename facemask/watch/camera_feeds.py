"""The newest frames of several cameras: a thread reads each, and one reader takes them in turn."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from facemask.core.errors import UserError
from facemask.media.footage import Footage, Frame, Warn
from facemask.media.live import FIRST_PAUSE, LONGEST_PAUSE
from facemask.media.prefetch import interruptible_sleep

_RATE_SECONDS = 10.0
"""The rate of a camera is measured over this many seconds."""

_PATIENCE = 12.0
"""Seconds to wait for the reading threads. A read from a stream may take as long as its timeout."""


class CameraFeeds:
    """The cameras of a watch.

    Of a camera or a stream only the newest frame waits. Of a video file every frame is taken, so its thread waits.
    """

    def __init__(self, footage: Mapping[str, Footage], warn: Warn, stopped: Callable[[], bool]) -> None:
        """Read `footage`, by the cameras' names; `stopped` says whether to stop."""
        self._footage, self._warn, self._halted = dict(footage), warn, stopped
        self._left = False
        self._begun = time.monotonic()
        self._changed = threading.Condition()
        self._waiting: dict[str, Frame] = {}
        self._ended: set[str] = set()
        self._errors: list[BaseException] = []
        self._turns = deque(self._footage)
        self._taken: dict[str, deque[float]] = {name: deque(maxlen=1000) for name in self._footage}
        self._threads = [
            threading.Thread(target=self._read, args=(name,), daemon=True, name=f"camera-{name}") for name in footage
        ]

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop reading, and wait for the threads."""
        with self._changed:
            self._left = True
            self._changed.notify_all()
        end = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def take(self, seconds: float) -> tuple[str, Frame] | None:
        """The waiting frame of the camera whose turn is longest ago, with its name; None if none comes in `seconds`.

        Raises:
            UserError: A video file cannot be read.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._errors or self.ended, timeout=seconds)
            if self._errors:
                raise self._errors[0]
            name = next((name for name in self._turns if name in self._waiting), None)
            if name is None:
                return None
            self._turns.remove(name)
            self._turns.append(name)
            self._taken[name].append(time.monotonic())
            frame = self._waiting.pop(name)
            self._changed.notify_all()
            return name, frame

    @property
    def ended(self) -> bool:
        """Whether all cameras have come to their end, as video files do."""
        return len(self._ended) == len(self._footage) and not self._waiting and not self._errors

    def rates(self) -> dict[str, float]:
        """The frames per second that were taken of each camera, over the last `_RATE_SECONDS`."""
        now = time.monotonic()
        seconds = min(_RATE_SECONDS, max(now - self._begun, 1e-3))
        return {name: sum(at > now - seconds for at in list(taken)) / seconds for name, taken in self._taken.items()}

    def _stopped(self) -> bool:
        return self._left or self._halted()

    def _read(self, name: str) -> None:
        footage, pause = self._footage[name], FIRST_PAUSE
        try:
            while not self._stopped():
                try:
                    with contextlib.closing(footage.frames(self._stopped, self._named(name))) as frames:  # type: ignore[type-var]
                        for frame in frames:
                            if not self._put(name, frame, footage.live):
                                return
                    if not footage.live:
                        return
                except UserError as error:
                    if not footage.live:
                        raise
                    # It has never given a picture yet. `live` itself tries again after the first one.
                    self._named(name)(f"{error} Trying again in {pause:g} s.")
                interruptible_sleep(pause, self._stopped)
                pause = min(2 * pause, LONGEST_PAUSE)
        except BaseException as error:
            self._errors.append(error)
        finally:
            with self._changed:
                self._ended.add(name)
                self._changed.notify_all()

    def _put(self, name: str, frame: Frame, live: bool) -> bool:
        with self._changed:
            if not live:
                while name in self._waiting and not self._stopped():
                    self._changed.wait(0.1)
            if self._stopped():
                return False
            self._waiting[name] = frame
            self._changed.notify_all()
        return True

    def _named(self, name: str) -> Warn:
        return lambda words: self._warn(f"{name}: {words}")


@contextlib.contextmanager
def open_feeds(footage: Mapping[str, Footage], warn: Warn, stopped: Callable[[], bool]) -> Iterator[CameraFeeds]:
    """Read cameras for the block; see `CameraFeeds`."""
    feeds = CameraFeeds(footage, warn, stopped)
    feeds.start()
    try:
        yield feeds
    finally:
        feeds.stop()


def rates_text(rates: Mapping[str, float], people: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> str:
    """One line for people: each camera's rate, and who is in front of it."""
    parts = []
    for name, rate in rates.items():
        counts = people.get(name, {})
        seen = ", ".join(f"{counts[class_name]} {class_name}" for class_name in classes if counts.get(class_name))
        parts.append(f"{name} {rate:.1f} frames/s" + (f" ({seen})" if seen else ""))
    return " | ".join(parts)
