"""Writes an MP4 that browsers play: H.264, each frame at its own time."""

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2  # before av: the other way round OpenCV's windows hang on Linux

# isort: split
import av
import numpy as np
from PIL import Image, ImageOps

CODECS = {"libx264": {"preset": "veryfast", "crf": "23"}, "libopenh264": {}, "mpeg4": {"qscale": "4"}}
"""FFmpeg's encoders with their options, the best first. Builds of FFmpeg without the GPL have no libx264."""

TICKS = 90_000
"""Time units per second, as in MPEG."""

_SMPTE_170M = 6
"""FFmpeg's number (AVCOL_SPC_SMPTE170M) of the matrix of BT.601."""

_EVERY = {"g": "50", "bf": "0"}
"""A key frame every 50 frames, so that players can seek. No B-frames, which delay the start."""

_WHOLE = {"movflags": "faststart"}
"""The index comes first, so that a browser plays before it has loaded the whole file."""

_IN_PIECES = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
"""One index for each fragment. A single index would grow in memory for as long as a camera runs."""


@contextlib.contextmanager
def mp4_writer(path: Path, live: bool) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Open an MP4 for the block. Yields a function that adds a frame.

    That function takes an RGB uint8 array of shape (height, width, 3) and the frame's time in seconds. The first frame
    sets the size of the video; later frames are fitted into it. When the block ends, also with an exception, the file
    is complete.

    Args:
        path: The file to write.
        live: Write fragments, for a recording without a known end.

    Raises:
        OSError: From the yielded function, or at the end of the block: the file cannot be written.

    Example:
        >>> with mp4_writer(Path("out.mp4"), live=False) as add:
        ...     add(image, 0.0)
    """
    codec = next(name for name in CODECS if name in av.codecs_available)
    last = -1
    options = _IN_PIECES if live else _WHOLE
    # FFmpeg takes what stands before a colon for a protocol, as in 12:30.mp4, unless a slash stands before it.
    with av.open(str(path.absolute()), "w", format="mp4", options=options) as container:
        stream = container.add_stream(codec, rate=30, options={**_EVERY, **CODECS[codec]})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        # Without these fields players guess the colour space from the size. Limited range; OpenCV converts by BT.601.
        stream.codec_context.color_primaries = stream.codec_context.color_trc = stream.codec_context.color_range = 1
        stream.codec_context.colorspace = _SMPTE_170M

        def add(image: np.ndarray, seconds: float) -> None:
            nonlocal last
            if last < 0:
                # yuv420p stores colour at half the resolution, so both sides must be even.
                stream.height, stream.width = image.shape[0] + image.shape[0] % 2, image.shape[1] + image.shape[1] % 2
            # A quarter of the time of FFmpeg's own conversion, which takes as long as encoding.
            planes = cv2.cvtColor(_fit(image, stream.width, stream.height), cv2.COLOR_RGB2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            last = max(round(seconds * TICKS), last + 1)
            frame.pts, frame.time_base = last, Fraction(1, TICKS)
            write(frame)

        def write(frame: av.VideoFrame | None) -> None:
            try:
                container.mux(stream.encode(frame))
            except av.FFmpegError as error:
                raise OSError(error.errno, error.strerror) from None

        try:
            yield add
        finally:
            if last >= 0:
                write(None)


def _fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    missing = height - image.shape[0], width - image.shape[1]
    if missing == (0, 0):
        return np.ascontiguousarray(image)
    if all(0 <= side <= 1 for side in missing):
        return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return np.asarray(ImageOps.pad(Image.fromarray(image), (width, height)))
