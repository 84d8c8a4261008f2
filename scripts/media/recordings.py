"""Video files, and whatever else FFmpeg decodes, through PyAV."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2  # noqa: F401  # before av: the other way round OpenCV's windows hang on Linux

# isort: split
import av
import numpy as np

from scripts.dataset import images
from scripts.media.footage import Footage, Frame, Say, Stopped
from scripts.support.errors import UserError

FORMATS = "mov,matroska,webm,avi,mpeg,mpegts,flv,asf,ogg,mjpeg,mpjpeg,rtsp,sdp,rtp"
"""FFmpeg's demuxers that are used. Playlists are not among them: one could name any file or address."""

_WHOLE = 0.95


class DecodingError(Exception):
    """Nothing that can be decoded. The message says why, in a few words and without the source's name."""


def open_file(path: Path) -> Footage:
    """A video file as footage. Raises a UserError if it is none."""
    try:
        with opened(str(path), {"protocol_whitelist": "file"}) as container:
            stream = container.streams.video[0]
            count = stream.frames or None
            if count is None and stream.average_rate and container.duration:
                count = int(container.duration / av.time_base * stream.average_rate)
    except DecodingError as error:
        raise UserError(f"{path}: {error}.") from None

    def frames(stopped: Stopped, say: Say) -> Iterator[Frame]:
        number = 0
        for frame in _frames_of_file(path, stopped, say):
            yield frame
            number += 1
        # Most files say how many there are; of the others it is estimated.
        if count is not None and number < _WHOLE * count - 1 and not stopped():
            say(f"{path}: cut off, {number} frames decoded of about {count}")

    return Footage(str(path), path.stem, live=False, frames=frames, count=count, path=path)


def _frames_of_file(path: Path, stopped: Stopped, say: Say) -> Iterator[Frame]:
    number = damaged = 0
    time = 0.0
    start: float | None = None
    with opened(str(path), {"protocol_whitelist": "file"}) as container:
        stream = container.streams.video[0]
        # Not several frames at a time: the decoder would not report each damaged one.
        stream.thread_type = "SLICE"
        step = float(1 / stream.average_rate) if stream.average_rate else 0.04
        packets = container.demux(stream)
        while not stopped():
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.FFmpegError:
                damaged += 1
                break  # the demuxer does not find its way back
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in decoded:
                if start is None:
                    start = frame.time or 0.0
                # A frame without a time, or one that goes back, follows the one before.
                at = time + step if frame.time is None else frame.time - start
                time = at if number == 0 or at > time else time + 0.001
                yield Frame(pixels(frame), number, time)
                number += 1
    if damaged:
        say(f"{path}: {damaged} damaged piece{'s' * (damaged != 1)} left out, {number} frames decoded")
    if number == 0 and not stopped():
        raise UserError(f"{path}: not one frame of it can be decoded.")


@contextlib.contextmanager
def opened(address: str, options: dict[str, str], timeout: float | None = None) -> Iterator[Any]:
    """Open what FFmpeg reads, with a video in it. Everything of PyAV's that goes wrong becomes a DecodingError.

    Args:
        address: A path or a URL.
        options: FFmpeg's, `protocol_whitelist` among them.
        timeout: Seconds for opening, and for each read.
    """
    try:
        container = av.open(address, options={**options, "format_whitelist": FORMATS}, timeout=timeout)
    except (av.FFmpegError, OSError, ValueError) as error:
        # Not str(error), which holds the address, with its password.
        raise DecodingError(f"cannot be opened as a video ({_reason(error)})") from None
    with container:
        if not container.streams.video:
            raise DecodingError("no video in it")
        codec = container.streams.video[0].codec_context
        if codec is None:
            raise DecodingError("a video of an unknown kind")
        if codec.width * codec.height > images.MAX_PIXELS:
            raise DecodingError(f"{codec.width} x {codec.height} pixels a frame, the limit is {images.MAX_PIXELS:,}")
        yield container


def pixels(frame: Any) -> np.ndarray:
    """A PyAV frame's pixels as RGB uint8, (height, width, 3), turned upright as the file says."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)
