"""Pictures in rows and columns, their boxes in the classes' colours, under a line that says what the colours mean."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scripts.dataset.label_map import LabelMap
from scripts.media import drawing

_GAP = 6
_HEAD = 34


def draw(
    rows: Sequence[Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]], title: str, label_map: LabelMap, side: int
) -> np.ndarray:
    """Draw a grid.

    Args:
        rows: Each cell a picture, RGB uint8 of shape (height, width, 3), with its boxes (n, 4) xyxy pixels and its
            class ids (n,).
        title: What stands above it.
        label_map: The classes.
        side: Side of a cell in pixels; pictures are fitted into it.

    Returns:
        RGB uint8 array.
    """
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (columns * (side + _GAP) + _GAP, len(rows) * (side + _GAP) + _GAP + _HEAD), "white")
    pen = ImageDraw.Draw(sheet)
    file = drawing.font_file()
    font = ImageFont.truetype(file, 15) if file else ImageFont.load_default(15)
    left = float(_GAP + 2)
    for text, color in [
        (title, "#000000"),
        *((name, drawing.color_of(label_map.id_of(name))) for name in label_map.names),
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
                marks.rectangle(tuple(map(float, box)), outline=drawing.color_of(int(class_id)), width=2)
            sheet.paste(cell, (_GAP + x * (side + _GAP), _HEAD + _GAP + y * (side + _GAP)))
    return np.asarray(sheet)
