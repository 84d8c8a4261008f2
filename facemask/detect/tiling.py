"""Large pictures, as a whole and in overlapping tiles. Reduced to the input of a model, a picture loses small faces."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import supervision as sv

from facemask.detect.box_matching import join_boxes
from facemask.detect.detector import RawDetector

LARGE = 2_000_000
"""The pixels from which a picture is tiled: a frame of 1920x1080 has 2,073,600. docs/video.md has the measurement."""

SHARE = 9 / 16
"""The side of a tile as a share of the picture's longer side: a frame of 1920x1080 has two tiles, whose aspect ratio is
that of a square input, and a picture of 4:3 has four. No tile's side is longer than `TILE`."""

HUGE = 32_000_000
"""The pixels above which a picture is tiled in any case, also where slices are not wanted."""

TILE = 2048
"""The side in pixels of the tiles of huge pictures, and the longer side to which such a picture is reduced as a whole:
in memory, a network's input has four times the bytes of the picture."""

OVERLAP = 0.2
"""The least overlap of neighbouring tiles, as a share of their side. Smaller faces are whole in at least one tile.
Larger ones are found in the picture as a whole."""

_AT_ONCE = 4

_EDGE = 2.0


@runtime_checkable
class ScalingDetector(Protocol):
    """A `RawDetector` with another one for large pictures, which looks at them in more detail than tiles would."""

    @property
    def for_large_pictures(self) -> RawDetector | None:
        """The other detector; None to tile them."""
        ...


def detect_in_tiles(detector: RawDetector, images: Sequence[np.ndarray], large: bool = True) -> list[sv.Detections]:
    """Detect in pictures; in those for which `tile_side` names a side, in the picture as a whole and in each tile.

    Large pictures that are not huge go as a whole to the detector's `for_large_pictures`, if it has one.

    Args:
        detector: The detector.
        images: See `RawDetector.detect_all`.
        large: Treat large pictures in this way. Otherwise only huge ones are tiled.

    Returns:
        See `RawDetector.detect_all`.
    """
    sides = [tile_side(image.shape[1], image.shape[0], large) for image in images]
    untiled = [image for image, side in zip(images, sides, strict=True) if side is None]
    found = iter(detector.detect_all(untiled) if untiled else [])
    return [
        next(found) if side is None else _detect_large(detector, image, side)
        for image, side in zip(images, sides, strict=True)
    ]


def _detect_large(detector: RawDetector, image: np.ndarray, side: int) -> sv.Detections:
    other = detector.for_large_pictures if isinstance(detector, ScalingDetector) else None
    if other is None or _is_huge(image.shape[1], image.shape[0]):
        return detect_whole_and_tiles(detector, image, side)
    [found] = other.detect_all([image])
    return found


def _is_huge(width: int, height: int) -> bool:
    return width * height > HUGE


def tile_side(width: int, height: int, large: bool = True) -> int | None:
    """The side in pixels of a picture's tiles, or None if it is not tiled.

    Args:
        width: The picture's width in pixels.
        height: Its height.
        large: See `detect_in_tiles`.
    """
    if _is_huge(width, height):
        return TILE
    if large and width * height >= LARGE:
        return min(TILE, round(SHARE * max(width, height)))
    return None


def detect_whole_and_tiles(detector: RawDetector, image: np.ndarray, side: int) -> sv.Detections:
    """Detect in a picture as a whole, which is reduced to `TILE` pixels if it is huge, and in tiles.

    Args:
        detector: The detector.
        image: uint8 array of shape (height, width, 3), RGB.
        side: The side of a tile in pixels. Neighbouring tiles overlap by at least `OVERLAP` of it.

    Returns:
        The boxes of both in the form of `RawDetector.detect_all`. Boxes that an inner edge of a tile cuts are left out.
    """
    import cv2

    height, width = image.shape[:2]
    scale = TILE / max(height, width) if _is_huge(width, height) else 1.0
    size = max(1, round(width * scale)), max(1, round(height * scale))
    [whole] = detector.detect_all([cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image])
    whole.xyxy = whole.xyxy * np.tile(np.array([width, height]) / size, 2)
    parts = [whole]
    tiles = list(tiles_of(width, height, side))
    for start in range(0, len(tiles), _AT_ONCE):
        group = tiles[start : start + _AT_ONCE]
        pixels = [np.ascontiguousarray(image[y0:y1, x0:x1]) for x0, y0, x1, y1 in group]
        for tile, part in zip(group, detector.detect_all(pixels), strict=True):
            part = part[~_cut(part.xyxy, tile, width, height)]
            part.xyxy = part.xyxy + np.array([*tile[:2], *tile[:2]])
            parts.append(part)
    return join_boxes(parts)


def tiles_of(width: int, height: int, side: int) -> Iterator[tuple[int, int, int, int]]:
    """The tiles of a picture, row by row, as (x0, y0, x1, y1) in pixels: of equal size, spread evenly."""
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield x, y, min(x + side, width), min(y + side, height)


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    step = side - round(OVERLAP * side)
    count = -(-(length - side) // step) + 1
    return [int(start) for start in np.linspace(0, length - side, count).round()]


def _cut(xyxy: np.ndarray, tile: tuple[int, int, int, int], width: int, height: int) -> np.ndarray:
    """Which boxes, (n, 4) in pixels of the tile, touch an edge of it that is not the picture's: parts of faces."""
    x0, y0, x1, y1 = tile
    left = (xyxy[:, 0] < _EDGE) & (x0 > 0)
    top = (xyxy[:, 1] < _EDGE) & (y0 > 0)
    right = (xyxy[:, 2] > x1 - x0 - _EDGE) & (x1 < width)
    bottom = (xyxy[:, 3] > y1 - y0 - _EDGE) & (y1 < height)
    return left | top | right | bottom
