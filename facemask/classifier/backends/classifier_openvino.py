"""Run an exported classifier with OpenVINO on the processor. Needs no TensorFlow."""

from collections.abc import Callable

import numpy as np

from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.core import openvino_model


def load_openvino_classifier(model: ExportedClassifier, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Load the OpenVINO format of an exported classifier.

    Args:
        model: The exported classifier.
        precision: `fp32` or `bf16`; bf16 is slower on a processor without native bfloat16.

    Returns:
        A function from (n, size, size, 3) uint8 to (n, K) float32.

    Raises:
        UserError: OpenVINO is not installed, or the classifier was not exported for it.
    """
    again = f"`make classifier RUN={model.folder.name}` exports it again."
    compiled = openvino_model.compile_openvino(model.openvino, precision == "bf16", again)

    def run(batch: np.ndarray) -> np.ndarray:
        # A new request for each call lets threads call this at the same time. The result is copied because the
        # request owns the memory.
        return np.array(compiled.create_infer_request().infer({"crops": batch})[0], dtype=np.float32)

    return run
