"""ONNX Runtime on the processor. Needs no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.detect.outputs import NAMES, from_first
from scripts.support.errors import UserError
from scripts.tfod.exported import ExportedModel


@dataclass(frozen=True)
class OnnxDetector:
    """A `Detector` that runs a model converted to ONNX, one picture at a time: it is made for no more."""

    name: str
    label_map: LabelMap
    session: Any

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        outputs = self.session.run(NAMES, {"input_tensor": np.ascontiguousarray(image[np.newaxis])})
        return from_first(dict(zip(NAMES, outputs, strict=True)), image, self.label_map)


def load(model: ExportedModel, precision: str, folder: Path | None = None) -> OnnxDetector:
    """Load the ONNX form of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`.
        folder: Where `model.onnx` is, if it is not in the exported model's folder.

    Raises:
        UserError: ONNX Runtime is not installed, or the model was not exported for it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX Runtime cannot be loaded ({error}). RUNTIME=tensorflow does without it.") from None
    path = (folder or model.folder / "onnx") / "model.onnx"
    if not path.is_file():
        raise UserError(f"{path}: no such file. `make export RUN={model.folder.name} FORMATS=onnx` writes it.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # its warnings are about how the file could be smaller
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # Its exceptions have no base of their own.
    except Exception as error:
        raise UserError(f"{path}: cannot be loaded ({str(error).splitlines()[0]}). Run `make export` again.") from None
    return OnnxDetector(f"onnx {precision}", model.label_map, session)
