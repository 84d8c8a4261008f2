import numpy as np
import pytest

from facemask.classifier import face_crops


def numbered(height: int, width: int) -> np.ndarray:
    """A picture in which each pixel says where it is: red its column, green its row."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


def test_a_crop_is_a_square_around_the_boxs_centre() -> None:
    [crop] = face_crops.cut_faces(numbered(100, 200), np.array([[60, 20, 80, 60]]), margin=0.25, size=60)
    assert crop.shape == (60, 60, 3)  # the longer side and a quarter of it on each side
    assert (crop[0, 0, 0], crop[0, -1, 0]) == (40, 99)  # around column 70
    assert (crop[0, 0, 1], crop[-1, 0, 1]) == (10, 69)  # around row 40


@pytest.mark.parametrize("size", [20, 80])
def test_the_pictures_edge_is_repeated_beyond_it(size: int) -> None:
    [crop] = face_crops.cut_faces(numbered(40, 50), np.array([[0, 0, 10, 10]]), margin=0.5, size=size)
    columns = crop.reshape(20, size // 20, size, 3).mean(axis=(0, 1))[:, 0].reshape(20, -1).mean(axis=1)
    np.testing.assert_allclose(columns, [0] * 5 + list(range(15)), atol=0.3)
    rows = crop[:, :, 1].mean(axis=1).reshape(20, -1).mean(axis=1)
    np.testing.assert_allclose(rows, [0] * 5 + list(range(15)), atol=0.3)


@pytest.mark.parametrize("left", [30.0, 30.25, 30.5, 30.9, -2.3, 71.6])
def test_an_enlarged_crop_is_cut_to_the_fraction_of_a_pixel(left: float) -> None:
    image = np.repeat(np.repeat((3 * np.arange(80)[None, :, None]).astype(np.uint8), 60, axis=0), 3, axis=2)
    image[..., 1] = 2 * np.arange(60)[:, None]
    box = np.array([[left, 20.3, left + 10, 30.3]])
    [crop] = face_crops.cut_faces(image, box, margin=0.0, size=100)
    x0, x1 = np.clip([left, left + 10], 0, 80)
    left, top = (x0 + x1 - 10) / 2, 20.3  # a clipped box is still a square of its longer side, which is its height
    places = np.clip(
        np.stack([left + (np.arange(100) + 0.5) / 10 - 0.5, top + (np.arange(100) + 0.5) / 10 - 0.5]), 0, None
    )
    np.testing.assert_allclose(crop[50, :, 0], 3 * np.minimum(places[0], 79), atol=1)
    np.testing.assert_allclose(crop[:, 50, 1], 2 * places[1], atol=1)


@pytest.mark.parametrize("size", [1, 32, 500])
@pytest.mark.parametrize(
    "box", [[5, 5, 5, 5], [-30, -30, -10, -10], [900, 900, 990, 990], [30, 30, 10, 10], [-1e9, -1e9, 1e9, 1e9]]
)
def test_whatever_a_detector_gives_makes_a_crop(box: list[float], size: int) -> None:
    [crop] = face_crops.cut_faces(numbered(40, 50), np.array([box]), margin=0.2, size=size)
    assert crop.shape == (size, size, 3) and crop[..., 0].max() < 50 and crop[..., 1].max() < 40


def test_faces_of_a_picture_larger_than_opencv_warps() -> None:
    image = np.zeros((20, 40_000, 3), np.uint8)
    image[:, 39_000:] = 200
    [crop] = face_crops.cut_faces(image, np.array([[38_995, 5, 39_005, 15]]), margin=0.0, size=40)
    assert (crop[20, 0].max(), crop[20, -1].min()) == (0, 200)


def test_no_boxes_make_no_crops() -> None:
    assert face_crops.cut_faces(numbered(40, 50), np.zeros((0, 4)), margin=0.2, size=32).shape == (0, 32, 32, 3)


def test_crops_of_any_size_become_one_batch() -> None:
    rng = np.random.default_rng(0)
    flat = np.full((7, 7, 3), (10, 20, 30), np.uint8)
    noise = rng.integers(0, 256, (256, 256, 3), np.uint8)
    batch = face_crops.resize_crops([flat, noise], 32)
    assert batch.shape == (2, 32, 32, 3) and batch.dtype == np.uint8
    assert (batch[0] == (10, 20, 30)).all()
    # Areas are averaged: of noise, 64 pixels a pixel, hardly anything is left. Sampled, it would stay noise.
    assert batch[1].std() < 15 < noise.std()
