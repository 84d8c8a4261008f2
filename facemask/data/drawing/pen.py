"""Draw smooth, shaded shapes on a Pillow image, in a coordinate system of the caller's choice."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
"""Red, green and blue, 0..255."""

Points = Sequence[tuple[float, float]] | np.ndarray
"""Points of a polygon or a line: (n, 2), x right and y down."""


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """The colour that lies `share` (0..1) of the way from `one` to `other`."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def darker(colour: Colour, share: float) -> Colour:
    """The colour mixed with `share` of black."""
    return mix(colour, (0, 0, 0), share)


def lighter(colour: Colour, share: float) -> Colour:
    """The colour mixed with `share` of white."""
    return mix(colour, (255, 255, 255), share)


def curve(points: Points, closed: bool = True, steps: int = 6) -> np.ndarray:
    """A smooth line through the points: a uniform Catmull-Rom spline.

    Args:
        points: (n, 2), n at least 2.
        closed: Whether the line returns to its first point.
        steps: Line segments between two given points.

    Returns:
        (n * steps, 2) where closed, else ((n - 1) * steps + 1, 2).
    """
    knots = np.asarray(points, float)
    around = np.concatenate([knots[-1:], knots, knots[:2]] if closed else [knots[:1], knots, knots[-1:]])
    neighbours = np.stack([around[i : len(around) - 3 + i] for i in range(4)], axis=1)
    line = (_catmull_rom(steps) @ neighbours).reshape(-1, 2)
    return line if closed else np.concatenate([line, knots[-1:]])


def arc(points: Points) -> np.ndarray:
    """A smooth line from the first point to the last: an open `curve`."""
    return curve(points, closed=False)


def mirrored(
    right: Sequence[tuple[float, float]], *, top: tuple[float, float], bottom: tuple[float, float]
) -> np.ndarray:
    """A closed curve that is symmetric about x = 0. It runs through `top`, `right`, `bottom` and mirrored points."""
    return curve([top, *right, bottom, *((-x, y) for x, y in reversed(right))])


@functools.cache
def _catmull_rom(steps: int) -> np.ndarray:
    """The weights of four neighbouring points, for each place between the middle two: (steps, 4)."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    return 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3])


def ellipse(x: float, y: float, rx: float, ry: float | None = None, corners: int = 28) -> np.ndarray:
    """The outline of an ellipse (a circle without `ry`) around (x, y): (corners, 2)."""
    return _circle(corners) * (rx, rx if ry is None else ry) + (x, y)


def moved(points: Points, x: float, y: float) -> np.ndarray:
    """The points shifted by (x, y): (n, 2)."""
    return np.add(points, (x, y))


@functools.cache
def _circle(corners: int) -> np.ndarray:
    angle = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


@dataclass(frozen=True)
class Clip:
    """A region of the canvas that clips other shapes: a mask, and the place of its top left corner in pixels."""

    mask: Image.Image
    left: int
    top: int


@dataclass(frozen=True)
class Pen:
    """Draws on `canvas` in units of `scale` pixels around `origin`, turned clockwise by `roll` radians.

    Example:
        >>> pen = Pen(Image.new("RGB", (640, 480)), origin=(320, 240), scale=100)
        >>> pen.fill(ellipse(0, 0, 1), (220, 40, 40))
    """

    canvas: Image.Image
    origin: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    roll: float = 0.0

    def pixels(self, points: Points) -> np.ndarray:
        """The points in pixels of the canvas: (n, 2)."""
        sine, cosine = math.sin(self.roll) * self.scale, math.cos(self.roll) * self.scale
        turned: np.ndarray = np.asarray(points, float) @ np.array(((cosine, sine), (-sine, cosine)))
        return np.asarray(turned + self.origin)

    def clip(self, points: Points) -> Clip | None:
        """The polygon as a clip for other shapes; None if it lies outside the canvas."""
        return self._area(self.pixels(points), 255)

    def fill(
        self, points: Points, colour: Colour, alpha: float = 1.0, soft: float = 0.0, within: Clip | None = None
    ) -> None:
        """Fill a polygon. `soft` (in units) blurs its edge, and `within` clips it."""
        corners = self.pixels(points)
        if alpha >= 1 and soft == 0 and within is None:
            ImageDraw.Draw(self.canvas).polygon(corners.ravel().tolist(), fill=colour)
            return
        self._paste(self._area(corners, round(255 * alpha), soft * self.scale), colour, within)

    def stroke(
        self,
        points: Points,
        width: float,
        colour: Colour,
        alpha: float = 1.0,
        soft: float = 0.0,
        within: Clip | None = None,
    ) -> None:
        """Draw a line of `width` units with round ends; the other arguments as for `fill`."""
        corners = self.pixels(points)
        pixels = max(1.0, width * self.scale)
        if alpha >= 1 and soft == 0 and within is None:
            _line(ImageDraw.Draw(self.canvas), corners, pixels, colour)
            return
        self._paste(self._area(corners, round(255 * alpha), soft * self.scale, pixels), colour, within)

    def _area(self, corners: np.ndarray, cover: int, blur: float = 0.0, width: float | None = None) -> Clip | None:
        margin = math.ceil(2.5 * blur + (width or 0)) + 1
        left, top = (max(0, math.floor(v) - margin) for v in corners.min(axis=0))
        right, bottom = (
            min(size, math.ceil(v) + margin) for v, size in zip(corners.max(axis=0), self.canvas.size, strict=True)
        )
        if right <= left or bottom <= top:
            return None
        mask = Image.new("L", (right - left, bottom - top))
        drawing = ImageDraw.Draw(mask)
        if width is None:
            drawing.polygon((corners - (left, top)).ravel().tolist(), fill=cover)
        else:
            _line(drawing, corners - (left, top), width, cover)
        return Clip(mask.filter(ImageFilter.BoxBlur(blur)) if blur > 0.3 else mask, left, top)

    def _paste(self, area: Clip | None, colour: Colour, within: Clip | None) -> None:
        if area is None:
            return
        mask = area.mask
        if within is not None:
            bound = Image.new("L", mask.size)
            bound.paste(within.mask, (within.left - area.left, within.top - area.top))
            mask = ImageChops.multiply(mask, bound)
        self.canvas.paste(colour, (area.left, area.top), mask)


def _line(drawing: ImageDraw.ImageDraw, corners: np.ndarray, width: float, fill: Colour | int) -> None:
    drawing.line(corners.ravel().tolist(), fill=fill, width=round(width), joint="curve" if width > 6 else None)
    if width > 6:
        for x, y in (corners[0], corners[-1]):
            drawing.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=fill)
