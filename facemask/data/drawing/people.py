"""Random people, and the boxes that a labeller would draw around their faces.

Lengths are in units of half a head: the top of the skull is at y = -1, the chin at y = 1, the middle of the face at the
origin.
"""

import colorsys
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facemask.data.drawing.pen import Colour, Pen, Points, darker, lighter, mirrored, mix

CLASSES = ("with_mask", "without_mask", "mask_weared_incorrect")

FOREHEAD = -0.8
"""The upper edge of the face, below the hair. A labeller's box reaches from here to the chin or to the mask's edge."""

SKINS: tuple[Colour, ...] = (
    (255, 226, 202),
    (246, 208, 178),
    (236, 190, 152),
    (222, 170, 126),
    (200, 143, 99),
    (172, 117, 78),
    (142, 92, 60),
    (112, 71, 47),
    (86, 55, 38),
)
HAIRS: tuple[Colour, ...] = (
    (28, 24, 24),
    (52, 36, 28),
    (84, 56, 36),
    (122, 78, 44),
    (160, 88, 44),
    (206, 164, 96),
    (232, 208, 150),
    (150, 148, 148),
    (222, 220, 216),
)
IRISES: tuple[Colour, ...] = ((70, 46, 30), (96, 64, 36), (70, 110, 150), (84, 124, 84), (110, 110, 110))


@dataclass(frozen=True)
class Mask:
    """A mask. `style` is surgical, cloth or folded; `top`, `side` and `bottom` place its edges on the face."""

    style: str
    colour: Colour
    straps: Colour
    pattern: str
    print: Colour
    top: float
    side: float
    bottom: float


@dataclass(frozen=True)
class Person:
    """One person; (x, y) is the middle of the face and `size` half a head, in pixels of the finished picture."""

    label: str
    x: float
    y: float
    size: float
    roll: float
    yaw: float
    light: float
    skin: Colour
    widths: tuple[float, float, float, float]
    hair: str
    hair_colour: Colour
    beard: str
    brows: float
    nose: float
    lips: Colour
    smile: float
    open_mouth: bool
    iris: Colour
    eyelids: float
    glasses: str
    glasses_colour: Colour
    hat: str
    hat_colour: Colour
    scarf: bool
    scarf_colour: Colour
    scarf_stripes: bool
    garment: str
    garment_colour: Colour
    trim: Colour
    mask: Mask | None

    @property
    def outline(self) -> np.ndarray:
        """The head's outline, in units: (n, 2)."""
        temple, cheek, jaw, chin = self.widths
        right = [(temple * 0.62, -0.9), (temple * 0.95, -0.58), (temple, -0.2), (cheek, 0.2), (jaw, 0.64), (chin, 0.92)]
        return mirrored(right, top=(0, -1), bottom=(0, 1))

    def half_width(self, y: float) -> float:
        """Half the face's width at height `y`."""
        temple, cheek, jaw, chin = self.widths
        return float(np.interp(y, [-0.58, -0.2, 0.2, 0.64, 0.92, 1.0], [temple * 0.95, temple, cheek, jaw, chin, 0.2]))

    def turned(self, points: Points) -> np.ndarray:
        """The points as the head turns: the middle of the face moves most, its outline not at all."""
        x, y = np.asarray(points, float).T
        return np.column_stack([x + self.yaw * 0.24 * np.clip(1 - (x / 0.8) ** 2, 0, 1), y])

    def at(self, x: float, y: float) -> tuple[float, float]:
        """One point, as the head turns."""
        turned = self.turned([(x, y)])[0]
        return float(turned[0]), float(turned[1])

    def mask_outline(self, mask: Mask) -> np.ndarray:
        """The outline of a mask on this face, in units: (n, 2)."""
        jaw = self.widths[2]
        low = max(0.7, mask.side + 0.14)
        sides = [(self.half_width(y) + 0.02, float(y)) for y in np.linspace(mask.side, low, 4)]
        chin = [(jaw * 0.86, 0.45 * low + 0.55 * mask.bottom - 0.06), (jaw * 0.5, mask.bottom - 0.04)]
        right = [(0.14, mask.top + 0.01), (0.42, 0.35 * mask.side + 0.65 * mask.top + 0.02), *sides, *chin]
        return self.turned(mirrored(right, top=(0, mask.top - 0.02), bottom=(0, mask.bottom)))

    def box(self) -> tuple[float, float, float, float]:
        """The labeller's box in pixels (xmin, ymin, xmax, ymax): forehead to chin with the mask, not clipped."""
        pen = Pen(Image.new("L", (1, 1)), (self.x, self.y), self.size, self.roll)
        face = self.outline[self.outline[:, 1] >= FOREHEAD]
        points = pen.pixels(face if self.mask is None else np.vstack([face, self.mask_outline(self.mask)]))
        (xmin, ymin), (xmax, ymax) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return xmin, ymin, xmax, ymax


def textile(rng: random.Random) -> Colour:
    """A random colour for a mask, scarf, hat or coat, including skin colours."""
    kind = rng.random()
    if kind < 0.3:
        return mix(
            rng.choice(SKINS), (rng.randrange(256), rng.randrange(256), rng.randrange(256)), rng.uniform(0, 0.12)
        )
    if kind < 0.5:
        grey = rng.choice((24, 40, 70, 120, 170, 215, 240, 248))
        return (grey, min(255, grey + rng.randrange(6)), min(255, grey + rng.randrange(10)))
    # Warm hues more often than others, as in faces.
    hue = rng.uniform(-0.06, 0.11) % 1 if rng.random() < 0.3 else rng.random()
    saturation, value = rng.uniform(0.2, 0.75), rng.uniform(0.3, 0.95)
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))  # type: ignore[return-value]


def some_mask(rng: random.Random, correct: bool, skin: Colour) -> Mask:
    """A random mask, worn correctly (over nose and chin) or incorrectly (below the nose or under the chin)."""
    if correct:
        top, bottom = rng.uniform(-0.04, 0.06), rng.uniform(1.04, 1.12)
        side = top + rng.uniform(0.12, 0.2)
    elif rng.random() < 0.5:  # below the nose
        top, bottom = rng.uniform(0.42, 0.47), rng.uniform(1.1, 1.2)
        side = top + rng.uniform(-0.02, 0.06)
    else:  # under the chin
        top, bottom = rng.uniform(0.78, 0.84), rng.uniform(1.3, 1.4)
        side = top - rng.uniform(0.24, 0.32)
    colour = textile(rng)
    # Under the chin, a mask of the skin's colour would look like the neck.
    while not correct and sum(abs(a - b) for a, b in zip(colour, skin, strict=True)) < 110:
        colour = textile(rng)
    if correct and rng.random() < 0.2:
        colour = mix(skin, rng.choice(((255, 255, 255), (30, 30, 50), (150, 60, 60))), rng.uniform(0.2, 0.4))
    return Mask(
        style=rng.choice(("surgical", "cloth", "folded")),
        colour=colour,
        straps=(44, 44, 50) if sum(skin) > 400 else (214, 214, 210),
        pattern=rng.choices(("plain", "stripes", "dots", "checks", "trim"), (5, 1, 1, 1, 1.4))[0],
        print=textile(rng),
        top=top,
        side=side,
        bottom=bottom,
    )


def some_person(rng: random.Random, label: str, x: float, y: float, size: float, light: float) -> Person:
    """A random person who wears a mask according to `label`, one of `CLASSES`.

    Colours must not give the class away: a mask has any colour, and people without a mask more often have a beard or a
    scarf.
    """
    masked, bare = label == "with_mask", label == "without_mask"
    hat = rng.choices(("none", "beanie", "cap", "headband", "hood"), (2, 1, 1, 1, 1) if bare else (5, 1, 1, 1, 1))[0]
    jitter = rng.uniform(-0.05, 0.05)
    skin = rng.choice(SKINS)
    skin = lighter(skin, jitter) if jitter > 0 else darker(skin, -jitter)
    beards = (3, 1, 1, 5, 1) if bare else (8, 1, 1, 1, 1)
    temple = rng.uniform(0.72, 0.8)
    cheek = temple * rng.uniform(0.94, 1.02)
    jaw = cheek * rng.uniform(0.7, 0.84)
    dyed = rng.random() < 0.15
    return Person(
        label=label,
        x=x,
        y=y,
        size=size,
        roll=rng.gauss(0, 0.09),
        yaw=rng.uniform(-1, 1) * rng.choice((0.35, 0.7, 0.7)),
        light=light,
        skin=skin,
        widths=(temple, cheek, jaw, jaw * rng.uniform(0.45, 0.62)),
        hair=rng.choice(("bald", "short", "short", "parted", "fringe", "long", "long", "bob", "curls", "bun")),
        hair_colour=textile(rng) if dyed else mix(rng.choice(HAIRS), rng.choice(HAIRS), rng.uniform(0, 0.25)),
        beard=rng.choices(("none", "stubble", "goatee", "full", "moustache"), beards)[0],
        brows=rng.uniform(-0.05, 0.07),
        nose=rng.uniform(0.85, 1.2),
        lips=mix(mix(skin, (186, 62, 72), 0.5), textile(rng), 0.5 if rng.random() < 0.15 else 0.0),
        smile=rng.uniform(-0.03, 0.09),
        open_mouth=rng.random() < 0.25,
        iris=rng.choice(IRISES),
        eyelids=rng.uniform(0.8, 1.1),
        glasses=rng.choices(("none", "round", "square", "sun"), (7, 1, 1, 0.6 if masked else 1.2))[0],
        glasses_colour=rng.choice(((30, 30, 34), (92, 58, 36), (150, 40, 48), (196, 160, 90))),
        hat=hat,
        hat_colour=textile(rng),
        scarf=hat != "hood" and rng.random() < (0.7 if bare else 0.2),
        scarf_colour=textile(rng),
        scarf_stripes=rng.random() < 0.3,
        garment=rng.choice(("crew", "vneck", "shirt", "hoodie", "stripes")),
        garment_colour=textile(rng),
        trim=textile(rng),
        mask=None if bare else some_mask(rng, masked, skin),
    )
