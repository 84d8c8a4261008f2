"""Cameras and streams. A connection that is lost is opened again, after pauses that grow."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import cv2
import numpy as np

from facemask.core.errors import UserError
from facemask.core.stream_addresses import address_title, split_address
from facemask.media.footage import Footage, Frame, Pixels, Stopped, Warn
from facemask.media.prefetch import interruptible_sleep

FIRST_PAUSE = 1.0
"""Seconds before the first new attempt. Each failed attempt doubles the pause."""

LONGEST_PAUSE = 60.0

HEALTHY = 10.0
"""After this many seconds with frames, the next pause is `FIRST_PAUSE` again."""

SCHEMES = {"http": "http,https,tcp,tls,crypto,httpproxy", "https": "http,https,tcp,tls,crypto,httpproxy"} | {
    "rtsp": "rtsp,rtp,udp,tcp,tls",
    "rtsps": "rtsps,rtsp,rtp,udp,tcp,tls",
}
"""The protocols that FFmpeg may use for a URL of each scheme. `file` is not among them."""

_TIMEOUT = 10.0

_LOW_LATENCY = {"fflags": "nobuffer", "flags": "low_delay"}


class GoneError(Exception):
    """The source gives no frames at the moment. The message is the reason."""


def open_camera(number: str) -> Footage:
    """A camera of this machine, by its number, as footage."""

    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        return frames_with_retries(f"camera {number}", lambda: _camera_images(int(number)), stopped, warn)

    return Footage(f"camera {number}", f"camera-{number}_{_now()}", live=True, frames=frames)


def open_stream(url: str) -> Footage:
    """An HTTP or RTSP stream as footage. Its title leaves out the URL's user, password and query.

    Raises:
        UserError: The URL is not one of a stream, or cannot be split.
    """
    parts, title = split_address(url), address_title(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme.lower() not in SCHEMES or not host:
        raise UserError(f"{title}: not a stream. Give a URL that begins with {', '.join(f'{s}://' for s in SCHEMES)}.")

    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        return frames_with_retries(title, lambda: _stream_images(url, parts.scheme.lower()), stopped, warn)

    stem = re.sub(r"[^A-Za-z0-9]+", "-", f"{host}{parts.path}").strip("-")[:80]
    return Footage(title, f"{stem}_{_now()}", live=True, frames=frames)


def frames_with_retries(
    title: str, connect: Callable[[], Iterator[Pixels]], stopped: Stopped, warn: Warn
) -> Iterator[Frame]:
    """Yield frames from a source, and connect again when it is gone.

    Args:
        title: The source's name in messages.
        connect: Connects, and yields what a `Frame` takes as its pixels. Ends or raises `GoneError` when the
            source gives no more.
        stopped: Called during pauses; returns whether to stop.
        warn: Called when the source is gone, and when it is back.

    Raises:
        UserError: The first connection gave no frame.
    """
    begun: float | None = None
    number, wait = 0, FIRST_PAUSE
    while not stopped():
        back: float | None = None
        reason = "it ended"
        with contextlib.closing(connect()) as images:  # type: ignore[type-var]
            try:
                for image in images:
                    now = time.monotonic()
                    if begun is None:
                        begun = now
                    elif back is None:
                        warn(f"{title} is back")
                    back = now if back is None else back
                    yield Frame(image, number, now - begun)
                    number += 1
                    if now - back > HEALTHY:
                        wait = FIRST_PAUSE
            except GoneError as error:
                reason = str(error)
        if begun is None:
            raise UserError(f"{title}: gives no picture ({reason}).")
        if stopped():
            return
        warn(f"{title} is gone ({reason}); trying again in {wait:g} s")
        interruptible_sleep(wait, stopped)
        wait = min(2 * wait, LONGEST_PAUSE)


def _camera_images(number: int) -> Iterator[np.ndarray]:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our own message says what is wrong
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise GoneError("no camera has this number, or another program uses it")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        while True:
            good, image = capture.read()
            if not good:
                raise GoneError("it gives no more pictures")
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _stream_images(url: str, scheme: str) -> Iterator[Pixels]:
    import av

    from facemask.media import recordings

    options = {"protocol_whitelist": SCHEMES[scheme], **_LOW_LATENCY}
    if scheme.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        with recordings.open_container(url, options, _TIMEOUT) as container:
            for number, frame in enumerate(container.decode(container.streams.video[0])):
                pixels = partial(recordings.upright_pixels, frame)
                yield pixels if number else pixels()  # a format that cannot be converted is noticed here
    except recordings.DecodingError as error:
        raise GoneError(str(error)) from None
    except av.FFmpegError as error:
        raise GoneError(str(error.strerror or type(error).__name__)) from None


def _now() -> str:
    return time.strftime("%Y-%m-%d_%H-%M-%S")
