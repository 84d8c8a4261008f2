"""What IMG means: pictures, a video file, a camera or a stream."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.media import images
from scripts.media.footage import Footage
from scripts.media.images import Picture

VIDEO_SUFFIXES = frozenset(
    [".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4"]
) | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
"""What counts as a video file. What is in the file is looked up in the file."""


@dataclass(frozen=True)
class Kind:
    """A kind of footage.

    Attributes:
        matches: Whether a text names one.
        open: Gives it; raises a UserError if there is none.
    """

    matches: Callable[[str], bool]
    open: Callable[[str], Footage]


def _is_camera(source: str) -> bool:
    return re.fullmatch(r"[0-9]{1,3}", source) is not None and not Path(source).exists()


def _open_camera(source: str) -> Footage:
    from scripts.media import live

    return live.camera(source)


def _is_url(source: str) -> bool:
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def _open_stream(source: str) -> Footage:
    from scripts.media import live

    return live.stream(source)


def _is_video(source: str) -> bool:
    path = Path(source).expanduser()
    try:
        return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()
    except OSError:
        return False


def _open_video(source: str) -> Footage:
    from scripts.media import recordings

    return recordings.open_file(Path(source).expanduser())


KINDS = (Kind(_is_camera, _open_camera), Kind(_is_url, _open_stream), Kind(_is_video, _open_video))
"""The kinds of footage. What is none of them is pictures."""


def find(source: str) -> list[Picture] | Footage:
    """Tell what `source` names: a picture, a folder, a glob; a video file; a camera's number; a stream's URL.

    Raises:
        UserError: It names nothing.
    """
    for kind in KINDS:
        if kind.matches(source):
            return kind.open(source)
    if source:  # an empty one is an error, not this folder
        _name_videos_in(Path(source).expanduser())
    return images.find(source)


def _name_videos_in(folder: Path) -> None:
    """Say on stderr which videos of a folder are not looked at."""
    try:
        videos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    except OSError:
        return  # `images.find` says what is wrong
    for path in videos:
        print(f"{path}: a video, not looked at with a folder of pictures; give it by itself.", file=sys.stderr)
