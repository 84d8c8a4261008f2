import numpy as np
import pytest

from facemask.classifier import face_crops


def numbered(height: int, width: int) -> np.ndarray:
    """A picture in which each pixel says where it is: red its column, green its row."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


def test_a_crop_is_a_square_around_the_boxs_centre() -> None:
    [crop] = face_crops.cut_faces(numbered(100, 200), np.array([[60, 20, 80, 60]]), margin=0.25)
    assert crop.shape == (60, 60, 3)  # the longer side and a quarter of it on each side
    assert (crop[0, 0, 0], crop[0, -1, 0]) == (40, 99)  # around column 70
    assert (crop[0, 0, 1], crop[-1, 0, 1]) == (10, 69)  # around row 40


def test_the_pictures_edge_is_repeated_beyond_it() -> None:
    [crop] = face_crops.cut_faces(numbered(40, 50), np.array([[0, 0, 10, 10]]), margin=0.5)
    assert crop.shape == (20, 20, 3)
    assert crop[0, :, 0].tolist() == [0] * 5 + list(range(15))
    assert crop[:, 0, 1].tolist() == [0] * 5 + list(range(15))


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 5], [-30, -30, -10, -10], [900, 900, 990, 990], [30, 30, 10, 10], [-1e9, -1e9, 1e9, 1e9]]
)
def test_whatever_a_detector_gives_makes_a_crop(box: list[float]) -> None:
    [crop] = face_crops.cut_faces(numbered(40, 50), np.array([box]), margin=0.2)
    assert 1 <= crop.shape[0] == crop.shape[1] <= 70


def test_no_boxes_make_no_crops() -> None:
    assert face_crops.cut_faces(numbered(40, 50), np.zeros((0, 4)), margin=0.2) == []
    assert face_crops.resize_crops([], 32).shape == (0, 32, 32, 3)


def test_a_crop_does_not_hold_the_pictures_memory() -> None:
    image = numbered(40, 50)
    [crop] = face_crops.cut_faces(image, np.array([[10, 10, 20, 20]]), margin=0.0)
    image[:] = 255
    assert crop.max() < 30


def test_crops_of_any_size_become_one_batch() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((7, 7, 3), (10, 20, 30), np.uint8)
    noise = rng.integers(0, 256, (256, 256, 3), np.uint8)
    batch = face_crops.resize_crops([flat, noise], 32)
    assert batch.shape == (2, 32, 32, 3) and batch.dtype == np.uint8
    assert (batch[0] == (10, 20, 30)).all()
    # Areas are averaged: of noise, 64 pixels a pixel, hardly anything is left. Sampled, it would stay noise.
    assert batch[1].std() < 15 < noise.std()
