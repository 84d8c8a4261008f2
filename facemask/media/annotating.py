"""Boxes and labels drawn on a picture, legible at any picture size."""

import functools
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image, ImageDraw, ImageFont

from facemask.core.colours import CLASS_COLOURS, contrasting_text_colour

SMALL = 1000
"""Pictures whose longer side is shorter than this, in pixels, are drawn enlarged. Otherwise labels would hide faces."""

MAX_ENLARGED = 4

_BLUR_MARGIN = 0.1
"""A blurred box grows by this share of its width or height at each side."""


@dataclass(frozen=True)
class Style:
    """Sizes in pixels of the drawn picture."""

    line: int
    font: int
    padding: int


def enlargement(width: int, height: int) -> int:
    """The factor, from 1 to `MAX_ENLARGED`, that makes the longer side of a picture at least `SMALL` pixels."""
    return min(MAX_ENLARGED, max(1, math.ceil(SMALL / max(width, height, 1))))


def style_for(width: int, height: int) -> Style:
    """Sizes for a drawn picture. They grow more slowly than its shorter side, and have a legible minimum."""
    side = min(width, height)
    font = max(13, round(0.55 * side**0.5 * (side / 700) ** 0.25))
    return Style(line=max(2, round(font / 7)), font=font, padding=max(3, font // 4))


def draw_boxes(
    image: np.ndarray, detections: sv.Detections, labels: Sequence[str] | None = None, enlarge: bool = True
) -> np.ndarray:
    """Draw each box in its class's colour with its label.

    Each label stands inside the picture, beside its box, where it hides the fewest pixels of faces and other labels.

    Args:
        image: uint8 array of shape (height, width, 3), RGB; not changed.
        detections: All of them are drawn; `class_id`, `confidence` and `data["class_name"]` are read.
        labels: One text for each detection. None writes the class name and the score.
        enlarge: Draw small pictures enlarged (`enlargement`), which makes the result larger than `image`.

    Returns:
        The drawn picture, RGB.
    """
    times = enlargement(image.shape[1], image.shape[0]) if enlarge else 1
    if times > 1:
        picture = Image.fromarray(image)
        size = picture.width * times, picture.height * times
        drawn = np.array(picture.resize(size, Image.Resampling.BICUBIC))
    else:
        drawn = image.copy()
    size = drawn.shape[1], drawn.shape[0]
    if labels is None:
        labels = [
            f"{name} {score:.2f}" for name, score in zip(detections["class_name"], detections.confidence, strict=True)
        ]
    style = style_for(*size)
    # The highest score is drawn last, so it lies on top.
    order = np.argsort(detections.confidence, kind="stable")
    scaled = sv.Detections(
        xyxy=(detections.xyxy[order] * times).clip(0, (*size, *size)), class_id=detections.class_id[order] - 1
    )
    drawn = np.asarray(_box_annotator(style.line).annotate(drawn, scaled))
    colours = [CLASS_COLOURS[number % len(CLASS_COLOURS)].picture for number in scaled.class_id]
    patches = [_label_patch(labels[i], colour, style) for i, colour in zip(order, colours, strict=True)]
    for patch, (left, top) in zip(patches, _places(scaled.xyxy, patches, size), strict=True):
        part = drawn[top : top + patch.shape[0], left : left + patch.shape[1]]
        part[:] = patch[: part.shape[0], : part.shape[1]]
    return drawn


@functools.lru_cache(maxsize=8)
def _box_annotator(line: int) -> sv.BoxAnnotator:
    """Supervision's annotator takes arrays for BGR. Ours are RGB, so its colours have red and blue exchanged."""
    colours = [row.picture for row in CLASS_COLOURS]
    return sv.BoxAnnotator(sv.ColorPalette.from_hex([f"#{c[5:7]}{c[3:5]}{c[1:3]}" for c in colours]), thickness=line)


@functools.lru_cache(maxsize=512)
def _label_patch(text: str, colour: str, style: Style) -> np.ndarray:
    """A label as a picture: uint8 array of shape (height, width, 3), RGB. Most labels return in the next frame."""
    font = label_font(style.font)
    left, top, right, bottom = font.getbbox(text)
    size = int(right - left) + 2 * style.padding, int(bottom - top) + 2 * style.padding
    patch = Image.new("RGB", size, colour)
    place = style.padding - left, style.padding - top
    ImageDraw.Draw(patch).text(place, text, fill=contrasting_text_colour(colour), font=font)
    return np.asarray(patch)


def blur_boxes(image: np.ndarray, detections: sv.Detections) -> np.ndarray:
    """Blur each box, with a margin, so that nobody is recognised. A face without a box is not blurred.

    Three box filters, each a third of the box wide, approach a Gaussian with a standard deviation of a sixth of the
    box. Sharpening cannot undo that.

    Args:
        image: uint8 array of shape (height, width, 3), RGB; not changed.
        detections: The boxes to blur.
    """
    sides = detections.xyxy[:, 2:] - detections.xyxy[:, :2]
    margins = np.hstack([-sides, sides]) * _BLUR_MARGIN
    # The annotator skips boxes that are less than a pixel wide.
    whole = np.hstack([np.floor((detections.xyxy + margins)[:, :2]), np.ceil((detections.xyxy + margins)[:, 2:])])
    wide = sv.Detections(xyxy=whole)
    blurred = image.copy()
    for _ in range(3):
        blurred = sv.BlurAnnotator().annotate(blurred, wide)
    return np.asarray(blurred)


def draw_counts(image: np.ndarray, counts: Mapping[str, int], colors: Mapping[str, str]) -> np.ndarray:
    """Write the number of faces of each class in the lower left corner, where faces are rarest.

    Args:
        image: uint8 array of shape (height, width, 3), RGB. It is changed, and returned.
        counts: The number of each class, in the order in which they are written.
        colors: The colour of each class, `#RRGGBB`.
    """
    style = style_for(image.shape[1], image.shape[0])
    panel = _counts_panel(tuple((f"{count} {name}", colors[name]) for name, count in counts.items()), style)
    place = image[-panel.shape[0] :, : panel.shape[1]]
    place[:] = panel[-place.shape[0] :, : place.shape[1]] // 4 * 3 + place // 4
    return image


@functools.lru_cache(maxsize=64)
def _counts_panel(lines: tuple[tuple[str, str], ...], style: Style) -> np.ndarray:
    """The lines (text, colour) below each other, as a picture: uint8 array of shape (height, width, 3), RGB."""
    font = label_font(style.font)
    height = style.font + style.padding
    width = height + style.padding + max((round(font.getlength(text)) for text, _ in lines), default=0)
    panel = Image.new("RGB", (width + style.padding, height * len(lines) + style.padding))
    pen = ImageDraw.Draw(panel)
    for row, (text, colour) in enumerate(lines):
        y = style.padding + row * height
        pen.rectangle((style.padding, y, style.padding + style.font - 1, y + style.font - 1), fill=colour)
        pen.text((height + style.padding, y + style.font / 2), text, fill="white", font=font, anchor="lm")
    return np.asarray(panel)


@functools.lru_cache(maxsize=16)
def label_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of labels, of this size in pixels: DejaVu Sans, or Pillow's own font if Matplotlib is missing."""
    path = font_file()
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)


def font_file() -> str | None:
    """The path of DejaVu Sans in Matplotlib's package; it covers Latin, Greek, Cyrillic, Arabic and Hebrew letters."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return str(path) if path.is_file() else None


def _places(xyxy: np.ndarray, labels: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Choose a place for each label.

    A greedy search that begins with the last label, which is drawn on top. Of nine places around its box a label takes
    the first that covers the fewest pixels of boxes and of labels placed before it.

    Args:
        xyxy: (n, 4) the boxes in pixels.
        labels: The picture of each label.
        size: Width and height of the picture in pixels.

    Returns:
        int array of shape (n, 2): x of each label's left edge and y of its top edge, in pixels.
    """
    placed = np.zeros((0, 4))
    places = np.zeros((len(labels), 2), int)
    for i in reversed(range(len(labels))):
        height, width = labels[i].shape[:2]
        x1, y1, x2, y2 = xyxy[i]
        corners = np.array(
            [(x, y) for x in (x1, x2 - width, (x1 + x2 - width) / 2) for y in (y1 - height, y2, y1)]
        ).clip(0, [max(size[0] - width - 1, 0), max(size[1] - height - 1, 0)])
        candidates = np.hstack([corners, corners + np.array([width, height])]).round()
        # Hiding a label is worse than hiding part of a face. Hiding its own face is as bad as hiding another.
        hidden = _overlap(candidates, xyxy) + 4 * _overlap(candidates, placed)
        best = candidates[hidden.argmin()]
        placed = np.vstack([placed, best])
        places[i] = best[:2]
    return places


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The area in pixels of each of `boxes` (m, 4) that the `others` (n, 4) cover, summed over them: (m,)."""
    low = np.maximum(boxes[:, np.newaxis, :2], others[:, :2])
    high = np.minimum(boxes[:, np.newaxis, 2:], others[:, 2:])
    area: np.ndarray = (high - low).clip(0).prod(axis=2).sum(axis=1)
    return area
