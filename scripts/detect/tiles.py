"""Huge pictures, in overlapping tiles: resized as a whole to what the model takes, their faces would vanish."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.detect.detector import Detector

HUGE = 32_000_000
"""Pixels from which a picture is tiled. Below, what is found is what the model's evaluation says: 640 pixels of a
picture of 24 million still show a face a thirtieth as wide as the picture."""

TILE = 2048
"""A tile's sides in pixels."""

OVERLAP = 512
"""How far neighbouring tiles overlap, in pixels: smaller faces are whole in at least one tile. Larger ones are found in
the picture as a whole, of whose longer side they are a sixteenth at 8192 pixels."""

SAME_FACE = 0.5
"""The IoU from which two boxes of one class, of two tiles, are about one face."""

_AT_ONCE = 4

_EDGE = 2.0


@dataclass(frozen=True)
class TilingDetector:
    """A `Detector` that has another one look at huge pictures as a whole and tile by tile."""

    detector: Detector

    @property
    def name(self) -> str:
        """See `Detector.name`."""
        return self.detector.name

    @property
    def label_map(self) -> LabelMap:
        """See `Detector.label_map`."""
        return self.detector.label_map

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`."""
        small = [image for image in images if not _is_huge(image)]
        found = iter(self.detector.detect(small) if small else [])
        return [self._detect(image) if _is_huge(image) else next(found) for image in images]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        height, width = image.shape[:2]
        scale = TILE / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        [whole] = self.detector.detect([cv2.resize(image, size, interpolation=cv2.INTER_AREA)])
        whole.xyxy = whole.xyxy * np.tile(np.array([width, height]) / size, 2)
        parts = [whole]
        tiles = list(split(width, height))
        for start in range(0, len(tiles), _AT_ONCE):
            group = tiles[start : start + _AT_ONCE]
            pixels = [np.ascontiguousarray(image[y0:y1, x0:x1]) for x0, y0, x1, y1 in group]
            for tile, part in zip(group, self.detector.detect(pixels), strict=True):
                part = part[~_cut(part.xyxy, tile, width, height)]
                part.xyxy = part.xyxy + np.array([*tile[:2], *tile[:2]])
                parts.append(part)
        merged = sv.Detections.merge([part for part in parts if len(part)] or [whole])
        merged.xyxy = merged.xyxy.astype(np.float32)
        if len(merged):
            merged = merged.with_nms(SAME_FACE)
        return merged[np.argsort(-np.asarray(merged.confidence), kind="stable")]


def _is_huge(image: np.ndarray) -> bool:
    return image.shape[0] * image.shape[1] > HUGE


def split(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """The tiles of a picture, row by row, as (x0, y0, x1, y1) in pixels: of equal size, spread evenly."""
    for y in _starts(height):
        for x in _starts(width):
            yield x, y, min(x + TILE, width), min(y + TILE, height)


def _starts(length: int) -> list[int]:
    if length <= TILE:
        return [0]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    return [int(start) for start in np.linspace(0, length - TILE, count).round()]


def _cut(xyxy: np.ndarray, tile: tuple[int, int, int, int], width: int, height: int) -> np.ndarray:
    """Which boxes, (n, 4) in pixels of the tile, touch an edge of it that is not the picture's: parts of faces."""
    x0, y0, x1, y1 = tile
    left = (xyxy[:, 0] < _EDGE) & (x0 > 0)
    top = (xyxy[:, 1] < _EDGE) & (y0 > 0)
    right = (xyxy[:, 2] > x1 - x0 - _EDGE) & (x1 < width)
    bottom = (xyxy[:, 3] > y1 - y0 - _EDGE) & (y1 < height)
    return left | top | right | bottom
