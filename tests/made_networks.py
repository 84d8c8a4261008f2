"""A detector and a classifier of a few operations, exported for OpenVINO: made in no time, without TensorFlow."""

from pathlib import Path

import numpy as np

from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.core.exported_model import ExportedModel
from facemask.core.label_map import LabelMap

CLASSES = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))


def write_detector(folder: Path, run: str = "default", best: float = 1) -> Path:
    """It finds a face of each class, in other places, that score the brightness of the picture times `best`, a half and
    a quarter of it."""
    import openvino as ov
    from openvino import opset13 as ops

    picture = ops.parameter([1, -1, -1, 3], np.uint8, name="input_tensor")
    picture.output(0).get_tensor().set_names({"input_tensor"})
    brightness = ops.divide(
        ops.reduce_mean(ops.convert(picture, np.float32), np.array([1, 2, 3]), False), np.float32(255)
    )
    boxes = np.array([[0.1, 0.1, 0.4, 0.3], [0.5, 0.5, 0.9, 0.7], [0.1, 0.6, 0.3, 0.8]], np.float32)
    outputs = {
        "detection_boxes": ops.constant(boxes[np.newaxis]),
        "detection_scores": ops.multiply(brightness, ops.constant(best * np.array([[1, 0.5, 0.25]], np.float32))),
        "detection_classes": ops.constant(np.array([[1, 2, 3]], np.float32)),
        "num_detections": ops.constant(np.array([3], np.float32)),
    }
    results = []
    for name, value in outputs.items():
        results.append(ops.result(value))
        results[-1].output(0).get_tensor().set_names({name})
    _save(ov, ov.Model(results, [picture]), folder)
    ExportedModel(folder, "made", CLASSES, 64, 64, run, 1, "none").write({})
    return folder


def write_classifier(folder: Path) -> Path:
    """It takes a face for the class of its strongest colour: red, green, blue."""
    import openvino as ov
    from openvino import opset13 as ops

    crops = ops.parameter([-1, 32, 32, 3], np.uint8, name="crops")
    crops.output(0).get_tensor().set_names({"crops"})
    colour = ops.reduce_mean(ops.convert(crops, np.float32), np.array([1, 2]), False)
    logits = ops.matmul(colour, ops.constant(np.eye(3, dtype=np.float32) / 50), False, False)
    _save(ov, ov.Model([ops.softmax(logits, 1)], [crops]), folder)
    ExportedClassifier(folder, "mobilenet_v2", CLASSES, 32, 0.2, "classifier", {}).write({})
    return folder


def _save(ov, network, folder: Path) -> None:
    (folder / "openvino").mkdir(parents=True)
    ov.save_model(network, folder / "openvino" / "model.xml", compress_to_fp16=False)
