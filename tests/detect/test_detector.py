from pathlib import Path

import numpy as np
import pytest

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.detect.model_outputs import to_detections
from facemask.detect.opened_detector import open_detector

LABELS = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))


def test_outputs_become_pixels_names_and_order() -> None:
    boxes = np.array([[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0]], dtype=np.float32)
    found = to_detections(boxes, np.array([0.3, 0.9]), np.array([1.0, 3.0]), height=100, width=200, label_map=LABELS)
    np.testing.assert_allclose(found.xyxy, [[0, 0, 200, 100], [40, 10, 120, 50]], rtol=1e-6)
    np.testing.assert_allclose(found.confidence, [0.9, 0.3], rtol=1e-6)
    assert found.class_id.tolist() == [3, 1]
    assert found["class_name"].tolist() == ["mask_weared_incorrect", "with_mask"]


def test_no_outputs_are_empty_detections() -> None:
    found = to_detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0), height=10, width=10, label_map=LABELS)
    assert len(found) == 0 and found.xyxy.shape == (0, 4) and len(found["class_name"]) == 0


def test_saved_model_gives_what_its_signature_gives(tiny_exported: Path) -> None:
    import tensorflow as tf

    detector = open_detector(tiny_exported, "tensorflow")
    images = [
        np.random.default_rng(i).integers(0, 256, size, np.uint8) for i, size in enumerate([(90, 160, 3), (50, 40, 3)])
    ]
    found = detector.detect_all(images)
    assert detector.label_map == LABELS
    signature = tf.saved_model.load(str(tiny_exported / "saved_model"))
    for image, detections in zip(images, found, strict=True):
        raw = signature.signatures["serving_default"](input_tensor=image[np.newaxis])
        count = int(raw["num_detections"][0])
        assert len(detections) == count > 0
        height, width, _ = image.shape
        pixels = raw["detection_boxes"][0, :count].numpy()[:, [1, 0, 3, 2]] * [width, height, width, height]
        np.testing.assert_allclose(np.sort(detections.xyxy, axis=0), np.sort(pixels, axis=0), rtol=1e-4, atol=1e-3)
        assert sorted(detections.class_id) == sorted(raw["detection_classes"][0, :count].numpy().astype(int))
        assert (np.diff(detections.confidence) <= 0).all()


def test_what_cannot_be_opened_is_named(tiny_exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        open_detector(tmp_path)
    with pytest.raises(UserError, match="warp"):
        open_detector(tiny_exported, "warp")
    with pytest.raises(UserError, match="int3"):
        open_detector(tiny_exported, "tensorflow", "int3")
    (tmp_path / "model.json").write_bytes((tiny_exported / "model.json").read_bytes())
    with pytest.raises(UserError, match="saved_model"):
        open_detector(tmp_path, "tensorflow")
