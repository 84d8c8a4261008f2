"""The table of class colours, used for boxes on photographs, charts and web pages."""

from typing import NamedTuple

import numpy as np


class ClassColour(NamedTuple):
    """The colours of one class as `#RRGGBB`.

    Attributes:
        picture: For boxes and labels on photographs.
        chart: For lines and bars on white or near black.
    """

    picture: str
    chart: str


CLASS_COLOURS = (
    ClassColour("#009E73", "#0E9F74"),  # green: the mask is worn
    ClassColour("#D55E00", "#D9600A"),  # vermilion: no mask
    ClassColour("#F0E442", "#B8930A"),  # yellow, too light for a line on white: worn incorrectly
    ClassColour("#56B4E9", "#3D8FD1"),
    ClassColour("#CC79A7", "#B765A0"),
    ClassColour("#E69F00", "#7C6FD9"),  # as lines, orange and vermilion are hard to tell apart
    ClassColour("#0072B2", "#5B8C2A"),  # as lines, the two blues are
    ClassColour("#999999", "#8A8F98"),
)
"""One row a class, in the order of the ids. People with any kind of colour vision can tell the colours apart.

The palette is that of Okabe & Ito, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/, in an order that
suits this task. The chart colours are darker where a line on white would be hard to see.
"""


def picture_colour(class_id: int) -> str:
    """The colour of a class on photographs; `class_id` counts from 1, as in the label map. The table repeats."""
    return CLASS_COLOURS[(class_id - 1) % len(CLASS_COLOURS)].picture


def chart_colour(index: int) -> str:
    """The colour of class or series number `index`, from 0, in charts. The table repeats."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)].chart


def contrasting_text_colour(background: str) -> str:
    """Black or white, whichever has the higher contrast by WCAG 2's relative luminance.

    Args:
        background: `#RRGGBB`.
    """
    channels = [int(background[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#FFFFFF"
