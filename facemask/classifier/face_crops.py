"""Cut faces out of pictures. Training and detection share this code, so that both see the same crops."""

from collections.abc import Sequence

import numpy as np


def cut_faces(image: np.ndarray, xyxy: np.ndarray, margin: float) -> list[np.ndarray]:
    """Cut boxes out of a picture, each as a square around the box's centre.

    A square keeps a face's proportions when it is resized for the classifier. Where it reaches beyond the picture, the
    picture's edge pixels are repeated.

    Args:
        image: The picture, uint8 of shape (height, width, 3), RGB.
        xyxy: (n, 4) boxes in pixels. They are clipped to the picture first.
        margin: The margin on each side, as a share of the box's longer side: 0.2 makes the square's side 1.4 times that
            side.

    Returns:
        n uint8 arrays of shape (side, side, 3), RGB, side >= 1, each with memory of its own.

    Example:
        >>> [crop] = cut_faces(np.zeros((100, 200, 3), np.uint8), np.array([[10, 10, 50, 60]]), margin=0.2)
        >>> crop.shape
        (70, 70, 3)
    """
    import cv2

    height, width = image.shape[:2]
    crops = []
    for box in np.asarray(xyxy, dtype=np.float64).reshape(-1, 4):
        xmin, ymin, xmax, ymax = np.clip(box, 0, (width, height, width, height))
        side = max(1, round(max(xmax - xmin, ymax - ymin) * (1 + 2 * margin)))
        left, top = round((xmin + xmax - side) / 2), round((ymin + ymax - side) / 2)
        x0, x1, before, after = _within(left, side, width)
        y0, y1, above, below = _within(top, side, height)
        inside = image[y0:y1, x0:x1]
        crops.append(cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REPLICATE))
    return crops


def _within(start: int, side: int, length: int) -> tuple[int, int, int, int]:
    """The part of a range of `side` pixels that is in a picture of `length` pixels, and how many it lacks at each end.

    Where the range is outside the picture, the part is the picture's nearest pixel.
    """
    first, last = (min(max(place, 0), length - 1) for place in (start, start + side - 1))
    before = min(max(-start, 0), side - 1)
    return first, last + 1, before, side - before - (last + 1 - first)


def resize_crops(crops: Sequence[np.ndarray], size: int) -> np.ndarray:
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
