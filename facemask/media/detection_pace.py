"""Decide in which frames of a video, camera or stream the detector runs, and whether it runs on slices of a frame.

Between these frames, tracking predicts the boxes.

Slices find smaller faces and take several times as long. With `SLICES=auto`, the frames of a camera or stream are
sliced if the machine is fast enough. Those of a file always are, so that its results do not depend on the machine, and
a frame gives the same boxes as the same picture.
"""

import time
from collections.abc import Callable

from facemask.core.errors import UserError

AUTO = "auto"

LONGEST_GAP = 0.4
"""Seconds of footage after which the detector runs in any case. A track ends after `tracking.FORGET` seconds without a
detection, and a face that appears has to be found."""


MARGIN = 0.08
"""The share of its length by which a file is to be done earlier than real time. The last frames are drawn and encoded
after the last decision, and other work on the machine takes time."""


def parse_detect_every(text: str) -> int | None:
    """Read the value of DETECT_EVERY: a number of frames, or None for `auto`.

    Raises:
        UserError: The text is neither `auto` nor a whole number from 1.
    """
    if text.strip().lower() == AUTO:
        return None
    if not (text.strip().isascii() and text.strip().isdigit() and int(text) > 0):
        raise UserError(f"DETECT_EVERY={text}: must be {AUTO}, or a whole number of frames: 1 detects in each frame.")
    return int(text)


def parse_slices(text: str) -> bool | None:
    """Read the value of SLICES: whether large pictures and frames are detected in slices; None for `auto`.

    Raises:
        UserError: The text is none of `yes`, `no` and `auto`.
    """
    choices = {"yes": True, "1": True, "no": False, "0": False, AUTO: None}
    if text.strip().lower() not in choices:
        raise UserError(f"SLICES={text}: must be {AUTO}, yes or no.")
    return choices[text.strip().lower()]


def choose_slices(title: str, sliced: float, whole: float, limit: float | None, say: Callable[[str], None]) -> bool:
    """Whether frames are detected in slices under `SLICES=auto`.

    Args:
        title: The name of the footage.
        sliced: The time of a frame in slices, in seconds.
        whole: The time of a frame as a whole, in seconds.
        limit: The longest time of a frame that keeps up with the footage; None for a file, which waits.
        say: Takes the choice, a line for people.
    """
    if limit is None or sliced <= limit:
        say(f"{title}: looks for small faces too, {sliced:.2f} s a frame instead of {whole:.2f} s (SLICES=no does not)")
        return True
    say(
        f"{title}: detects in the frame as a whole, {whole:.2f} s a frame; looking for small faces too takes "
        f"{sliced:.2f} s, more than the {limit:.2f} s that there are (SLICES=yes does it)"
    )
    return False


class DetectionPace:
    """Decides whether the detector runs in a frame.

    With a number N it runs in every Nth frame. With None it runs in as many frames as real time allows: in each frame
    that is reached before the next one is due. A machine that is fast enough detects in every frame. In both cases the
    detector runs at least once in `LONGEST_GAP` seconds of footage.

    Args:
        every: A number of frames, or None to keep up with real time.
        clock: Returns the present time in seconds.
        ahead: The frames are there ahead of their times, as those of a file. Real time then begins with this call, and
            ends `MARGIN` earlier.

    Example:
        >>> pace = DetectionPace(3)
        >>> [pace.is_due(number / 25) for number in range(7)]
        [True, False, False, True, False, False, True]
    """

    def __init__(self, every: int | None, clock: Callable[[], float] = time.monotonic, ahead: bool = False) -> None:
        self._every = every
        self._clock = clock
        self._begun = clock() if ahead else None
        self._share = 1 - MARGIN if ahead else 1.0
        self._before = self._detected = 0.0
        self._since: int | None = None

    def is_due(self, seconds: float) -> bool:
        """Whether to detect in the next frame.

        Args:
            seconds: The frame's time in the footage; later than that of the frame before.
        """
        if self._begun is None:
            self._begun = self._clock() - seconds
        if self._since is None:
            due, self._since = True, 0
        else:
            self._since += 1
            if self._every is not None:
                due = self._since >= self._every
            else:
                due = self._clock() - self._begun <= self._share * (seconds + (seconds - self._before))
            due = due or seconds - self._detected >= LONGEST_GAP
        self._before = seconds
        if due:
            self._detected, self._since = seconds, 0
        return due
