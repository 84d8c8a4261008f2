"""Cameras and streams: frames as they come; when one goes away it is asked again, after growing pauses."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import cv2
import numpy as np

from scripts.media.footage import Footage, Frame, Say, Stopped
from scripts.media.overlap import pause
from scripts.support.errors import UserError

FIRST_PAUSE = 1.0
"""Seconds before the first new attempt. Each attempt that fails doubles it."""

LONGEST_PAUSE = 60.0

HEALTHY = 10.0
"""After so many seconds with frames the next failure is a first one again."""

SCHEMES = {"http": "http,https,tcp,tls,crypto,httpproxy", "https": "http,https,tcp,tls,crypto,httpproxy"} | {
    "rtsp": "rtsp,rtp,udp,tcp,tls",
    "rtsps": "rtsps,rtsp,rtp,udp,tcp,tls",
}
"""FFmpeg's protocols that a URL of each scheme may lead to; no file is among them."""

_TIMEOUT = 10.0

_LOW_LATENCY = {"fflags": "nobuffer", "flags": "low_delay"}


class GoneError(Exception):
    """The source gives no frames now. The message says why."""


def camera(number: str) -> Footage:
    """A camera of this machine as footage, by its number."""

    def frames(stopped: Stopped, say: Say) -> Iterator[Frame]:
        return retrying(f"camera {number}", lambda: _camera_images(int(number)), stopped, say)

    return Footage(f"camera {number}", f"camera-{number}_{_now()}", live=True, frames=frames)


def stream(url: str) -> Footage:
    """An HTTP or RTSP stream as footage. Its title leaves out the URL's user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    title = f"{parts.scheme}://{host}{parts.path}"
    if parts.scheme.lower() not in SCHEMES or not host:
        raise UserError(f"{title}: not a stream that is read (looked for {', '.join(f'{s}://' for s in SCHEMES)}).")

    def frames(stopped: Stopped, say: Say) -> Iterator[Frame]:
        return retrying(title, lambda: _stream_images(url, parts.scheme.lower()), stopped, say)

    stem = re.sub(r"[^A-Za-z0-9]+", "-", f"{host}{parts.path}").strip("-")[:80]
    return Footage(title, f"{stem}_{_now()}", live=True, frames=frames)


def retrying(title: str, connect: Callable[[], Iterator[np.ndarray]], stopped: Stopped, say: Say) -> Iterator[Frame]:
    """Frames from a source that may go away.

    Args:
        title: What it is called.
        connect: Connects and gives RGB images; ends, or raises `GoneError`, when there are no more.
        stopped: Asked during pauses.
        say: Told when the source went away, and when it is back.

    Raises:
        UserError: It was not there in the first place.
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
                        say(f"{title} is back")
                    back = now if back is None else back
                    yield Frame(image, number, now - begun)
                    number += 1
                    if now - back > HEALTHY:
                        wait = FIRST_PAUSE
            except GoneError as error:
                reason = str(error)
        if begun is None:
            raise UserError(f"{title}: no picture comes from it ({reason}).")
        if stopped():
            return
        say(f"{title} is gone ({reason}); trying again in {wait:g} s")
        pause(wait, stopped)
        wait = min(2 * wait, LONGEST_PAUSE)


def _camera_images(number: int) -> Iterator[np.ndarray]:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # we say ourselves what is wrong
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            raise GoneError("there is none of this number, or another program uses it")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        while True:
            good, image = capture.read()
            if not good:
                raise GoneError("it gives no more pictures")
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _stream_images(url: str, scheme: str) -> Iterator[np.ndarray]:
    import av

    from scripts.media import recordings

    options = {"protocol_whitelist": SCHEMES[scheme], **_LOW_LATENCY}
    if scheme.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        with recordings.opened(url, options, _TIMEOUT) as container:
            for frame in container.decode(container.streams.video[0]):
                yield recordings.pixels(frame)
    except recordings.DecodingError as error:
        raise GoneError(str(error)) from None
    except av.FFmpegError as error:
        raise GoneError(str(error.strerror or type(error).__name__)) from None


def _now() -> str:
    return time.strftime("%Y-%m-%d_%H-%M-%S")
