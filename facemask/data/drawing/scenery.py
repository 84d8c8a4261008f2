"""Backgrounds, things in the background, and obstacles in front of faces.

Lengths are pixels of the finished picture.
"""

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facemask.data.drawing.pen import Colour, Pen, arc, curve, darker, ellipse, lighter, mix, moved
from facemask.data.drawing.people import SKINS, textile


def _rectangle(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def draw_backdrop(pen: Pen, rng: random.Random, width: int, height: int) -> None:
    """Cover the whole canvas with a random place and things in it."""
    place = rng.choice((_room, _street, _park, _lights, _library, _tiles))
    place(pen, rng, width, height)
    for _ in range(rng.randrange(1, 6)):
        thing = rng.choice((_ball, _balloon, _parcel, _plant, _lamp, _sign, _cup, _washing))
        thing(pen, rng, rng.uniform(0, width), rng.uniform(0, height), rng.uniform(8, 34))


def _gradient(pen: Pen, width: int, height: int, above: Colour, below: Colour) -> None:
    share = np.linspace(0, 1, 64)[:, None, None]
    rows = np.asarray(above) * (1 - share) + np.asarray(below) * share
    image = Image.fromarray(rows.astype(np.uint8)).resize(pen.canvas.size, Image.Resampling.BILINEAR)
    pen.canvas.paste(image)


def _room(pen: Pen, rng: random.Random, width: int, height: int) -> None:
    wall = textile(rng)
    _gradient(pen, width, height, lighter(wall, 0.25), darker(wall, 0.15))
    for _ in range(rng.randrange(1, 5)):
        x, y, w, h = rng.uniform(-20, width), rng.uniform(0, height * 0.6), rng.uniform(24, 80), rng.uniform(24, 80)
        pen.fill(_rectangle(x + 3, y + 4, x + w + 3, y + h + 4), (0, 0, 0), 0.3, 3)
        pen.fill(_rectangle(x, y, x + w, y + h), darker(textile(rng), 0.3))
        pen.fill(_rectangle(x + 4, y + 4, x + w - 4, y + h - 4), textile(rng))
        for _ in range(3):
            pen.fill(
                ellipse(x + rng.uniform(0.3, 0.7) * w, y + rng.uniform(0.3, 0.7) * h, 0.16 * w, 0.16 * h), textile(rng)
            )
    floor = height * rng.uniform(0.75, 0.95)
    pen.fill(_rectangle(0, floor, width, height), darker(textile(rng), 0.3))
    pen.fill(_rectangle(0, floor - 4, width, floor), lighter(wall, 0.5))


def _street(pen: Pen, rng: random.Random, width: int, height: int) -> None:
    _gradient(pen, width, height, mix((120, 170, 220), textile(rng), 0.3), (225, 225, 220))
    x = -rng.uniform(0, 30)
    while x < width:
        wide, top = rng.uniform(40, 90), rng.uniform(-10, height * 0.45)
        house = textile(rng)
        pen.fill(_rectangle(x, top, x + wide, height), house)
        pen.fill(_rectangle(x + wide - 6, top, x + wide, height), darker(house, 0.3))
        pane = rng.choice(((250, 226, 150), (70, 90, 110), (190, 215, 230)))
        step = rng.uniform(14, 22)
        for row in np.arange(top + 8, height, step):
            for column in np.arange(x + 6, x + wide - 12, step * 0.8):
                pen.fill(_rectangle(column, row, column + step * 0.42, row + step * 0.6), pane)
        x += wide
    road = height * rng.uniform(0.8, 0.95)
    pen.fill(_rectangle(0, road, width, height), (96, 96, 100))


def _park(pen: Pen, rng: random.Random, width: int, height: int) -> None:
    _gradient(pen, width, height, mix((90, 160, 230), textile(rng), 0.25), (235, 240, 235))
    for _ in range(3):
        x, y = rng.uniform(0, width), rng.uniform(10, height * 0.3)
        for _ in range(4):
            pen.fill(ellipse(x + rng.uniform(-22, 22), y + rng.uniform(-5, 5), 18, 9), (252, 252, 252), 0.7, 3)
    grass = mix((86, 146, 66), textile(rng), 0.25)
    for layer in range(3):
        y = height * (0.45 + 0.17 * layer)
        hill = [(x, y + rng.uniform(-14, 14)) for x in np.linspace(-20, width + 20, 7)]
        pen.fill(np.vstack([arc(hill), [(width + 20, height), (-20, height)]]), darker(grass, 0.3 - 0.13 * layer))
        for _ in range(rng.randrange(1, 4)):
            x, size = rng.uniform(0, width), rng.uniform(14, 30)
            pen.fill(_rectangle(x - size * 0.1, y - size, x + size * 0.1, y + size * 0.6), (92, 66, 46))
            leaf = mix(
                darker(grass, 0.2), rng.choice(((200, 110, 40), (40, 90, 50), (180, 160, 60))), rng.random() * 0.7
            )
            for _ in range(6):
                spot = (x + rng.uniform(-0.5, 0.5) * size, y - size + rng.uniform(-0.5, 0.3) * size)
                pen.fill(ellipse(*spot, size * 0.42), mix(leaf, (255, 255, 200), rng.random() * 0.15))


def _lights(pen: Pen, rng: random.Random, width: int, height: int) -> None:
    dark = darker(textile(rng), 0.6)
    _gradient(pen, width, height, darker(dark, 0.4), dark)
    for _ in range(rng.randrange(14, 30)):
        size = rng.uniform(5, 26)
        spot = rng.choice(
            ((255, 214, 140), (255, 160, 100), (140, 200, 255), (255, 120, 140), (240, 240, 255), *SKINS[:6])
        )
        pen.fill(ellipse(rng.uniform(0, width), rng.uniform(0, height), size), spot, rng.uniform(0.25, 0.75), 2)


def _library(pen: Pen, rng: random.Random, width: int, height: int) -> None:
    wood = rng.choice(((120, 80, 50), (190, 150, 110), (84, 58, 44), (225, 220, 214)))
    _gradient(pen, width, height, darker(wood, 0.4), darker(wood, 0.55))
    shelf = rng.uniform(38, 60)
    for top in np.arange(-rng.uniform(0, 30), height, shelf):
        x = 0.0
        while x < width:
            thick, tall, colour = rng.uniform(5, 13), rng.uniform(0.55, 0.92) * shelf, textile(rng)
            if rng.random() < 0.88:
                pen.fill(_rectangle(x, top + shelf - tall, x + thick - 0.7, top + shelf), colour)
                label = top + shelf - tall * 0.75
                pen.fill(_rectangle(x + 1, label, x + thick - 1.7, label + 3), lighter(colour, 0.5))
            x += thick
        pen.fill(_rectangle(0, top + shelf - 3, width, top + shelf + 3), wood)


def _tiles(pen: Pen, rng: random.Random, width: int, height: int) -> None:
    one, other, side = textile(rng), textile(rng), rng.uniform(18, 46)
    _gradient(pen, width, height, one, darker(one, 0.2))
    slant = rng.choice((0.0, 0.5, 1.0))
    if rng.random() < 0.5:
        for x in np.arange(-height, width + height, side):
            pen.fill(
                [(x, 0), (x + side / 2, 0), (x + side / 2 + slant * height, height), (x + slant * height, height)],
                other,
            )
        return
    for row in range(int(height / side) + 1):
        for column in range(int(width / side) + 1):
            colour = mix(one, other, rng.random())
            x, y = column * side, row * side
            pen.fill(_rectangle(x, y, x + side - 1.5, y + side - 1.5), colour)


def _ball(pen: Pen, rng: random.Random, x: float, y: float, size: float) -> None:
    _sphere(pen, x, y, size * 0.85, size * 0.85, textile(rng))


def _balloon(pen: Pen, rng: random.Random, x: float, y: float, size: float) -> None:
    pen.stroke(arc([(x, y + size), (x + 5, y + size * 1.8), (x - 3, y + size * 2.8)]), 1, (90, 90, 90))
    _sphere(pen, x, y, size * 0.85, size, textile(rng))


def _parcel(pen: Pen, rng: random.Random, x: float, y: float, size: float) -> None:
    colour, low, back, right = textile(rng), y + size * 0.7, size * 0.3, x + size
    top = y - size * 0.7
    pen.fill(_rectangle(x - size, top, right, low), colour)
    lid = [(x - size, top), (x - size + back, top - back), (right + back, top - back), (right, top)]
    pen.fill(lid, lighter(colour, 0.3))
    flank = [(right, top), (right + back, top - back), (right + back, low - back), (right, low)]
    pen.fill(flank, darker(colour, 0.3))
    pen.fill(_rectangle(x - size * 0.15, top, x + size * 0.15, low), textile(rng))


def _plant(pen: Pen, rng: random.Random, x: float, y: float, size: float) -> None:
    green = mix((60, 130, 70), textile(rng), 0.3)
    for _ in range(7):
        _blade(pen, _leaf(x, y, rng.uniform(-2.6, -0.5), size * rng.uniform(0.9, 1.6)), green)
    pen.fill(_taper(x, y, size * 0.5, y + size * 0.8, size * 0.35), textile(rng))


def _lamp(pen: Pen, rng: random.Random, x: float, y: float, size: float) -> None:
    pen.stroke([(x, y), (x, y - 300)], 1.5, (60, 60, 60))
    pen.fill(ellipse(x, y + size * 0.3, size * 1.3), (255, 244, 200), 0.3, size * 0.4)
    pen.fill(_taper(x, y - size * 0.5, size * 0.35, y + size * 0.4, size * 0.8), textile(rng))


def _sign(pen: Pen, rng: random.Random, x: float, y: float, size: float) -> None:
    pen.fill(_rectangle(x - 1.5, y, x + 1.5, y + 300), (110, 110, 112))
    pen.fill(ellipse(x, y, size * 0.8), textile(rng))
    pen.fill(ellipse(x, y, size * 0.62), textile(rng))
    pen.fill(_rectangle(x - size * 0.4, y - size * 0.1, x + size * 0.4, y + size * 0.1), (250, 250, 250))


def _cup(pen: Pen, rng: random.Random, x: float, y: float, size: float) -> None:
    colour = textile(rng)
    pen.stroke(ellipse(x + size * 0.6, y, size * 0.3, corners=16), size * 0.14, darker(colour, 0.15))
    pen.fill(_taper(x, y - size * 0.6, size * 0.6, y + size * 0.6, size * 0.45), colour)
    pen.fill(ellipse(x, y - size * 0.6, size * 0.6, size * 0.14), darker(colour, 0.35))


def _washing(pen: Pen, rng: random.Random, x: float, y: float, size: float) -> None:
    colour = textile(rng)
    pen.stroke([(x - 90, y - size * 0.7), (x + 90, y - size * 0.7)], 1, (80, 80, 80))
    pen.fill(_rectangle(x - size, y - size * 0.7, x + size, y + size * 0.7), colour)
    for share in (-0.3, 0.1, 0.5):
        pen.stroke([(x - size, y + share * size), (x + size, y + share * size)], 1.5, darker(colour, 0.3))


def _taper(x: float, top: float, above: float, bottom: float, below: float) -> list[tuple[float, float]]:
    """A trapezium around `x`, `above` and `below` its half widths."""
    return [(x - above, top), (x + above, top), (x + below, bottom), (x - below, bottom)]


def _sphere(pen: Pen, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
    outline = ellipse(x, y, rx, ry)
    pen.fill(outline, colour)
    pen.fill(ellipse(x + 0.35 * rx, y + 0.4 * ry, 0.65 * rx), darker(colour, 0.5), 0.4, 0.24 * rx, pen.clip(outline))
    pen.fill(ellipse(x - 0.33 * rx, y - 0.35 * ry, 0.22 * rx), (255, 255, 255), 0.6, 0.09 * rx)


def _leaf(x: float, y: float, angle: float, length: float) -> np.ndarray:
    """The outline of a leaf that grows from (x, y); its first point is the stalk, the one half-way round the tip."""
    along = np.array((math.cos(angle), math.sin(angle)))
    across = np.array((-along[1], along[0])) * 0.2
    return curve(moved(np.array([0 * along, 0.5 * along + across, along, 0.5 * along - across]) * length, x, y))


def _blade(pen: Pen, leaf: np.ndarray, colour: Colour) -> None:
    pen.fill(leaf, colour)
    pen.stroke([tuple(leaf[0]), tuple(leaf[len(leaf) // 2])], 0.8, darker(colour, 0.3))


@dataclass(frozen=True)
class Obstacle:
    """What stands before a face: a post, a ball or leaves, and the polygons in pixels that it covers, each (n, 2)."""

    kind: str
    colour: Colour
    shapes: tuple[np.ndarray, ...]


def some_obstacle(rng: random.Random, box: tuple[float, float, float, float]) -> Obstacle:
    """By chance a post beside a face, or a ball or leaves over a corner of it; `box` is (xmin, ymin, xmax, ymax)."""
    xmin, ymin, xmax, ymax = box
    width, height = xmax - xmin, ymax - ymin
    side, colour = rng.choice((-1, 1)), textile(rng)
    edge = xmin if side < 0 else xmax
    kind = rng.choice(("post", "ball", "leaves"))
    if kind == "post":
        ends = sorted((edge - side * rng.uniform(0.1, 0.2) * width, edge + side * rng.uniform(0.1, 0.25) * width))
        return Obstacle(kind, colour, (np.array(_rectangle(ends[0], -10, ends[1], 2000)),))
    x = edge + side * rng.uniform(-0.02, 0.06) * width
    y = ymin + rng.choice((rng.uniform(0, 0.25), rng.uniform(0.85, 1.05))) * height
    if kind == "ball":
        return Obstacle(kind, colour, (ellipse(x, y, rng.uniform(0.2, 0.28) * width),))
    inward = math.pi if side > 0 else 0.0
    stalk = x + side * 0.25 * width
    leaves = (_leaf(stalk, y, inward + rng.uniform(-0.7, 0.7), rng.uniform(0.4, 0.6) * width) for _ in range(5))
    return Obstacle(kind, colour, tuple(leaves))


def draw_obstacle(pen: Pen, obstacle: Obstacle) -> None:
    """Draw the obstacle where it stands."""
    colour = obstacle.colour
    (left, top), (right, bottom) = obstacle.shapes[0].min(axis=0).tolist(), obstacle.shapes[0].max(axis=0).tolist()
    if obstacle.kind == "ball":
        _sphere(pen, (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2, colour)
    elif obstacle.kind == "post":
        middle, wide = (left + right) / 2, right - left
        pen.fill(obstacle.shapes[0], colour)
        shade = _rectangle(middle, top, right, bottom)
        pen.fill(shade, darker(colour, 0.4), 0.5, 0.15 * wide, pen.clip(obstacle.shapes[0]))
        shine = left + 0.3 * wide
        pen.stroke([(shine, top), (shine, bottom)], 1.5, lighter(colour, 0.5))
    else:
        for index, leaf in enumerate(obstacle.shapes):
            _blade(pen, leaf, lighter(colour, 0.06 * index))
