"""OpenVINO on the processor: the fastest way to run the exported model there. Needs no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.detect.outputs import to_detections
from scripts.support.errors import UserError
from scripts.tfod.exported import ExportedModel

_HINTS = {"fp32": "f32", "bf16": "bf16"}


@dataclass(frozen=True)
class OpenVinoDetector:
    """A `Detector` that runs a model converted to OpenVINO, one picture at a time."""

    name: str
    label_map: LabelMap
    compiled: Any

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`."""
        # A request of its own, so that threads can call this at the same time.
        request = self.compiled.create_infer_request()
        return [self._detect(request, image) for image in images]

    def _detect(self, request: Any, image: np.ndarray) -> sv.Detections:
        outputs = request.infer({"input_tensor": np.ascontiguousarray(image[np.newaxis])})
        count = int(outputs["num_detections"][0])
        boxes, scores, classes = (outputs[f"detection_{name}"][0, :count] for name in ("boxes", "scores", "classes"))
        return to_detections(boxes, scores, classes, image.shape[0], image.shape[1], self.label_map)


def load(model: ExportedModel, precision: str, folder: Path | None = None) -> OpenVinoDetector:
    """Load the OpenVINO form of an exported model.

    Args:
        model: The exported model.
        precision: `fp32` or `bf16`; on a processor without bfloat16 the latter is slower.
        folder: Where `model.xml` is, if it is not in the exported model's folder.

    Raises:
        UserError: OpenVINO is not installed, or the model was not exported for it.
    """
    try:
        import openvino as ov
    except ImportError as error:
        raise UserError(f"OpenVINO cannot be loaded ({error}). RUNTIME=tensorflow does without it.") from None
    path = (folder or model.openvino) / "model.xml"
    if not path.is_file():
        raise UserError(f"{path}: no such file. `make export RUN={model.folder.name} FORMATS=openvino` writes it.")
    options = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    try:
        compiled = ov.Core().compile_model(path, "CPU", options)
    except RuntimeError as error:
        raise UserError(f"{path}: cannot be loaded ({str(error).splitlines()[-1]}). Run `make export` again.") from None
    return OpenVinoDetector(f"openvino {precision}", model.label_map, compiled)
