"""Pillow 10 removed `ImageFont.getsize`, with which the API measures the captions of the boxes that it draws.

It draws them in every evaluation (`model_main_tf2 --checkpoint_dir`), for TensorBoard.
"""

from types import ModuleType
from typing import Any

from scripts.tfod.compat import imports

MODULE = "object_detection.utils.visualization_utils"


def repair() -> None:
    """Give Pillow's fonts their former method once the API's drawing is imported."""
    imports.after(MODULE, _add)


def _add(module: ModuleType) -> None:
    for font in (module.ImageFont.FreeTypeFont, module.ImageFont.ImageFont):
        if not hasattr(font, "getsize"):
            font.getsize = _getsize


def _getsize(font: Any, text: str) -> tuple[int, int]:
    """Width and height in pixels, from the point where the text is drawn."""
    left_top_right_bottom = font.getbbox(text)
    return int(left_top_right_bottom[2]), int(left_top_right_bottom[3])
