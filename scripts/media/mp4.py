"""An MP4 that browsers play: H.264, at the times at which the frames were seen."""

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2  # noqa: F401  # before av: the other way round OpenCV's windows hang on Linux

# isort: split
import av
import numpy as np
from PIL import Image, ImageOps

CODECS = {"libx264": {"preset": "veryfast", "crf": "23"}, "libopenh264": {}, "mpeg4": {"qscale": "4"}}
"""FFmpeg's encoders with their options, the best first. PyAV's wheels have it; builds without the GPL may not."""

TICKS = 90_000
"""Time units a second, those of MPEG."""

_EVERY = {"g": "50", "bf": "0"}
"""A whole picture every 50 frames, to jump to, and none that depends on later ones: those delay the start."""

_WHOLE = {"movflags": "faststart"}
"""The index at the start, so that a browser shows the first frame before it has all."""

_IN_PIECES = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
"""An index for each piece: a whole one would grow in memory for as long as a camera runs."""


@contextlib.contextmanager
def writer(path: Path, live: bool) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Give a function that adds a frame, RGB uint8 of shape (height, width, 3), and its time in seconds.

    The first frame decides the size; others are fitted into it. The file is whole when the block ends, with an
    exception too.
    """
    codec = next(name for name in CODECS if name in av.codecs_available)
    last = -1
    with av.open(str(path), "w", format="mp4", options=_IN_PIECES if live else _WHOLE) as container:
        stream = container.add_stream(codec, rate=30, options={**_EVERY, **CODECS[codec]})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        # What players assume of a size is not the same everywhere, so it is said: BT.709, limited range.
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        stream.codec_context.color_range = 1

        def add(image: np.ndarray, seconds: float) -> None:
            nonlocal last
            if last < 0:
                # Colour has half the resolution, so sides are even.
                stream.height, stream.width = image.shape[0] + image.shape[0] % 2, image.shape[1] + image.shape[1] % 2
            frame = av.VideoFrame.from_ndarray(_fit(image, stream.width, stream.height), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
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
