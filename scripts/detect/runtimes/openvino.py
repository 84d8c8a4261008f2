"""OpenVINO on the processor: the fastest way to run the exported model there. Needs no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.detect.outputs import NAMES, from_first
from scripts.support import hardware, openvino_model
from scripts.tfod.exported import ExportedModel

REQUESTS = 2
"""Pictures under way at once: while one is computed, another's is handed over or its boxes are taken out."""


@dataclass(frozen=True)
class OpenVinoDetector:
    """A `Detector` that runs a model converted to OpenVINO."""

    name: str
    label_map: LabelMap
    compiled: Any

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`."""
        # Requests of its own, so that threads can call this at the same time.
        requests = [self.compiled.create_infer_request() for _ in images[:REQUESTS]]
        found = []
        for i, image in enumerate(images[:REQUESTS]):
            _start(requests[i], image)
        for i, image in enumerate(images):
            request = requests[i % REQUESTS]
            request.wait()
            outputs = {name: request.get_tensor(name).data for name in NAMES}
            found.append(from_first(outputs, image, self.label_map))
            if i + REQUESTS < len(images):
                _start(request, images[i + REQUESTS])
        return found


def _start(request: Any, image: np.ndarray) -> None:
    request.start_async({"input_tensor": np.ascontiguousarray(image[np.newaxis])})


def load(model: ExportedModel, precision: str, folder: Path | None = None) -> OpenVinoDetector:
    """Load the OpenVINO form of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`; `bf16`, which is slower on a processor without bfloat16; or `int8`, which is a form of its
            own, and computes what is not quantised in it in bf16 where the processor has that.
        folder: Where `model.xml` is, if it is not in the exported model's folder.

    Raises:
        UserError: OpenVINO is not installed, or the model was not exported for it.
    """
    form = "int8" if precision == "int8" else "openvino"
    in_bf16 = precision == "bf16" or (precision == "int8" and hardware.cpu_has_bf16())
    again = f"`make export RUN={model.folder.name} FORMATS={form}` writes it."
    compiled = openvino_model.compiled(folder or model.folder / form, in_bf16, again)
    return OpenVinoDetector(f"openvino {precision}", model.label_map, compiled)
