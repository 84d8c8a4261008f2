"""A piece of a picture with a labelled and a detected box, for the pages."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CROP = 220
"""Side in pixels of a crop on the page."""


@dataclass(frozen=True)
class PictureCrop:
    """A labelled box, a detected box or both, cut out of their image.

    Attributes:
        name: The image's name.
        caption: What is wrong, in words.
        side: Side of the square crop on the page in pixels. The boxes below are in these pixels.
        jpeg: The piece of the image as base64.
        image: x, y, width, height of the piece in the crop. It is smaller than the crop at an edge of the image.
        truth: x, y, width, height of the labelled box, or None.
        found: x, y, width, height of the detected box, or None.
    """

    name: str
    caption: str
    side: int
    jpeg: str
    image: tuple[float, ...]
    truth: tuple[float, ...] | None
    found: tuple[float, ...] | None


def crop_boxes(
    image: np.ndarray,
    name: str,
    caption: str,
    truth_box: Sequence[float] | None,
    found_box: Sequence[float] | None,
) -> PictureCrop:
    """Cut a square with one or two boxes in its middle out of an image. Its side is twice theirs, or 24 pixels.

    Args:
        image: RGB uint8 (height, width, 3).
        name: Its name.
        caption: What is wrong.
        truth_box: xyxy pixels of the labelled box, or None.
        found_box: xyxy pixels of the detected box, or None; one of the two is given.
    """
    from PIL import Image

    boxes = np.array([box for box in (truth_box, found_box) if box is not None])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    center, side = (low + high) / 2, max(24.0, 2.0 * float((high - low).max()))
    height, width = image.shape[:2]
    # Inside the image as far as it is large enough.
    spare = np.array([width - side, height - side])
    corner = np.where(spare > 0, np.clip(center - side / 2, 0, np.maximum(spare, 0)), center - side / 2)
    left, top = np.clip(np.floor(corner), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corner + side), (left + 1, top + 1), (width, height)).astype(int)
    scale = CROP / side
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    piece = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right])).resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    piece.save(buffer, "JPEG", quality=82, optimize=True)

    def placed(box: Sequence[float] | None) -> tuple[float, ...] | None:
        if box is None:
            return None
        xmin, ymin, xmax, ymax = ((value - corner[index % 2]) * scale for index, value in enumerate(box))
        return tuple(round(float(value), 1) for value in (xmin, ymin, xmax - xmin, ymax - ymin))

    return PictureCrop(
        name=name,
        caption=caption,
        side=CROP,
        jpeg=base64.b64encode(buffer.getvalue()).decode("ascii"),
        image=placed((left, top, right, bottom)) or (),
        truth=placed(truth_box),
        found=placed(found_box),
    )
