"""Large pictures are reduced before the network, to what the network itself would make of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import tensorflow as tf
from made_networks import write_detector

from facemask.core.label_map import LabelMap
from facemask.detect import runtimes
from facemask.detect.reduction import ReducingDetector


class Recorder:
    """Keeps the pictures, and finds one box: the whole picture."""

    name = "recorder"
    label_map = LabelMap(("with_mask",))

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        self.images = list(images)
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        return [
            sv.Detections(
                xyxy=np.array([[0, 0, *size]], np.float32),
                confidence=np.ones(1, np.float32),
                class_id=np.ones(1, int),
                data={"class_name": np.array(["with_mask"])},
            )
            for size in sizes
        ]


@pytest.mark.parametrize("size", [(1920, 1080), (128, 128), (3000, 40)])
def test_a_large_picture_is_reduced_as_the_network_would(size: tuple[int, int]) -> None:
    recorder, draw = Recorder(), np.random.default_rng(0)
    image = draw.integers(0, 256, (size[1], size[0], 3), np.uint8)
    small = image[:40, :50]
    found = ReducingDetector(recorder, 64, 48).detect_all([small, image])
    assert recorder.images[0] is small
    expected = tf.image.resize(image[np.newaxis], (48, 64)).numpy()[0]  # as the API's resizer: bilinear
    assert recorder.images[1].shape == (48, 64, 3)
    assert np.abs(recorder.images[1] - expected).max() < 1.5, "rounded to whole grey levels"
    assert [one.xyxy.tolist() for one in found] == [[[0, 0, 50, 40]], [[0, 0, *size]]]


def test_a_network_that_keeps_the_aspect_ratio_gets_the_whole_picture(tmp_path: Path) -> None:
    folder = write_detector(tmp_path / "wide")
    assert isinstance(runtimes.load_model(folder, "openvino", "fp32"), ReducingDetector)
    (folder / "pipeline.config").write_text("model { ssd { image_resizer { keep_aspect_ratio_resizer { } } } }")
    assert not isinstance(runtimes.load_model(folder, "openvino", "fp32"), ReducingDetector)
