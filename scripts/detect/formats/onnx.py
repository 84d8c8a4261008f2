"""ONNX's form of the SavedModel: the same operations, non-maximum suppression too, in float32.

Input `input_tensor`: uint8 of shape (1, height, width, 3), a picture of any size. Outputs `detection_boxes`,
`detection_scores`, `detection_classes` and `num_detections`, as the SavedModel's of these names.
"""

import logging
from pathlib import Path

from scripts.detect.outputs import NAMES
from scripts.tfod import compat, exporting
from scripts.tfod.exported import ExportedModel

OPSET = 18
"""Taken by ONNX Runtime from 1.14 on; what the model needs is in 13 already."""


def write(model: ExportedModel, folder: Path) -> None:
    """Write `model.onnx` into `folder`."""
    compat.install()
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)  # it tells of every pass of its optimizer
    loaded = tf.saved_model.load(str(model.saved_model))
    signature = loaded.signatures["serving_default"]
    with exporting.without_warnings():
        # What tf2onnx.convert.from_function does, which would name the outputs Identity, Identity_1, ...
        frozen = convert_variables_to_constants_v2(signature, lower_control_flow=False, aggressive_inlining=True)
        (taken,) = frozen.inputs
        given = dict(zip(sorted(signature.structured_outputs), (output.name for output in frozen.outputs), strict=True))
        tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            name=model.model,
            input_names=[taken.name],
            output_names=[given[name] for name in NAMES],
            tensors_to_rename={taken.name: "input_tensor"} | {given[name]: name for name in NAMES},
            opset=OPSET,
            output_path=str(folder / "model.onnx"),
        )
