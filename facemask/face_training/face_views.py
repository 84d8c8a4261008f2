"""Cut random views out of labelled pictures, on which the face detector learns: scaled, moved, mirrored, relit."""

from dataclasses import dataclass

import numpy as np

SMALLEST_FACE = 6.0
"""Faces with a shorter side of fewer pixels in the view are not learned, and cost nothing where they are found."""
MIN_VISIBLE = 0.4
"""Faces of which less than this share is inside the view are treated in the same way."""


@dataclass(frozen=True)
class View:
    """A square view of a picture.

    Attributes:
        pixels: (side, side, 3) float32, BGR, 0..255; black beside the picture.
        faces: (n, 4) float32, xyxy in pixels of the view.
        ignored: (m, 4) float32, the boxes of faces that count neither as faces nor as background.
    """

    pixels: np.ndarray
    faces: np.ndarray
    ignored: np.ndarray


def random_view(
    image: np.ndarray,
    boxes: np.ndarray,
    difficult: np.ndarray,
    side: int,
    longer_sides: tuple[int, int],
    random: np.random.Generator,
    *,
    mirror: float = 0.5,
) -> View:
    """Scale a picture at random and cut a square out of it.

    Args:
        image: (height, width, 3) uint8, RGB.
        boxes: (n, 4) labelled faces, xyxy in pixels of the image.
        difficult: (n,) bool; such faces are ignored.
        side: The view's side in pixels.
        longer_sides: The least and the most pixels that the picture's longer side is scaled to.
        random: The source of chance.
        mirror: The share of views that are mirrored, 0..1.
    """
    import cv2

    height, width = image.shape[:2]
    low, high = np.log(longer_sides)
    scale = float(np.exp(random.uniform(low, high))) / max(height, width)
    stretch = float(np.exp(random.uniform(-0.08, 0.08)))
    scale_x, scale_y = scale * stretch, scale / stretch
    # The view's upper left corner in pixels of the scaled picture. Three of four views hold a face that chance chose. A
    # picture smaller than the view lies in its upper left corner, as in detection; in three of ten views anywhere.
    spare = np.array([width * scale_x - side, height * scale_y - side])
    corner = random.uniform(np.minimum(spare, 0) * (random.random() < 0.3), np.maximum(spare, 0) + 1e-6)
    if len(boxes) and random.random() < 0.75:
        chosen = boxes[random.integers(len(boxes))].reshape(2, 2).mean(axis=0) * (scale_x, scale_y)
        wanted = chosen - random.uniform(0.1, 0.9, 2) * side
        corner = np.where(spare > 0, np.clip(wanted, 0, np.maximum(spare, 0)), corner)
    # OpenCV counts from the centre of the first pixel, boxes from its corner.
    centre_x, centre_y = (scale_x - 1) / 2, (scale_y - 1) / 2
    matrix = np.array([[scale_x, 0, centre_x - corner[0]], [0, scale_y, centre_y - corner[1]]])
    view = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR).astype(np.float32)
    placed = boxes * (scale_x, scale_y, scale_x, scale_y) - np.tile(corner, 2)
    if random.random() < mirror:
        view = view[:, ::-1]
        placed = placed[:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (side, 0, side, 0)
    clipped = np.clip(placed, 0, side)
    sides = clipped[:, 2:] - clipped[:, :2]
    visible = sides.prod(axis=1) / np.maximum((placed[:, 2:] - placed[:, :2]).prod(axis=1), 1e-6)
    learned = ~difficult & (visible >= MIN_VISIBLE) & (sides.min(axis=1) >= SMALLEST_FACE)
    ignored = ~learned & (sides.min(axis=1) > 0)
    return View(
        np.ascontiguousarray(_change_light(view, random)[:, :, ::-1]),
        clipped[learned].astype(np.float32),
        clipped[ignored].astype(np.float32),
    )


def _change_light(view: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and the weight of each colour."""
    grey = view.mean(axis=2, keepdims=True)
    changed = grey + (view - grey) * random.uniform(0.5, 1.4)
    contrast, colours = random.uniform(0.7, 1.3), random.uniform(0.9, 1.1, 3)
    changed = (changed - 128) * contrast * colours + 128 + random.uniform(-25, 25)
    clipped: np.ndarray = np.clip(changed, 0, 255).astype(np.float32)
    return clipped
