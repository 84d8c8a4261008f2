"""Draws a person: face, hair, clothes, mask. Nothing is left to chance here: `people` has decided all."""

import math

import numpy as np
from PIL import Image

from facemask.data.drawing.pen import Clip, Pen, arc, curve, darker, ellipse, lighter, mirrored, mix, moved
from facemask.data.drawing.people import Mask, Person


def draw_portrait(canvas: Image.Image, person: Person, zoom: float) -> None:
    """Draw the person on a canvas that is `zoom` times the picture's size; the body goes down to the lower edge."""
    origin, scale = (person.x * zoom, person.y * zoom), person.size * zoom
    head = Pen(canvas, origin, scale, person.roll)
    body = Pen(canvas, origin, scale, person.roll * 0.3)
    _back_of_head(head, person)
    _body(body, person)
    _ears(head, person)
    head.fill(person.outline, person.skin)
    face = head.clip(person.outline)
    _shading(head, person, face)
    _eyes(head, person)
    _nose(head, person, face)
    _mouth(head, person, face)
    _beard(head, person, face)
    if person.scarf and person.mask is not None:
        _scarf(body, person)
    if person.mask is not None:
        _mask(head, person, person.mask, face)
    elif person.scarf:
        _scarf(body, person)
    _glasses(head, person)
    _hair(head, person)
    _hat(head, person)


def _back_of_head(pen: Pen, person: Person) -> None:
    wide = person.widths[0]
    back = darker(person.hair_colour, 0.28)
    if person.hat == "hood":
        shape = mirrored(
            [(wide, -1.1), (wide + 0.3, -0.3), (wide + 0.28, 0.6), (0.95, 1.2)], top=(0, -1.32), bottom=(0, 1.4)
        )
        pen.fill(shape, darker(person.hat_colour, 0.3))
        return
    if person.hair == "long":
        shape = mirrored(
            [(wide, -0.95), (wide + 0.2, -0.2), (wide + 0.26, 0.7), (wide + 0.2, 1.5)], top=(0, -1.2), bottom=(0, 1.55)
        )
        pen.fill(shape, back)
    elif person.hair == "bob":
        shape = mirrored(
            [(wide, -0.98), (wide + 0.24, -0.2), (wide + 0.26, 0.5), (0.7, 0.84)], top=(0, -1.22), bottom=(0, 0.8)
        )
        pen.fill(shape, back)
    elif person.hair == "curls":
        for angle in np.linspace(math.pi * 0.8, math.pi * 2.2, 13):
            pen.fill(ellipse(math.cos(angle) * (wide + 0.06), -0.3 + math.sin(angle) * 0.82, 0.3), back)
    elif person.hair == "bun":
        pen.fill(ellipse(0.1, -1.3, 0.32, 0.28), back)


def _body(pen: Pen, person: Person) -> None:
    colour, low = person.garment_colour, 12.0
    neck = darker(person.skin, 0.22)
    shoulders = arc([(0.42, 1.2), (0.9, 1.42), (1.4, 1.7), (1.62, 2.3), (1.7, 3.2)])
    torso = np.vstack([shoulders, [(1.7, low), (-1.7, low)], shoulders[::-1] * (-1, 1)])
    pen.fill([(-0.46, 0.4), (0.46, 0.4), (0.5, 1.5), (-0.5, 1.5)], neck)
    pen.fill(
        curve([(-0.46, 0.85), (0, 1.2), (0.46, 0.85), (0.4, 0.6), (-0.4, 0.6)]), darker(person.skin, 0.4), 0.8, 0.08
    )
    pen.fill(torso, colour)
    inside = pen.clip(torso)
    pen.fill(ellipse(-1.3 * person.light, 3.2, 0.9, 2.4), darker(colour, 0.5), 0.4, 0.4, inside)
    if person.garment == "stripes":
        for y in np.arange(1.75, 5.5, 0.42):
            pen.stroke(arc([(-1.8, y), (0, y + 0.16), (1.8, y)]), 0.17, person.trim, within=inside)
    pen.fill(curve([(-0.44, 1.16), (0, 1.24), (0.44, 1.16), (0.3, 1.5), (0, 1.62), (-0.3, 1.5)]), darker(neck, 0.12))
    if person.garment == "vneck":
        pen.fill([(-0.42, 1.2), (0.42, 1.2), (0, 2.05)], neck)
        pen.stroke([(-0.45, 1.2), (0, 2.08), (0.45, 1.2)], 0.09, darker(colour, 0.25))
    elif person.garment == "shirt":
        for side in (-1, 1):
            pen.fill(
                [(0.08 * side, 1.7), (0.5 * side, 1.05), (0.74 * side, 1.36), (0.4 * side, 1.95)], lighter(colour, 0.25)
            )
        pen.stroke([(0, 1.7), (0, 6)], 0.03, darker(colour, 0.35))
        for y in (2.2, 2.8, 3.4, 4.0):
            pen.fill(ellipse(0.07, y, 0.06), lighter(person.trim, 0.4))
    elif person.garment == "hoodie":
        pen.stroke(arc([(-0.62, 1.1), (-0.5, 1.5), (0, 1.82), (0.5, 1.5), (0.62, 1.1)]), 0.24, darker(colour, 0.18))
        for side in (-1, 1):
            pen.stroke([(0.2 * side, 1.82), (0.24 * side, 2.7)], 0.06, lighter(person.trim, 0.5))
    else:
        pen.stroke(
            arc([(-0.46, 1.18), (-0.26, 1.52), (0, 1.62), (0.26, 1.52), (0.46, 1.18)]), 0.12, darker(colour, 0.22)
        )


def _ears(pen: Pen, person: Person) -> None:
    if person.hat == "hood" or person.hair == "bob":
        return
    for side in (-1, 1):
        far = 0.06 * max(0.0, person.yaw * side)
        x = (person.half_width(0.05) + 0.05 - far) * side
        pen.fill(ellipse(x, 0.06, 0.15, 0.25), darker(person.skin, 0.06))
        pen.fill(ellipse(x + 0.02 * side, 0.06, 0.08, 0.16), darker(person.skin, 0.26), 0.8)


def _shading(pen: Pen, person: Person, face: Clip | None) -> None:
    side = -person.light
    warm = mix(darker(person.skin, 0.45), (120, 40, 30), 0.15)
    pen.fill(
        curve([(0.42 * side, -1.1), (0.62 * side, 0.1), (0.3 * side, 1.1), (1.1 * side, 1.1), (1.1 * side, -1.1)]),
        warm,
        0.42,
        0.22,
        face,
    )
    pen.fill(ellipse(-0.22 * side, -0.52, 0.34, 0.2), lighter(person.skin, 0.5), 0.4, 0.16, face)
    for cheek in (-1, 1):
        spot = person.at(0.44 * cheek, 0.3)
        pen.fill(ellipse(*spot, 0.18, 0.13), mix(person.skin, (214, 80, 70), 0.55), 0.4, 0.1, face)
    pen.fill(curve([(-0.5, 0.95), (0, 1.12), (0.5, 0.95), (0.25, 0.9), (-0.25, 0.9)]), warm, 0.5, 0.08, face)


def _eyes(pen: Pen, person: Person) -> None:
    dark = darker(mix(person.hair_colour, (40, 28, 24), 0.5), 0.3)
    for side in (-1, 1):
        x, y = person.at(0.34 * side, -0.1)
        rx, ry = 0.17 * (1 - 0.22 * max(0.0, person.yaw * side)), 0.1 * person.eyelids
        pen.fill(ellipse(x, y - 0.02, rx * 1.25, ry * 1.6), darker(person.skin, 0.4), 0.35, 0.05)
        white = curve([(x - rx, y + 0.01), (x, y - ry), (x + rx, y), (x, y + ry * 0.85)])
        pen.fill(white, (246, 244, 240))
        gaze = x + 0.04 * person.yaw
        pen.fill(ellipse(gaze, y - 0.005, 0.082, min(0.085, ry)), person.iris)
        pen.fill(ellipse(gaze, y - 0.005, 0.045), (16, 14, 16))
        pen.fill(ellipse(gaze + 0.03 * person.light, y - 0.035, 0.022), (255, 255, 255))
        pen.stroke(arc([(x - rx * 1.06, y + 0.015), (x, y - ry - 0.01), (x + rx * 1.06, y)]), 0.04, dark)
        brow = y - 0.22 - person.brows
        ends = arc(
            [
                (x - 0.21, brow + (0.06 if side < 0 else 0.01)),
                (x, brow - 0.05),
                (x + 0.21, brow + (0.06 if side > 0 else 0.01)),
            ]
        )
        pen.stroke(ends, 0.065, darker(mix(person.hair_colour, person.skin, 0.15), 0.25))


def _nose(pen: Pen, person: Person, face: Clip | None) -> None:
    wide, side = 0.17 * person.nose, -person.light
    shade = mix(darker(person.skin, 0.42), (130, 50, 36), 0.18)
    bridge = [(0.05 * side, -0.14), (0.07 * side, 0.1), (wide * 0.9 * side, 0.27), (0.02 * side, 0.3), (0.0, 0.05)]
    pen.fill(curve(person.turned(moved(bridge, 0.05 * person.yaw, 0))), shade, 0.6, 0.03, face)
    pen.fill(
        person.turned(ellipse(0.05 * person.yaw, 0.23, wide, 0.11)),
        mix(person.skin, (206, 104, 84), 0.3),
        0.55,
        0.04,
        face,
    )
    pen.fill(person.turned(ellipse(0.05 * person.yaw, 0.36, wide * 0.9, 0.05)), shade, 0.5, 0.03, face)
    base = [
        (-wide, 0.22),
        (-wide * 0.95, 0.3),
        (-wide * 0.4, 0.305),
        (0, 0.335),
        (wide * 0.4, 0.305),
        (wide * 0.95, 0.3),
        (wide, 0.22),
    ]
    pen.stroke(arc(person.turned(moved(base, 0.05 * person.yaw, 0))), 0.035, darker(shade, 0.2))
    for nostril in (-1, 1):
        spot = person.at(0.05 * person.yaw + wide * 0.5 * nostril, 0.295)
        pen.fill(ellipse(*spot, 0.045, 0.026), darker(shade, 0.55))
    tip = person.at(0.05 * person.yaw - 0.03 * side, 0.18)
    pen.fill(ellipse(*tip, 0.05, 0.06), lighter(person.skin, 0.6), 0.65, 0.03)


def _mouth(pen: Pen, person: Person, face: Clip | None) -> None:
    y, wide, smile = 0.57, 0.27, person.smile
    shift = np.array((0.04 * person.yaw, 0))
    corner = y - smile
    gap = 0.07 if person.open_mouth else 0.0
    upper = curve(
        person.turned(
            np.array(
                [
                    (-wide, corner),
                    (-0.09, y - 0.075),
                    (0, y - 0.05),
                    (0.09, y - 0.075),
                    (wide, corner),
                    (0, y + smile * 0.4),
                ]
            )
            + shift
        )
    )
    lower = curve(
        person.turned(
            np.array(
                [(-wide, corner), (0, y + smile * 0.4), (wide, corner), (0.13, y + gap + 0.1), (-0.13, y + gap + 0.1)]
            )
            + shift
        )
    )
    pen.fill(lower, lighter(person.lips, 0.08))
    if person.open_mouth:
        inner = curve(
            person.turned(
                np.array(
                    [
                        (-wide * 0.85, corner + 0.005),
                        (0, y + smile * 0.4),
                        (wide * 0.85, corner + 0.005),
                        (0.1, y + gap + 0.03),
                        (-0.1, y + gap + 0.03),
                    ]
                )
                + shift
            )
        )
        pen.fill(inner, (88, 24, 28))
        pen.fill(
            inner,
            (250, 248, 244),
            within=pen.clip(person.turned(np.array([(-1, y - 0.2), (1, y - 0.2), (1, y + 0.055), (-1, y + 0.055)]))),
        )
    pen.fill(upper, darker(person.lips, 0.14))
    line = arc(
        person.turned(
            np.array([(-wide * 1.05, corner - 0.01), (0, y + smile * 0.4), (wide * 1.05, corner - 0.01)]) + shift
        )
    )
    pen.stroke(line, 0.025, darker(person.lips, 0.6))
    pen.fill(
        person.turned(ellipse(0.04 * person.yaw, y + gap + 0.155, 0.13, 0.03)),
        darker(person.skin, 0.45),
        0.5,
        0.03,
        face,
    )


def _beard(pen: Pen, person: Person, face: Clip | None) -> None:
    colour = darker(person.hair_colour, 0.08)
    mouth = person.turned(ellipse(0.04 * person.yaw, 0.59, 0.3, 0.13))
    if person.beard == "stubble":
        area = mirrored([(0.3, 0.42), (0.62, 0.3), (0.85, 0.1), (0.9, 0.8), (0.5, 1.1)], top=(0, 0.44), bottom=(0, 1.1))
        pen.fill(area, colour, 0.3, 0.05, face)
    elif person.beard == "full":
        low = 1.14
        area = mirrored(
            [(0.3, 0.43), (0.5, 0.56), (0.66, 0.3), (0.78, 0.0), (0.8, 0.3), (0.68, 0.76), (0.4, low - 0.03)],
            top=(0, 0.4),
            bottom=(0, low),
        )
        hole = pen.clip(mouth)
        lips = None if hole is None else Image.new("RGB", hole.mask.size)
        if hole is not None and lips is not None:
            lips.paste(pen.canvas.crop((hole.left, hole.top, hole.left + lips.width, hole.top + lips.height)))
        pen.fill(person.turned(area), colour)
        inside = pen.clip(person.turned(area))
        for x in np.linspace(-0.6, 0.6, 9):
            pen.stroke([(x, 0.62 + 0.2 * abs(x)), (x * 0.8, 1.08)], 0.03, lighter(colour, 0.16), 0.5, within=inside)
        pen.fill(ellipse(-0.6 * person.light, 0.8, 0.4, 0.6), darker(colour, 0.5), 0.35, 0.15, inside)
        if hole is not None and lips is not None:
            pen.canvas.paste(lips, (hole.left, hole.top), hole.mask)
    if person.beard == "goatee":
        pen.fill(person.turned(mirrored([(0.24, 0.74), (0.22, 0.95)], top=(0, 0.74), bottom=(0, 1.12))), colour)
    if person.beard in ("goatee", "moustache"):
        lip = mirrored([(0.1, 0.41), (0.28, 0.5), (0.34, 0.6), (0.2, 0.53)], top=(0, 0.41), bottom=(0, 0.49))
        pen.fill(person.turned(lip), colour)


def _mask(pen: Pen, person: Person, mask: Mask, face: Clip | None) -> None:
    outline = person.mask_outline(mask)
    dark = darker(mask.colour, 0.32) if sum(mask.colour) > 150 else lighter(mask.colour, 0.2)
    low = min(0.86, mask.side + 0.5)
    for side in (-1, 1):
        far = 0.06 * max(0.0, person.yaw * side)
        ear = (person.half_width(0.05) + 0.06 - far) * side
        for start, end in ((mask.side + 0.04, -0.1), (low, 0.24)):
            edge = person.half_width(start) * 0.95 * side
            bend = person.half_width((start + end) / 2) * 1.0 * side
            pen.stroke(arc([(edge, start), (bend, (start + end) / 2), (ear, end)]), 0.055, mask.straps)
    pen.stroke(moved(outline, 0, -0.03), 0.08, mix(darker(person.skin, 0.6), (60, 20, 20), 0.3), 0.55, 0.05, face)
    pen.fill(outline, mask.colour)
    inside = pen.clip(outline)
    _print(pen, person, mask, inside)
    middle, half = (mask.top + mask.bottom) / 2, (mask.bottom - mask.top) / 2
    if mask.style == "surgical":
        for share in (-0.3, 0.08, 0.46):
            y = middle + share * half
            fold = arc(
                person.turned([(-0.8, y - 0.05), (-0.35, y + 0.03), (0, y + 0.05), (0.35, y + 0.03), (0.8, y - 0.05)])
            )
            pen.stroke(moved(fold, 0, 0.03), 0.04, lighter(mask.colour, 0.45), 0.5, within=inside)
            pen.stroke(fold, 0.035, dark, 0.75, within=inside)
    elif mask.style == "folded":
        ridge = person.turned([(0, mask.top - 0.1), (0.0, mask.bottom + 0.1)])
        lee = np.vstack([ridge, [(-1.2 * person.light, mask.bottom + 0.1), (-1.2 * person.light, mask.top - 0.3)]])
        pen.fill(lee, darker(mask.colour, 0.5), 0.3, within=inside)
        pen.stroke(ridge, 0.035, dark, 0.8, within=inside)
    else:
        seam = arc(person.turned([(0, mask.top - 0.1), (0.03, middle), (0, mask.bottom + 0.1)]))
        pen.stroke(seam, 0.025, dark, 0.6, within=inside)
        for side in (-1, 1):
            crease = arc(
                person.turned(
                    [(0.62 * side, middle - 0.4 * half), (0.45 * side, middle), (0.5 * side, middle + 0.5 * half)]
                )
            )
            pen.stroke(crease, 0.035, dark, 0.5, within=inside)
    pen.fill(ellipse(-0.75 * person.light, middle, 0.42, half * 1.2), darker(mask.colour, 0.6), 0.38, 0.16, inside)
    pen.fill(
        ellipse(0.2 * person.light + 0.2 * person.yaw, middle - 0.2 * half, 0.24, half * 0.45),
        lighter(mask.colour, 0.7),
        0.35,
        0.14,
        inside,
    )
    pen.fill(person.turned(ellipse(0, mask.bottom - 0.02, 0.5, 0.12)), darker(mask.colour, 0.6), 0.35, 0.08, inside)
    pen.stroke(np.vstack([outline, outline[:1]]), 0.035, dark, 0.85)


def _print(pen: Pen, person: Person, mask: Mask, inside: Clip | None) -> None:
    if mask.pattern == "stripes":
        for y in np.arange(mask.top - 0.3, mask.bottom, 0.22):
            pen.stroke(arc(person.turned([(-0.9, y), (0, y + 0.12), (0.9, y)])), 0.09, mask.print, within=inside)
    elif mask.pattern == "dots":
        for row, y in enumerate(np.arange(mask.top, mask.bottom, 0.17)):
            for x in np.arange(-0.8 + 0.1 * (row % 2), 0.8, 0.2):
                pen.fill(ellipse(*person.at(x, y), 0.05, corners=10), mask.print, within=inside)
    elif mask.pattern == "checks":
        for x in np.arange(-0.8, 0.9, 0.3):
            pen.stroke(
                arc(person.turned([(x, mask.top - 0.2), (x, mask.bottom)])), 0.12, mask.print, 0.55, within=inside
            )
        for y in np.arange(mask.top - 0.1, mask.bottom, 0.3):
            pen.stroke(arc(person.turned([(-0.9, y), (0, y + 0.06), (0.9, y)])), 0.12, mask.print, 0.55, within=inside)
    elif mask.pattern == "trim":
        outline = person.mask_outline(mask)
        pen.stroke(np.vstack([outline, outline[:1]]), 0.16, mask.print, within=inside)


def _scarf(pen: Pen, person: Person) -> None:
    colour = person.scarf_colour
    # Without a mask the scarf is pulled up over the chin, never over the lips.
    top = 0.8 if person.mask is None else 1.12
    side = top - (0.22 if person.mask is None else 0.06)
    shape = mirrored(
        [(0.4, top - 0.03), (0.82, side), (0.98, side + 0.25), (0.95, 1.4), (0.5, 1.66)], top=(0, top), bottom=(0, 1.72)
    )
    tail = [(0.15, 1.5), (0.62, 1.45), (0.8, 2.9), (0.3, 3.0)]
    for points in (tail, shape):
        pen.fill(points, colour)
        inside = pen.clip(points)
        if person.scarf_stripes:
            for y in np.arange(top, 3.1, 0.3):
                pen.stroke(arc([(-1, y - 0.1), (0, y + 0.14), (1, y - 0.1)]), 0.12, person.trim, within=inside)
        pen.fill(ellipse(-0.9 * person.light, 1.4, 0.5, 1.0), darker(colour, 0.55), 0.4, 0.2, inside)
    inside = pen.clip(shape)
    fold = darker(colour, 0.35) if sum(colour) > 150 else lighter(colour, 0.2)
    for drop, lean in ((0.2, -0.1), (0.42, 0.12), (0.64, -0.06)):
        line = arc([(-0.95, side + drop + lean), (0, top + drop + 0.1), (0.95, side + drop - lean)])
        pen.stroke(line, 0.045, fold, 0.7, within=inside)
    pen.stroke(arc([(-0.82, side), (-0.4, top - 0.03), (0, top), (0.4, top - 0.03), (0.82, side)]), 0.04, fold, 0.8)


def _hair(pen: Pen, person: Person) -> None:
    colour, wide = person.hair_colour, person.widths[0]
    if person.hat == "hood":
        return
    if person.hair == "bald":
        cap = mirrored(
            [(wide * 0.7, -0.88), (wide, -0.55), (wide * 1.0, -0.2), (wide * 0.92, -0.45), (wide * 0.62, -0.68)],
            top=(0, -1.02),
            bottom=(0, -0.76),
        )
        pen.fill(cap, colour, 0.4, 0.05)
        return
    outer = [(wide * 0.72, -1.06), (wide + 0.1, -0.7), (wide + 0.1, -0.22)]
    line = {
        "short": [(wide * 0.98, -0.1), (wide * 0.88, -0.42), (wide * 0.6, -0.66)],
        "curls": [(wide * 0.98, -0.1), (wide * 0.88, -0.42), (wide * 0.6, -0.66)],
        "bun": [(wide * 0.98, -0.16), (wide * 0.88, -0.46), (wide * 0.6, -0.72)],
        "fringe": [(wide * 0.98, 0.0), (wide * 0.86, -0.36), (wide * 0.6, -0.5)],
        "bob": [(wide + 0.12, 0.62), (wide * 0.96, 0.4), (wide * 0.9, -0.2), (wide * 0.7, -0.5)],
        "long": [(wide + 0.14, 0.9), (wide * 1.0, 0.6), (wide * 0.94, -0.15), (wide * 0.6, -0.55)],
        "parted": [(wide * 0.98, -0.1), (wide * 0.9, -0.4), (wide * 0.5, -0.6)],
    }[person.hair]
    middle = {"fringe": -0.5, "long": -0.8, "parted": -0.78}.get(person.hair, -0.7)
    shape = mirrored([*outer, *line], top=(0, -1.2), bottom=(0.2 if person.hair == "parted" else 0, middle))
    if person.hair == "curls":
        for angle in np.linspace(math.pi * 1.02, math.pi * 1.98, 11):
            pen.fill(ellipse(math.cos(angle) * wide * 0.9, -0.42 + math.sin(angle) * 0.55, 0.19), colour)
    pen.fill(shape, colour)
    inside = pen.clip(shape)
    pen.fill(ellipse(-0.8 * person.light, -0.6, 0.4, 0.7), darker(colour, 0.6), 0.45, 0.16, inside)
    pen.stroke(arc([(-0.45, -0.86), (0, -0.99), (0.45, -0.86)]), 0.1, lighter(colour, 0.45), 0.4, 0.05, inside)
    for x in np.linspace(-0.7, 0.7, 8):
        strand = arc([(x * 0.45, -1.18), (x * 0.95, -0.9), (x * 1.1, -0.45)])
        pen.stroke(strand, 0.022, darker(colour, 0.35), 0.5, within=inside)


def _glasses(pen: Pen, person: Person) -> None:
    if person.glasses == "none":
        return
    colour = person.glasses_colour
    centres = np.array([person.at(0.35 * side, -0.07) for side in (-1, 1)])
    for side, (x, y) in zip((-1, 1), centres, strict=True):
        rx = 0.25 * (1 - 0.15 * max(0.0, person.yaw * side))
        if person.glasses == "round":
            rim = ellipse(x, y, rx * 0.96, 0.23)
        else:
            rim = curve(
                [
                    (x - rx, y - 0.15),
                    (x, y - 0.18),
                    (x + rx, y - 0.15),
                    (x + rx * 0.9, y + 0.13),
                    (x, y + 0.17),
                    (x - rx * 0.9, y + 0.13),
                ]
            )
        if person.glasses == "sun":
            pen.fill(rim, (34, 34, 40))
            pen.stroke([(x - 0.08, y - 0.1), (x + 0.06, y - 0.12)], 0.04, (130, 140, 150), 0.8)
        else:
            pen.fill(rim, (235, 245, 255), 0.16)
        pen.stroke(np.vstack([rim, rim[:1]]), 0.045, colour)
        pen.stroke([(x + rx * side, y - 0.06), ((person.half_width(0) + 0.02) * side, -0.1)], 0.04, colour)
    pen.stroke(
        arc([centres[0] + (0.2, -0.05), (centres[0] + centres[1]) / 2 + (0, -0.09), centres[1] + (-0.2, -0.05)]),
        0.04,
        colour,
    )


def _hat(pen: Pen, person: Person) -> None:
    colour, wide = person.hat_colour, person.widths[0]
    fold = darker(colour, 0.3) if sum(colour) > 150 else lighter(colour, 0.2)
    if person.hat == "beanie":
        crown = mirrored(
            [(wide * 0.75, -1.2), (wide + 0.12, -0.85), (wide + 0.12, -0.5)], top=(0, -1.42), bottom=(0, -0.56)
        )
        pen.fill(crown, colour)
        inside = pen.clip(crown)
        for x in np.linspace(-0.8, 0.8, 9):
            pen.stroke(arc([(x * 0.4, -1.4), (x * 1.05, -0.6)]), 0.025, fold, 0.6, within=inside)
        pen.fill(ellipse(-0.8 * person.light, -0.9, 0.4, 0.6), darker(colour, 0.6), 0.4, 0.15, inside)
        cuff = arc([(-wide - 0.13, -0.56), (-0.5, -0.68), (0, -0.71), (0.5, -0.68), (wide + 0.13, -0.56)])
        pen.stroke(cuff, 0.24, darker(colour, 0.14))
    elif person.hat == "cap":
        crown = mirrored(
            [(wide * 0.72, -1.14), (wide + 0.08, -0.8), (wide + 0.08, -0.55)], top=(0, -1.3), bottom=(0, -0.62)
        )
        pen.fill(crown, colour)
        pen.fill(ellipse(-0.7 * person.light, -0.9, 0.36, 0.5), darker(colour, 0.6), 0.4, 0.15, pen.clip(crown))
        pen.stroke(arc([(0, -1.3), (0.03, -0.95), (0, -0.65)]), 0.025, fold, 0.7)
        brim = curve(person.turned([(-0.66, -0.6), (0, -0.76), (0.66, -0.6), (0.5, -0.42), (0, -0.36), (-0.5, -0.42)]))
        pen.fill(moved(brim, 0, 0.08), darker(person.skin, 0.6), 0.4, 0.06, pen.clip(person.outline))
        pen.fill(brim, darker(colour, 0.16))
        pen.fill(ellipse(*person.at(0, -0.9), 0.13, 0.12), person.trim)
    elif person.hat == "headband":
        band = arc(
            person.turned([(-wide - 0.06, -0.45), (-0.45, -0.68), (0, -0.73), (0.45, -0.68), (wide + 0.06, -0.45)])
        )
        pen.stroke(band, 0.2, colour)
        pen.stroke(moved(band, 0, 0.08), 0.03, fold, 0.7)
    elif person.hat == "hood":
        outer = mirrored(
            [(wide, -1.1), (wide + 0.28, -0.3), (wide + 0.24, 0.6), (0.7, 1.25)], top=(0, -1.32), bottom=(0, 1.5)
        )
        inner = mirrored(
            [(wide * 0.62, -0.66), (wide * 0.97, -0.25), (wide * 0.98, 0.3), (0.66, 0.9)],
            top=(0, -0.76),
            bottom=(0, 1.2),
        )
        lowest = int(np.argmax(outer[:, 1])), int(np.argmax(inner[:, 1]))
        ring_right = np.vstack([outer[: lowest[0] + 1], inner[: lowest[1] + 1][::-1]])
        ring_left = np.vstack([outer[lowest[0] :], outer[:1], inner[:1], inner[lowest[1] :][::-1]])
        for ring in (ring_right, ring_left):
            pen.fill(ring, colour)
        for ring in (ring_right, ring_left):
            pen.fill(ellipse(-1.0 * person.light, 0.0, 0.4, 1.3), darker(colour, 0.6), 0.35, 0.15, pen.clip(ring))
        pen.stroke(np.vstack([inner, inner[:1]]), 0.05, fold, 0.7)
