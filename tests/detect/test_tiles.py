import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.detect import tiles
from scripts.detect.tiles import TilingDetector, split


class RedFinder:
    """Finds red squares that are at least a fiftieth of the picture's longer side wide, as if it resized it."""

    name = "eyes"
    label_map = LabelMap(("face",))

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        import cv2

        self.sizes.append(image.shape[:2])
        red = ((image[..., 0] > 150) & (image[..., 1] < 100)).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(red)
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:count] if max(w, h) >= max(image.shape) / 50]
        return sv.Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            confidence=np.linspace(0.9, 0.8, len(boxes), dtype=np.float32),
            class_id=np.ones(len(boxes), int),
            data={"class_name": np.array(["face"] * len(boxes))},
        )


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HUGE", 300_000), ("TILE", 256), ("OVERLAP", 64)):
        monkeypatch.setattr(tiles, name, value)


def picture(width: int, height: int, *squares: tuple[int, int, int]) -> np.ndarray:
    image = np.full((height, width, 3), 128, np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side] = (255, 0, 0)
    return image


@pytest.mark.parametrize("size", [(256, 256), (257, 300), (1000, 700), (5000, 200), (100, 3000), (1, 1)])
def test_tiles_cover_the_picture_and_overlap(small_tiles: None, size: tuple[int, int]) -> None:
    seen = np.zeros(size[::-1], int)
    found = list(split(*size))
    for x0, y0, x1, y1 in found:
        assert 0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]
        assert (x1 - x0, y1 - y0) == (min(256, size[0]), min(256, size[1]))
        seen[y0:y1, x0:x1] += 1
    assert seen.min() == 1
    columns = sorted({x0 for x0, *_ in found})
    assert all(after - before <= 256 - 64 for before, after in itertools.pairwise(columns))


def test_small_and_large_faces_are_found_once_wherever_they_are(small_tiles: None) -> None:
    # In the middle of a tile, across two and four of them, at the picture's edges, and larger than a tile.
    squares = [(30, 300, 12), (180, 20, 40), (170, 170, 50), (0, 0, 20), (1180, 780, 20), (600, 300, 400)]
    detector = RedFinder()
    [found] = TilingDetector(detector).detect([picture(1200, 800, *squares)])
    expected = np.array([(x, y, x + side, y + side) for x, y, side in squares])
    order = np.lexsort(expected.T)
    got = found.xyxy[np.lexsort(np.round(found.xyxy / 10).T)]
    assert len(got) == len(expected), got
    ious = sv.box_iou_batch(found.xyxy, expected[order].astype(np.float32))
    assert sorted(ious.argmax(axis=1)) == list(range(6)) and ious.max(axis=1).min() > 0.8
    assert list(found.confidence) == sorted(found.confidence, reverse=True)
    assert set(found["class_name"]) == {"face"}
    assert max(map(max, detector.sizes)) <= 256


def test_other_pictures_are_left_as_they_are_and_order_stays(small_tiles: None) -> None:
    detector = RedFinder()
    images = [picture(100, 80, (10, 10, 30)), picture(1200, 800), picture(120, 90, (20, 20, 40), (70, 20, 30))]
    found = TilingDetector(detector).detect(images)
    assert [len(each) for each in found] == [1, 0, 2]
    assert found[2].xyxy[0].tolist() == [20, 20, 60, 60]
    assert detector.sizes[:2] == [(80, 100), (90, 120)]
    assert len(detector.sizes) > 20
