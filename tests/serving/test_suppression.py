"""The page's JavaScript and Python give the same boxes for the same outputs of an SSD."""

from pathlib import Path

import cv2
import numpy as np
from page_code import assert_same, needs_node, photographs, run_javascript

from facemask.core import openvino_model
from facemask.core.exported_model import read_exported_model
from facemask.core.label_map import LabelMap
from facemask.data.drawn_sample import draw_picture
from facemask.detect.model_outputs import NAMES, detections_from_outputs, to_detections
from facemask.detect.opened_detector import one_box_per_face
from facemask.detect.score_thresholds import above_thresholds
from facemask.ready import shipped_detector

pytestmark = needs_node


def test_the_outputs_of_the_shipped_ssd(tmp_path: Path):
    """What its own suppression keeps, in Python's runtime, and what the page keeps of the outputs before it."""
    model = read_exported_model(shipped_detector.FOLDER / shipped_detector.DETECTOR)
    request = openvino_model.compile_openvino(model.openvino, False, "").create_infer_request()
    settings = {"iou": 0.6, "leastScore": 0.01, "mostPerClass": 115, "most": 115, "background": True}
    for image in [draw_picture(seed=0, index=0).image, *photographs()]:
        request.infer({"input_tensor": image[np.newaxis]})
        names = (*NAMES, "raw_detection_boxes", "raw_detection_scores")
        outputs = {name: request.get_tensor(name).data for name in names}
        raw_boxes, raw_scores = outputs["raw_detection_boxes"][0], outputs["raw_detection_scores"][0]
        all_found = detections_from_outputs(outputs, image, model.label_map)
        assert len(all_found) > 5
        for thresholds in ([0.01] * 3, [0.2, 0.1, 0.05]):
            expected = above_thresholds(one_box_per_face(all_found), thresholds)
            raw = {"boxes": raw_boxes, "scores": raw_scores}
            found = run_javascript("selectBoxes", tmp_path, image, raw, thresholds=thresholds, settings=settings)
            assert_same(found, expected)


def test_crowded_faces_of_all_classes(tmp_path: Path):
    """Faces that overlap in and between the classes, against OpenCV's suppression class by class."""
    dice = np.random.default_rng(3)
    label_map = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))
    centres = dice.uniform(0, 1, (40, 2)).repeat(12, axis=0) + dice.normal(0, 0.01, (480, 2))
    sides = dice.uniform(0.05, 0.2, (40, 2)).repeat(12, axis=0) * dice.uniform(0.8, 1.2, (480, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)
    scores = dice.uniform(0, 1, (480, 4)).astype(np.float32) ** 2
    kept = [
        (boxes[i].clip(0, 1), scores[i, class_id], class_id)
        for class_id in (1, 2, 3)
        for i in suppressed(boxes, scores[:, class_id])
    ]
    kept = sorted((one for one in kept if np.prod(one[0][2:] - one[0][:2]) > 0), key=lambda one: -one[1])[:100]
    columns = [np.array(column) for column in zip(*kept, strict=True)]
    expected = one_box_per_face(to_detections(*columns, 150, 200, label_map))
    expected = above_thresholds(expected, [0.3, 0.5, 0.2])
    settings = {"iou": 0.6, "leastScore": 0.01, "mostPerClass": 100, "most": 100, "background": True}
    image = np.zeros((150, 200, 3), np.uint8)
    raw = {"boxes": boxes, "scores": scores}
    found = run_javascript("selectBoxes", tmp_path, image, raw, thresholds=[0.3, 0.5, 0.2], settings=settings)
    assert 10 < len(found) < 60
    assert_same(found, expected)


def suppressed(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The anchors that OpenCV's suppression keeps at an IoU of 0.6 and a score of 0.01, 100 at most."""
    corners, sides = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    shapes = np.concatenate([corners, sides], axis=1).astype(float).tolist()
    return np.asarray(cv2.dnn.NMSBoxes(shapes, scores.tolist(), 0.01, 0.6)).ravel()[:100]


def legacy_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """What `tf.compat.v1.image.resize_images` computes, which the API's resizers call."""

    def positions(size: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        exact = np.arange(new, dtype=np.float32) * np.float32(size / new)
        low = np.floor(exact).astype(int)
        return low, np.minimum(low + 1, size - 1), exact - low

    pixels = image.astype(np.float32)
    top, bottom, down = positions(image.shape[0], height)
    left, right, across = positions(image.shape[1], width)
    rows = pixels[top] + (pixels[bottom] - pixels[top]) * down[:, None, None]
    return rows[:, left] + (rows[:, right] - rows[:, left]) * across[None, :, None]


def test_pictures_are_resized_as_the_network_does(tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8)
    run_javascript("resampling", tmp_path, image, {}, toWidth=128, toHeight=96)
    resized = np.fromfile(tmp_path / "legacyBilinear", np.float32).reshape(96, 128, 3)
    assert np.abs(resized - legacy_bilinear(image, 96, 128)).max() < 0.01
