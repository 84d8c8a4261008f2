"""Boxes with their labels on a picture, legible whatever its size."""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image, ImageDraw, ImageFont

COLORS = ("#009E73", "#D55E00", "#F0E442", "#56B4E9", "#CC79A7", "#E69F00", "#0072B2", "#999999")
"""One colour a class, in the order of the ids, told apart with every kind of colour vision.

Okabe & Ito, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/; in an order that suits this task: green is
worn, vermilion is not, yellow is in between.
"""

SMALL = 1000
"""Pictures whose longer side is below this many pixels are drawn enlarged, else labels hide the faces beside them."""

MAX_ENLARGED = 4

_BLUR_MARGIN = 0.1
"""Of a box's sides, at each side."""


@dataclass(frozen=True)
class Style:
    """Sizes in pixels of the drawn picture."""

    line: int
    font: int
    padding: int


def color_of(class_id: int) -> str:
    """The class's colour as `#RRGGBB`; it depends on the id alone, so it is the same in every picture and run."""
    return COLORS[(class_id - 1) % len(COLORS)]


def text_color_on(background: str) -> str:
    """Black or white, whichever has the higher contrast by WCAG 2's relative luminance."""
    channels = [int(background[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#FFFFFF"


def enlargement(width: int, height: int) -> int:
    """How many times a picture of this size is drawn larger, from 1 to `MAX_ENLARGED`: until it is `SMALL` wide."""
    return min(MAX_ENLARGED, max(1, math.ceil(SMALL / max(width, height, 1))))


def style_for(width: int, height: int) -> Style:
    """Sizes for a drawn picture: they grow with its shorter side, less than it does, and have a legible minimum."""
    side = min(width, height)
    font = max(13, round(0.55 * side**0.5 * (side / 700) ** 0.25))
    return Style(line=max(2, round(font / 7)), font=font, padding=max(3, font // 4))


def draw(
    image: np.ndarray, detections: sv.Detections, labels: Sequence[str] | None = None, enlarge: bool = True
) -> np.ndarray:
    """Draw each box in its class's colour with its label.

    A label stands at a corner of its box, inside the picture, where it hides least of other faces and labels.

    Args:
        image: uint8 array of shape (height, width, 3), RGB; left as it is.
        detections: With `class_id`, `confidence` and `data["class_name"]`; all of them are drawn.
        labels: One text a detection; None gives class name and score.
        enlarge: Draw small pictures enlarged (`enlargement`), which makes the result larger than `image`.

    Returns:
        The drawn picture, RGB.
    """
    times = enlargement(image.shape[1], image.shape[0]) if enlarge else 1
    picture = Image.fromarray(image)
    if times > 1:
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC)
    if labels is None:
        labels = [
            f"{name} {score:.2f}" for name, score in zip(detections["class_name"], detections.confidence, strict=True)
        ]
    style = style_for(*picture.size)
    # The best is drawn last, on top.
    order = np.argsort(detections.confidence, kind="stable")
    scaled = sv.Detections(
        xyxy=(detections.xyxy[order] * times).clip(0, (*picture.size, *picture.size)),
        class_id=detections.class_id[order] - 1,
    )
    places = _places(scaled.xyxy, [labels[i] for i in order], picture.size, style)
    palette = sv.ColorPalette.from_hex(list(COLORS))
    text_palette = sv.ColorPalette.from_hex([text_color_on(color) for color in COLORS])
    picture = sv.BoxAnnotator(palette, thickness=style.line).annotate(picture, scaled)
    annotator = sv.RichLabelAnnotator(
        palette, text_color=text_palette, font_path=font_file(), font_size=style.font, text_padding=style.padding
    )
    # It puts a label above the top left corner of its box: boxes of one pixel put it where it is wanted.
    corners = sv.Detections(xyxy=np.hstack([places, places + 1]).reshape(-1, 4), class_id=scaled.class_id)
    return np.asarray(annotator.annotate(picture, corners, labels=[labels[i] for i in order]))


def blur(image: np.ndarray, detections: sv.Detections) -> np.ndarray:
    """Blur each box, with a margin, so that nobody is recognised. A face without a box stays as it is.

    Three box filters of a third of the box approach a Gaussian of a sixth of it, which no sharpening takes back.

    Args:
        image: uint8 array of shape (height, width, 3), RGB; left as it is.
        detections: What to blur.
    """
    sides = detections.xyxy[:, 2:] - detections.xyxy[:, :2]
    margins = np.hstack([-sides, sides]) * _BLUR_MARGIN
    # The annotator leaves alone what is less than a pixel wide.
    whole = np.hstack([np.floor((detections.xyxy + margins)[:, :2]), np.ceil((detections.xyxy + margins)[:, 2:])])
    wide = sv.Detections(xyxy=whole)
    blurred = image.copy()
    for _ in range(3):
        blurred = sv.BlurAnnotator().annotate(blurred, wide)
    return np.asarray(blurred)


def draw_counts(image: np.ndarray, counts: Mapping[str, int], colors: Mapping[str, str]) -> np.ndarray:
    """Write at the lower left corner, where faces are rarest, how many of each class there are.

    Args:
        image: uint8 array of shape (height, width, 3), RGB; left as it is.
        counts: The numbers by class, in the order in which they are written.
        colors: The classes' colours.
    """
    style = style_for(image.shape[1], image.shape[0])
    font = _font(style.font)
    lines = [f"{count} {name}" for name, count in counts.items()]
    height = style.font + style.padding
    width = height + style.padding + max((round(font.getlength(line)) for line in lines), default=0)
    panel = Image.new("RGB", (width + style.padding, height * len(lines) + style.padding))
    pen = ImageDraw.Draw(panel)
    for row, (name, line) in enumerate(zip(counts, lines, strict=True)):
        y = style.padding + row * height
        pen.rectangle((style.padding, y, style.padding + style.font - 1, y + style.font - 1), fill=colors[name])
        pen.text((height + style.padding, y + style.font / 2), line, fill="white", font=font, anchor="lm")
    drawn = image.copy()
    place = drawn[-panel.height :, : panel.width]
    place[:] = np.asarray(panel)[-place.shape[0] :, : place.shape[1]] // 4 * 3 + place // 4
    return drawn


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    path = font_file()
    return ImageFont.truetype(path, size) if path else ImageFont.load_default(size)


def font_file() -> str | None:
    """DejaVu Sans, which Matplotlib brings: its letters cover the Latin, Greek, Cyrillic, Arabic and Hebrew scripts."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return str(path) if path.is_file() else None


def _places(xyxy: np.ndarray, labels: Sequence[str], size: tuple[int, int], style: Style) -> np.ndarray:
    """Choose where each label stands: (n, 2) x of its left and y of its bottom edge, in pixels.

    Greedy from the last, which is on top: of the places around its box the one that covers the fewest pixels of other
    boxes and of labels that stand already, the first of equals.
    """
    font = _font(style.font)
    placed: list[np.ndarray] = []
    places = np.zeros((len(labels), 2))
    for i in reversed(range(len(labels))):
        left, top, right, bottom = font.getbbox(labels[i])
        width, height = right - left + 2 * style.padding, bottom - top + 2 * style.padding
        x1, y1, x2, y2 = xyxy[i]
        others = np.delete(xyxy, i, axis=0)
        best, least = np.zeros(4), math.inf
        for x in (x1, x2 - width, (x1 + x2 - width) / 2):
            for y in (y1 - height, y2, y1):
                x0 = min(max(x, 0), max(size[0] - width - 1, 0))
                y0 = min(max(y, 0), max(size[1] - height - 1, 0))
                label = np.array([x0, y0, x0 + width, y0 + height])
                # Hiding a label is worse than hiding a part of a face; hiding its own face as bad as another's.
                hidden = (
                    _overlap(label, others) + 4 * _overlap(label, np.array(placed)) + _overlap(label, xyxy[i : i + 1])
                )
                if hidden < least:
                    best, least = label, hidden
        placed.append(best)
        places[i] = best[0], best[3]
    return places


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    """Pixels of `box` that `others`, (n, 4), cover, summed over them."""
    if not len(others):
        return 0.0
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(sides.clip(0).prod(axis=1).sum())
