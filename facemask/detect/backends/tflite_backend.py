"""TensorFlow Lite: builtin operations alone, non-maximum suppression too, in float32; run by LiteRT.

Input `input_tensor`: uint8 of shape (1, height, width, 3), a picture of any size, for which the interpreter is resized.
Outputs `detection_boxes`, `detection_scores`, `detection_classes` and `num_detections`, as the SavedModel's. Running it
needs no TensorFlow, writing it does.

It is made from the checkpoint, since the SavedModel prepares its pictures in a loop over the batch with operations that
TensorFlow Lite does not have. The API's own converter, `export_tflite_graph_tf2`, replaces non-maximum suppression by
another operation, which finds other boxes; this module keeps the model's.
"""

import contextlib
import io
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.core import hardware, native_output
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.label_map import LabelMap
from facemask.detect.model_outputs import NAMES, detections_from_outputs

FILE = "model.tflite"

_LOGGED = re.compile(rb"^INFO: ")
"""LiteRT logs that it uses the delegate XNNPACK."""


@dataclass(frozen=True)
class TfliteDetector:
    """A `RawDetector` that runs a model converted to TensorFlow Lite, one picture at a time: it is made for no more.

    If a picture has another size than the one before, the interpreter plans its memory again, which takes time.
    """

    name: str
    label_map: LabelMap
    signature: Any
    # An interpreter has one memory, so threads take turns.
    turn: threading.Lock = field(default_factory=threading.Lock)

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: np.ndarray) -> sv.Detections:
        with self.turn:
            outputs = self.signature(input_tensor=np.ascontiguousarray(image[np.newaxis]))
        return detections_from_outputs(outputs, image, self.label_map)


def load_tflite_detector(model: ExportedModel, precision: str, folder: Path | None = None) -> TfliteDetector:
    """Load the TensorFlow Lite form of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`.
        folder: Where `FILE` is, if it is not in the exported model's folder.

    Raises:
        UserError: LiteRT is not installed, or the model was not exported for it.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(f"LiteRT cannot be loaded ({error}). Install ai-edge-litert, or leave RUNTIME out.") from None
    path = (folder or model.folder / "tflite") / FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file. `make export RUN={model.folder.name} FORMATS=tflite` writes it.")
    try:
        with native_output.without_lines(_LOGGED):
            interpreter = Interpreter(str(path), num_threads=hardware.usable_cores())
            interpreter.allocate_tensors()  # so that it logs here and not at the first picture
            signature = interpreter.get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be loaded ({str(error).splitlines()[0]}). Run `make export` again.") from None
    return TfliteDetector(f"tflite {precision}", model.label_map, signature)


def export_tflite(model: ExportedModel, folder: Path) -> None:
    """Convert an exported model's checkpoint: write `FILE` into `folder`."""
    from facemask.tfod import saved_model_export

    detect, owner = saved_model_export.detection_function(model, NAMES)

    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([detect], owner)
    # The small interpreters do not support the other set, SELECT_TF_OPS.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    with contextlib.redirect_stderr(io.StringIO()), saved_model_export.without_warnings():
        content = converter.convert()
    (folder / FILE).write_bytes(content)
