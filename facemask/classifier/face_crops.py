"""Cut faces out of pictures. Training and detection share this code, so that both see the same crops."""

import math
from collections.abc import Sequence

import numpy as np


def cut_faces(image: np.ndarray, xyxy: np.ndarray, margin: float, size: int) -> np.ndarray:
    """Cut boxes out of a picture, each as a square around the box's centre.

    A square keeps a face's proportions. Where it reaches beyond the picture, the picture's edge pixels are repeated. A
    square that is enlarged is cut to the fraction of a pixel: whole pixels would move a face of 12 pixels by up to 4%
    of its side. On the folds of docs/results.md this is worth 0.3 points of mAP@0.5.

    Args:
        image: The picture, uint8 of shape (height, width, 3), RGB.
        xyxy: (n, 4) boxes in pixels. They are clipped to the picture first.
        margin: The margin on each side, as a share of the box's longer side: 0.2 makes the square's side 1.4 times that
            side.
        size: Side in pixels to which the squares are resized.

    Returns:
        (n, size, size, 3) uint8, RGB.

    Example:
        >>> cut_faces(np.zeros((100, 200, 3), np.uint8), np.array([[10, 10, 50, 60]]), margin=0.2, size=96).shape
        (1, 96, 96, 3)
    """
    height, width = image.shape[:2]
    crops = []
    for box in np.asarray(xyxy, dtype=np.float64).reshape(-1, 4):
        xmin, ymin, xmax, ymax = np.clip(box, 0, (width, height, width, height))
        side = max(1.0, max(xmax - xmin, ymax - ymin) * (1 + 2 * margin))
        left, top = (xmin + xmax - side) / 2, (ymin + ymax - side) / 2
        crops.append(_enlarge(image, left, top, side, size) if side < size else _cut(image, left, top, side))
    return resize_crops(crops, size)


def _enlarge(image: np.ndarray, left: float, top: float, side: float, size: int) -> np.ndarray:
    """A square of a picture, resized to a larger `size`."""
    import cv2

    # The part of the picture around the square: OpenCV's warp takes no picture of more than 32,767 pixels.
    height, width = image.shape[:2]
    x0, y0 = (min(max(math.floor(start) - 1, 0), length - 1) for start, length in ((left, width), (top, height)))
    part = image[y0 : max(y0, math.ceil(top + side)) + 1, x0 : max(x0, math.ceil(left + side)) + 1]
    # From the new pixels to the old ones. OpenCV counts from the centre of the first pixel, the square from its corner.
    step = side / size
    matrix = np.array([[step, 0, left - x0 + (step - 1) / 2], [0, step, top - y0 + (step - 1) / 2]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, matrix, (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE)


def _cut(image: np.ndarray, left: float, top: float, side: float) -> np.ndarray:
    """A square of a picture in whole pixels."""
    import cv2

    height, width = image.shape[:2]
    pixels = round(side)
    x0, x1, before, after = _within(round(left), pixels, width)
    y0, y1, above, below = _within(round(top), pixels, height)
    return cv2.copyMakeBorder(image[y0:y1, x0:x1], above, below, before, after, cv2.BORDER_REPLICATE)


def _within(start: int, side: int, length: int) -> tuple[int, int, int, int]:
    """The part of a range of `side` pixels that is in a picture of `length` pixels, and how many it lacks at each end.

    Where the range is outside the picture, the part is the picture's nearest pixel.
    """
    first, last = (min(max(place, 0), length - 1) for place in (start, start + side - 1))
    before = min(max(-start, 0), side - 1)
    return first, last + 1, before, side - before - (last + 1 - first)


def resize_crops(crops: Sequence[np.ndarray] | np.ndarray, size: int) -> np.ndarray:
    """Resize crops to the classifier's size.

    Args:
        crops: uint8 arrays of shape (height, width, 3), of any size, RGB. A crop that is not square is stretched.
        size: Side in pixels.

    Returns:
        (n, size, size, 3) uint8, RGB.
    """
    import cv2

    batch = np.empty((len(crops), size, size, 3), dtype=np.uint8)
    for place, crop in zip(batch, crops, strict=True):
        # When a crop shrinks, area averaging uses the pixels that bilinear sampling would skip.
        how = cv2.INTER_AREA if min(crop.shape[:2]) > size else cv2.INTER_LINEAR
        place[:] = cv2.resize(crop, (size, size), interpolation=how)
    return batch
