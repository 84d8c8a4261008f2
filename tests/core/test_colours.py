import re

import pytest

from facemask.core.colours import CLASS_COLOURS, chart_colour, contrasting_text_colour, picture_colour

WHITE, NEAR_BLACK = "#FFFFFF", "#12151A"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, from 1 to 21."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_each_class_has_its_own_colour_and_the_table_starts_over_after_the_last() -> None:
    rows = len(CLASS_COLOURS)
    assert len({row.picture for row in CLASS_COLOURS}) == len({row.chart for row in CLASS_COLOURS}) == rows >= 8
    assert all(re.fullmatch(r"#[0-9A-F]{6}", colour) for row in CLASS_COLOURS for colour in row)
    assert picture_colour(1) == picture_colour(1 + rows) != picture_colour(2)
    assert chart_colour(0) == chart_colour(rows) == CLASS_COLOURS[0].chart


@pytest.mark.parametrize("row", CLASS_COLOURS)
def test_chart_colours_are_legible_on_a_light_and_on_a_dark_page(row: tuple[str, str]) -> None:
    assert contrast(row[1], WHITE) >= 2.75
    assert contrast(row[1], NEAR_BLACK) >= 3


@pytest.mark.parametrize("row", CLASS_COLOURS)
def test_text_on_a_label_is_legible(row: tuple[str, str]) -> None:
    assert contrast(row[0], contrasting_text_colour(row[0])) >= 4.5
