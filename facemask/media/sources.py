"""Finds out what IMG= names: pictures, a video file, a camera or a stream."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.files import expand_home
from facemask.core.stream_addresses import is_address
from facemask.media import detection_pace, picture_files
from facemask.media.footage import Footage
from facemask.media.picture_files import Picture

VIDEO_SUFFIXES = frozenset(
    [".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4"]
) | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
"""The suffixes of video files. The format itself is read from the file."""


@dataclass(frozen=True)
class Kind:
    """A kind of footage.

    Attributes:
        matches: Whether a text names footage of this kind.
        open: Opens it; raises a UserError if it does not exist.
    """

    matches: Callable[[str], bool]
    open: Callable[[str], Footage]


def _is_camera(source: str) -> bool:
    return re.fullmatch(r"[0-9]{1,3}", source) is not None and not Path(source).exists()


def _open_camera(source: str) -> Footage:
    from facemask.media import live

    return live.open_camera(source)


def _open_stream(source: str) -> Footage:
    from facemask.media import live

    return live.open_stream(source)


def _is_video(source: str) -> bool:
    path = expand_home(source)
    try:
        return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    except OSError:
        return False


def _open_video(source: str) -> Footage:
    from facemask.media import recordings

    return recordings.open_file(expand_home(source))


KINDS = (Kind(_is_camera, _open_camera), Kind(is_address, _open_stream), Kind(_is_video, _open_video))
"""The kinds of footage. A text that matches none of them names pictures."""


def is_footage(source: str) -> bool:
    """Whether a text names a camera, a stream or a video file that is there. Opens nothing."""
    return any(kind.matches(source) for kind in KINDS)


def find_source(source: str) -> list[Picture] | Footage:
    """Find what `source` names: a picture, a folder, a glob, a video file, a camera's number or a stream's URL.

    Raises:
        UserError: `source` names nothing that exists.
    """
    for kind in KINDS:
        if kind.matches(source):
            return kind.open(source)
    for path in sorted(picture_files.list_files(source)[1]):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            print(f"{path}: a video; skipped among pictures. Give it alone: IMG={path}", file=sys.stderr)
    return picture_files.find_pictures(source)


def refuse_unused_options(
    found: Sequence[Picture] | Footage,
    kinds: frozenset[str],
    *,
    blur: bool,
    show: bool,
    seconds: float,
    detect_every: int | None,
) -> None:
    """Raise a UserError if an option of `make infer` has no effect on what was found.

    Args:
        found: What IMG= names.
        kinds: The kinds of results (`writing.parse_kinds`).
        blur: Blur the faces in what is drawn.
        show: Show the frames in a window.
        seconds: Stop after so long; 0: at the end.
        detect_every: Detect in every so many frames; None for `auto`.
    """
    of_footage = {
        "SHOW=1": show,
        f"SECONDS={seconds:g}": seconds > 0,
        f"DETECT_EVERY={detect_every or detection_pace.AUTO}": detect_every != 1,
    }
    for option, given in of_footage.items():
        if given and not isinstance(found, Footage):
            name = option.partition("=")[0]
            raise UserError(f"{option}: is for videos, cameras and streams, not for pictures. Leave {name} out.")
    if blur and not show and "image" not in kinds:
        out = ",".join(sorted(kinds)) or "none"
        raise UserError(f"BLUR=1: OUT={out} draws nothing that could be blurred. Leave BLUR out, or add image to OUT.")
