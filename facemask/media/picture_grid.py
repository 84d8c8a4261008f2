"""A grid of pictures with boxes in the colours of their classes, under a title and a legend."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from facemask.core.colours import picture_colour
from facemask.core.label_map import LabelMap
from facemask.media import annotating

_GAP = 6
_HEAD = 34


def draw_picture_grid(
    rows: Sequence[Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]], title: str, label_map: LabelMap, side: int
) -> np.ndarray:
    """Draw a grid.

    Args:
        rows: Rows of cells. A cell is a picture, RGB uint8 of shape (height, width, 3), its boxes of shape (n, 4),
            xyxy in pixels, and its class ids of shape (n,).
        title: The text above the grid.
        label_map: The classes of the legend.
        side: The side of a cell in pixels; pictures are fitted into it.

    Returns:
        uint8 array of shape (height, width, 3), RGB.
    """
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (columns * (side + _GAP) + _GAP, len(rows) * (side + _GAP) + _GAP + _HEAD), "white")
    pen = ImageDraw.Draw(sheet)
    font = annotating.label_font(15)
    left = float(_GAP + 2)
    for text, color in [
        (title, "#000000"),
        *((name, picture_colour(label_map.id_of(name))) for name in label_map.names),
    ]:
        if color != "#000000":
            pen.rectangle((left, 11, left + 13, 24), fill=color)
            left += 19
        pen.text((left, 18), text, fill="#000000", font=font, anchor="lm")
        left += pen.textlength(text, font=font) + 22
    for y, row in enumerate(rows):
        for x, (image, boxes, class_ids) in enumerate(row):
            scale = side / max(image.shape[:2])
            cell = Image.fromarray(image).resize(
                (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))), Image.Resampling.LANCZOS
            )
            marks = ImageDraw.Draw(cell)
            for box, class_id in zip(boxes * scale, class_ids, strict=True):
                marks.rectangle(tuple(map(float, box)), outline=picture_colour(int(class_id)), width=2)
            sheet.paste(cell, (_GAP + x * (side + _GAP), _HEAD + _GAP + y * (side + _GAP)))
    return np.asarray(sheet)
