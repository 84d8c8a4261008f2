"""Draw the worst mistakes of an evaluation into one picture, for documents that show no pages."""

import base64
import io
import textwrap
from collections.abc import Sequence

from facemask.evaluation.report.report_pages import MistakeGroup

CELL = 180
"""Side in pixels of a crop on the sheet."""
CHARACTERS = 30
"""Characters in a line below a crop."""
LINE = 16
"""Height in pixels of a line of text."""
TRUTH_COLOUR, FOUND_COLOUR = "#34d399", "#f59e0b"


def draw_mistake_sheet(groups: Sequence[MistakeGroup]) -> bytes:
    """Draw a row of crops for each kind of mistake: the labelled box in green, the detected one in orange.

    Args:
        groups: From `report_pages.mistake_gallery`.

    Returns:
        A JPEG.
    """
    from PIL import Image, ImageDraw, ImageFont

    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    shown = [group for group in groups if group.crops]
    columns = max([len(group.crops) for group in shown], default=1)
    row = CELL + 4 * LINE
    sheet = Image.new("RGB", (columns * (CELL + 8) + 8, max(1, len(shown)) * row + LINE + 8), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 4), "labelled", fill="#047857", font=font)
    draw.text((76, 4), "detected", fill="#b45309", font=font)
    for number, group in enumerate(shown):
        top = LINE + 8 + number * row
        draw.text((8, top), group.title, fill="black", font=font)
        for place, crop in enumerate(group.crops):
            scale = CELL / crop.side
            square = Image.new("RGB", (CELL, CELL), "#e5e7eb")
            x, y, width, height = (round(value * scale) for value in crop.image)
            piece = Image.open(io.BytesIO(base64.b64decode(crop.jpeg))).resize((max(1, width), max(1, height)))
            square.paste(piece, (x, y))
            pen = ImageDraw.Draw(square)
            for box, colour in ((crop.truth, TRUTH_COLOUR), (crop.found, FOUND_COLOUR)):
                if box is not None:
                    left, upper, wide, high = (value * scale for value in box)
                    pen.rectangle((left, upper, left + wide, upper + high), outline=colour, width=2)
            corner = (8 + place * (CELL + 8), top + LINE + 2)
            sheet.paste(square, corner)
            for line, text in enumerate(textwrap.wrap(crop.caption, CHARACTERS)):
                draw.text((corner[0], corner[1] + CELL + 2 + line * 13), text, fill="#374151", font=small)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()
