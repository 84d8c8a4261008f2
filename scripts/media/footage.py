"""Moving pictures, wherever they come from: what every source gives, and what it is called."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One picture of a video, a camera or a stream.

    Attributes:
        image: uint8 array of shape (height, width, 3), RGB, upright.
        number: How many came before it from this source, those that nobody looked at included.
        time: Seconds since the first one; it grows from frame to frame.
    """

    image: np.ndarray
    number: int
    time: float


Stopped = Callable[[], bool]
"""Asked while waiting: whether to stop."""

Say = Callable[[str], None]
"""Takes a line about trouble that is not the end: a damaged piece, a camera that went away."""


@dataclass(frozen=True)
class Footage:
    """A source of frames.

    Attributes:
        title: What it is called in messages and results; never holds a password.
        stem: What its results are called.
        live: Frames come when they come, for ever; who is too slow misses some.
        frames: Gives the frames. Raises a UserError where there are none, or no more but should be.
        count: How many frames there are, about; None if nobody knows.
        path: The file, if it is one.
    """

    title: str
    stem: str
    live: bool
    frames: Callable[[Stopped, Say], Iterator[Frame]]
    count: int | None = None
    path: Path | None = None
