"""Reads video files with PyAV, and opens streams for `live`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2  # noqa: F401  # before av: the other way round OpenCV's windows hang on Linux

# isort: split
import av
import numpy as np

from facemask.core.errors import UserError
from facemask.core.files import check_utf8
from facemask.data import images
from facemask.media.footage import Footage, Frame, Stopped, Warn

FORMATS = "mov,matroska,webm,avi,mpeg,mpegts,flv,asf,ogg,mjpeg,mpjpeg,rtsp,sdp,rtp"
"""The container formats that FFmpeg may open. Playlists are excluded: a playlist can name any file or address."""

_WHOLE = 0.95


class DecodingError(Exception):
    """The source cannot be decoded. The message is the reason, without the source's name."""


def open_file(path: Path) -> Footage:
    """A video file as footage. Raises a UserError if the file is not a video, or its name is not UTF-8."""
    check_utf8(path)  # the results hold it
    try:
        with _open_path(path) as container:
            stream = container.streams.video[0]
            count = stream.frames or None
            if count is None and stream.average_rate and container.duration:
                count = int(container.duration / av.time_base * stream.average_rate)
    except DecodingError as error:
        raise UserError(f"{path}: {error}.") from None

    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        number = 0
        for frame in _frames_of_file(path, stopped, warn):
            yield frame
            number += 1
        # Most files state the number of frames. For the others it is an estimate.
        if count is not None and number < _WHOLE * count - 1 and not stopped():
            warn(f"{path}: the file is cut off; decoded {number} of about {count} frames")

    return Footage(str(path), path.stem, live=False, frames=frames, count=count, path=path)


def _frames_of_file(path: Path, stopped: Stopped, warn: Warn) -> Iterator[Frame]:
    number = damaged = 0
    time = 0.0
    start: float | None = None
    with _open_path(path) as container:
        stream = container.streams.video[0]
        # With frame threading the decoder would not report each damaged frame.
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
                break  # after this error the demuxer finds no further packet
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in decoded:
                if start is None:
                    start = frame.time or 0.0
                # A frame without a time, or with an earlier time than the last, comes just after the last.
                at = time + step if frame.time is None else frame.time - start
                time = at if number == 0 or at > time else time + 0.001
                yield Frame(upright_pixels(frame), number, time)
                number += 1
    if damaged:
        warn(f"{path}: left out {damaged} damaged packet{'s' * (damaged != 1)}; decoded {number} frames")
    if number == 0 and not stopped():
        raise UserError(f"{path}: no frame can be decoded.")


def _open_path(path: Path) -> contextlib.AbstractContextManager[Any]:
    # FFmpeg takes what stands before a colon for a protocol, as in 12:30.avi, unless a slash stands before it.
    return open_container(str(path.absolute()), {"protocol_whitelist": "file"})


@contextlib.contextmanager
def open_container(address: str, options: dict[str, str], timeout: float | None = None) -> Iterator[Any]:
    """Open a file or a stream that holds a video, for the block.

    Args:
        address: A path or a URL.
        options: FFmpeg's options, `protocol_whitelist` among them.
        timeout: Seconds for opening, and for each read.

    Raises:
        DecodingError: It cannot be opened, holds no video, or its frames are larger than `images.MAX_PIXELS`.
    """
    try:
        whitelisted = {**options, "format_whitelist": FORMATS}
        # Nobody reads the metadata, and in an AVI their encoding is anybody's.
        container = av.open(address, options=whitelisted, metadata_errors="replace", timeout=timeout)
    except (av.FFmpegError, OSError, ValueError) as error:
        # str(error) would hold the address, with its password.
        raise DecodingError(f"not a video that can be opened ({_reason(error)})") from None
    with container:
        if not container.streams.video:
            raise DecodingError("holds no video")
        codec = container.streams.video[0].codec_context
        if codec is None:
            raise DecodingError("the video has an unknown codec")
        if codec.width * codec.height > images.MAX_PIXELS:
            raise DecodingError(f"{codec.width} x {codec.height} pixels a frame, the limit is {images.MAX_PIXELS:,}")
        yield container


def upright_pixels(frame: Any) -> np.ndarray:
    """The pixels of a PyAV frame, RGB uint8 of shape (height, width, 3), turned upright by the file's rotation."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or type(error).__name__)
