"""What a video file, a camera and a stream have in common: a name, and frames with their times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

Pixels = np.ndarray | Callable[[], np.ndarray]
"""An RGB image, or a function that makes it."""


@dataclass(frozen=True)
class Frame:
    """One picture of a video, a camera or a stream.

    Attributes:
        pixels: The image, or a function that makes it. A stream whose frames come faster than they are looked at drops
            most of them, and their conversion to RGB would cost about as much as their decoding.
        number: How many frames the source gave before this one, including frames that were dropped.
        time: Seconds since the first frame; strictly increasing.
    """

    pixels: Pixels
    number: int
    time: float

    @cached_property
    def image(self) -> np.ndarray:
        """The image: uint8 array of shape (height, width, 3), RGB, upright."""
        return self.pixels() if callable(self.pixels) else self.pixels


Stopped = Callable[[], bool]
"""Called while a source waits; returns whether to stop."""

Warn = Callable[[str], None]
"""Called with one line when something went wrong and the source goes on: a damaged packet, a camera that is gone."""


@dataclass(frozen=True)
class Footage:
    """A source of frames.

    Attributes:
        title: Its name in messages and results; never holds a password.
        stem: The file name of its results, without a suffix.
        live: The source sets the pace and has no end. A reader that is slower than the source misses frames.
        frames: Yields the frames. Raises a UserError if the source gives no frame at all.
        count: The approximate number of frames, or None if it is unknown.
        path: The file's path, or None for a camera or a stream.
    """

    title: str
    stem: str
    live: bool
    frames: Callable[[Stopped, Warn], Iterator[Frame]]
    count: int | None = None
    path: Path | None = None
