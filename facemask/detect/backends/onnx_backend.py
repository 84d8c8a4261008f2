"""ONNX: the same operations as the SavedModel's, non-maximum suppression too, in float32; run by ONNX Runtime.

Input `input_tensor`: uint8 of shape (1, height, width, 3), a picture of any size. Outputs `detection_boxes`,
`detection_scores`, `detection_classes` and `num_detections`, as the SavedModel's of these names. Running it needs no
TensorFlow, writing it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.core import hardware
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.label_map import LabelMap
from facemask.detect.model_outputs import NAMES, detections_from_outputs

FILE = "model.onnx"

OPSET = 18
"""ONNX Runtime supports it from version 1.14 on. The model's operations already exist in opset 13."""


@dataclass(frozen=True)
class OnnxDetector:
    """A `RawDetector` that runs a model converted to ONNX, one picture at a time: it is made for no more."""

    name: str
    label_map: LabelMap
    session: Any

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: np.ndarray) -> sv.Detections:
        outputs = self.session.run(NAMES, {"input_tensor": np.ascontiguousarray(image[np.newaxis])})
        return detections_from_outputs(dict(zip(NAMES, outputs, strict=True)), image, self.label_map)


def load_onnx_detector(model: ExportedModel, precision: str, folder: Path | None = None) -> OnnxDetector:
    """Load the ONNX form of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`.
        folder: Where `FILE` is, if it is not in the exported model's folder.

    Raises:
        UserError: ONNX Runtime is not installed, or the model was not exported for it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            f"ONNX Runtime cannot be loaded ({error}). Install onnxruntime, or leave RUNTIME out."
        ) from None
    path = (folder or model.folder / "onnx") / FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file. `make export RUN={model.folder.name} FORMATS=onnx` writes it.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are about how the file could be smaller
    options.intra_op_num_threads = hardware.usable_cores()  # by itself, it does not see a container's limit
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # Its exceptions have no common base class.
    except Exception as error:
        raise UserError(f"{path}: cannot be loaded ({str(error).splitlines()[0]}). Run `make export` again.") from None
    return OnnxDetector(f"onnx {precision}", model.label_map, session)


def export_onnx(model: ExportedModel, folder: Path) -> None:
    """Convert an exported model's SavedModel: write `FILE` into `folder`."""
    from facemask.tfod import compat, raw_network

    compat.install()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model.saved_model))  # the function's variables live only as long as this
    function = loaded.signatures["serving_default"]
    proto = raw_network.convert_function(function, model.model, "input_tensor", NAMES, OPSET)
    (folder / FILE).write_bytes(proto.SerializeToString())
