"""What every reader of a format gives: one frozen record a picture, and lines about what is wrong."""

import math
import re
from dataclasses import dataclass
from typing import Any

from facemask.data.voc import Box

MAX_COORDINATE = 1e7
"""Pixels. No picture is that wide; larger numbers are damage."""


@dataclass(frozen=True, slots=True)
class ForeignPicture:
    """A picture with its labels as another tool wrote them, unchecked against the picture.

    Attributes:
        image: The picture's path in the source of the pictures.
        labelled_in: The file with its labels, for messages.
        boxes: With the tool's names of the classes. In pixels, or, if `normalised`, as parts of width and height.
        normalised: Coordinates run from 0 to 1.
        width: Pixels as the format says; 0 where it does not.
        height: Pixels, likewise.
        origin: Where the picture comes from, as the format says; empty where it does not.
        licence: Likewise.
    """

    image: str
    labelled_in: str
    boxes: tuple[Box, ...]
    normalised: bool = False
    width: int = 0
    height: int = 0
    origin: str = ""
    licence: str = ""


@dataclass(frozen=True)
class ForeignLabels:
    """What a reader found.

    Attributes:
        pictures: The labelled pictures, in the order of the source; none that has a problem.
        problems: A line for each thing that is wrong; it names the file.
        unlabelled: The paths of the pictures that the files of labels name, and that nobody has labelled.
    """

    pictures: tuple[ForeignPicture, ...]
    problems: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()


def finite_number(value: Any) -> float | None:
    """The number that a JSON or XML value stands for; None where it is none, or none that a picture can have.

    Example:
        >>> finite_number("12.5"), finite_number("nan"), finite_number(True)
        (12.5, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= MAX_COORDINATE else None


def pixel_count(value: Any) -> int:
    """The whole number of pixels that a value stands for; 0 where it is none."""
    return max(int(finite_number(value) or 0), 0)


def envelope(label: str, xs: list[float], ys: list[float], difficult: bool = False, truncated: bool = False) -> Box:
    """The smallest upright box around points."""
    return Box(label, min(xs), min(ys), max(xs), max(ys), difficult, truncated)


def one_line(text: Any, limit: int = 200) -> str:
    """The text on one line, without control characters: for messages, tables and XML."""
    plain = "".join(letter if letter.isprintable() else " " for letter in str(text)[: 4 * limit])
    return re.sub(r"\s+", " ", plain).strip()[:limit]
