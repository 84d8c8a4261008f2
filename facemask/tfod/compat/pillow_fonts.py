"""Pillow 10 removed `ImageFont.getsize`, with which the API measures the captions of the boxes that it draws.

It draws boxes for TensorBoard in every evaluation (`model_main_tf2 --checkpoint_dir`).
"""

from types import ModuleType
from typing import Any

from facemask.tfod.compat import imports

MODULE = "object_detection.utils.visualization_utils"


def repair() -> None:
    """Add the former method to Pillow's fonts when the API's drawing module is imported."""
    imports.after_import(MODULE, _add)


def _add(module: ModuleType) -> None:
    for font in (module.ImageFont.FreeTypeFont, module.ImageFont.ImageFont):
        if not hasattr(font, "getsize"):
            font.getsize = _getsize


def _getsize(font: Any, text: str) -> tuple[int, int]:
    """Width and height of a text in pixels, from the point where it is drawn."""
    left_top_right_bottom = font.getbbox(text)
    return int(left_top_right_bottom[2]), int(left_top_right_bottom[3])
