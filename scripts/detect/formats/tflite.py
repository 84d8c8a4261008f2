"""TensorFlow Lite's (LiteRT's) form of the model: builtin operations alone, non-maximum suppression too, in float32.

Input `input_tensor`: uint8 of shape (1, height, width, 3), a picture of any size, for which the interpreter is resized.
Outputs `detection_boxes`, `detection_scores`, `detection_classes` and `num_detections`, as the SavedModel's.

It is made from the checkpoint: the SavedModel prepares its pictures in a loop over the batch, in which there are
operations that TensorFlow Lite does not have. The API's own way to TensorFlow Lite, `export_tflite_graph_tf2`, leaves
non-maximum suppression to another operation, which finds other boxes; here it is the model's.
"""

import contextlib
import io
from pathlib import Path

from scripts.detect.outputs import NAMES
from scripts.tfod import exporting
from scripts.tfod.exported import ExportedModel


def write(model: ExportedModel, folder: Path) -> None:
    """Write `model.tflite` into `folder`."""
    detect, owner = exporting.detection_function(model, NAMES)

    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([detect], owner)
    # The other set, SELECT_TF_OPS, is one that the small interpreters do not have.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    with contextlib.redirect_stderr(io.StringIO()), exporting.without_warnings():
        content = converter.convert()
    (folder / "model.tflite").write_bytes(content)
