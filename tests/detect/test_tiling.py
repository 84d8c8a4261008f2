import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.detect import tiling
from facemask.detect.tiling import detect_in_tiles, tile_side, tiles_of


class RedFinder:
    """Finds red squares that are at least a fiftieth of the picture's longer side wide, as if it resized it."""

    name = "eyes"
    label_map = LabelMap(("face",))

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
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
    for name, value in (("HUGE", 300_000), ("TILE", 256), ("OVERLAP", 0.25)):
        monkeypatch.setattr(tiling, name, value)


def picture(width: int, height: int, *squares: tuple[int, int, int]) -> np.ndarray:
    image = np.full((height, width, 3), 128, np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side] = (255, 0, 0)
    return image


@pytest.mark.parametrize("size", [(256, 256), (257, 300), (1000, 700), (5000, 200), (100, 3000), (1, 1)])
def test_tiles_cover_the_picture_and_overlap(small_tiles: None, size: tuple[int, int]) -> None:
    seen = np.zeros(size[::-1], int)
    found = list(tiles_of(*size, side=256))
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
    [found] = detect_in_tiles(detector, [picture(1200, 800, *squares)])
    expected = np.array([(x, y, x + side, y + side) for x, y, side in squares])
    order = np.lexsort(expected.T)
    got = found.xyxy[np.lexsort(np.round(found.xyxy / 10).T)]
    assert len(got) == len(expected), got
    ious = sv.box_iou_batch(found.xyxy, expected[order].astype(np.float32))
    assert sorted(ious.argmax(axis=1)) == list(range(6)) and ious.max(axis=1).min() > 0.8
    assert list(found.confidence) == sorted(found.confidence, reverse=True)
    assert set(found["class_name"]) == {"face"}
    assert max(map(max, detector.sizes)) <= 256


@pytest.mark.parametrize(
    ("size", "side", "tiles"),
    [
        ((1280, 720), None, 0),
        ((1920, 1080), 1080, 2),
        ((1080, 1920), 1080, 2),
        ((4000, 3000), 2048, 6),
        ((2600, 1950), 1462, 4),
        ((8000, 6000), 2048, 20),
    ],
)
def test_large_pictures_have_few_tiles_and_huge_ones_many(size: tuple[int, int], side: int | None, tiles: int) -> None:
    assert tile_side(*size) == side
    assert len(list(tiles_of(*size, side=side or 10_000))) == (tiles or 1)
    assert tile_side(*size, large=False) == (2048 if size == (8000, 6000) else None)


def test_a_face_too_small_for_the_whole_frame_is_found_in_a_slice_of_it() -> None:
    frame = picture(1920, 1080, (100, 100, 30), (945, 500, 30), (400, 300, 500))
    [found] = detect_in_tiles(RedFinder(), [frame])
    assert sorted(found.xyxy.tolist()) == [[100, 100, 130, 130], [400, 300, 900, 800], [945, 500, 975, 530]]
    [found] = detect_in_tiles(RedFinder(), [frame], large=False)
    assert found.xyxy.tolist() == [[400, 300, 900, 800]]


def test_a_tiled_picture_without_a_face_has_the_fields_of_a_detection(small_tiles: None) -> None:
    [found] = detect_in_tiles(RedFinder(), [picture(1000, 700)])
    assert len(found) == 0
    assert found.xyxy.shape == (0, 4)
    assert (found.class_id.tolist(), found.confidence.tolist(), found["class_name"].tolist()) == ([], [], [])


class Scaling(RedFinder):
    """Has another detector for large pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.for_large_pictures = RedFinder()


def test_a_detector_with_another_one_for_large_pictures_has_no_tiles() -> None:
    detector = Scaling()
    frames = [picture(1920, 1080, (400, 300, 500)), picture(1280, 720)]
    assert [len(found) for found in detect_in_tiles(detector, frames)] == [1, 0]
    assert (detector.sizes, detector.for_large_pictures.sizes) == ([(720, 1280)], [(1080, 1920)])
    detect_in_tiles(detector, frames, large=False)
    assert detector.sizes[1:] == [(1080, 1920), (720, 1280)]


def test_other_pictures_are_left_as_they_are_and_order_stays(small_tiles: None) -> None:
    detector = RedFinder()
    images = [picture(100, 80, (10, 10, 30)), picture(1200, 800), picture(120, 90, (20, 20, 40), (70, 20, 30))]
    found = detect_in_tiles(detector, images)
    assert [len(each) for each in found] == [1, 0, 2]
    assert found[2].xyxy[0].tolist() == [20, 20, 60, 60]
    assert detector.sizes[:2] == [(80, 100), (90, 120)]
    assert len(detector.sizes) > 20
