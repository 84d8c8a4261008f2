import numpy as np
import pytest

from facemask.data import anchors
from facemask.data.anchors import Anchors


def boxes(count: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres, sides = rng.uniform(0, 1, (count, 2)), np.exp(rng.uniform(np.log(0.005), np.log(0.9), (count, 2)))
    found = np.clip(np.hstack([centres - sides / 2, centres + sides / 2]), 0, 1)
    return found[np.prod(found[:, 2:] - found[:, :2], axis=1) > 0]


def test_by_hand():
    # The only anchor: a square of 16 pixels around each cell's centre of 8 pixels.
    one = Anchors(size=32, scale=2, min_level=3, max_level=3, aspect_ratios=(1.0,), scales_per_octave=1)
    centred, shifted, half = [4, 4, 20, 20], [8, 4, 24, 20], [4, 4, 12, 20]
    # The second is 4 pixels from the nearest centres: 12 x 16 pixels in common of 2 x 256 - 12 x 16.
    expected = [1, 192 / 320, 0.5]
    assert np.allclose(anchors.best_iou(np.array([centred, shifted, half]) / 32, one), expected)
    assert anchors.anchor_coverage(np.array([centred, half]) / 32, one) == 1
    assert anchors.anchor_coverage(np.zeros((0, 4)), one) == 1


@pytest.mark.parametrize(("size", "scale"), [(640, 4), (448, 2), (320, 3)])
def test_the_same_as_with_the_apis_anchors(size: int, scale: float):
    from object_detection.anchor_generators.multiscale_grid_anchor_generator import MultiscaleGridAnchorGenerator

    generator = MultiscaleGridAnchorGenerator(3, 7, float(scale), [1.0, 2.0, 0.5], 2, normalize_coordinates=False)
    shapes = [(-(-size // 2**level),) * 2 for level in range(3, 8)]
    grids = generator.generate(shapes, im_height=size, im_width=size)
    every = np.concatenate([grid.get().numpy() for grid in grids]).astype(np.float64)[:, [1, 0, 3, 2]]
    expected = []
    for xmin, ymin, xmax, ymax in boxes(100) * size:
        width = np.minimum(xmax, every[:, 2]) - np.maximum(xmin, every[:, 0])
        height = np.minimum(ymax, every[:, 3]) - np.maximum(ymin, every[:, 1])
        shared = np.clip(width, 0, None) * np.clip(height, 0, None)
        area = np.prod(every[:, 2:] - every[:, :2], axis=1) + (xmax - xmin) * (ymax - ymin)
        expected.append((shared / (area - shared)).max())
    assert np.allclose(anchors.best_iou(boxes(100), Anchors(size, scale)), expected, atol=1e-5)


def test_by_scale_includes_the_configured_one():
    found = anchors.coverage_by_scale(boxes(), Anchors(640, 2.2))
    assert list(found) == sorted([*anchors.SCALES, 2.2])
    assert found[2.2] == anchors.anchor_coverage(boxes(), Anchors(640, 2.2))
