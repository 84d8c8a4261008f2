"""OpenVINO on the processor. Needs no TensorFlow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scripts.classify.exported import ExportedClassifier
from scripts.support import openvino_model


def load(model: ExportedClassifier, precision: str, folder: Path | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Load the OpenVINO form of an exported classifier.

    Args:
        model: The exported classifier.
        precision: `fp32` or `bf16`; on a processor without bfloat16 the latter is slower.
        folder: Where `model.xml` is, if it is not in the exported classifier's folder.

    Returns:
        From (n, size, size, 3) uint8 to (n, K) float32.

    Raises:
        UserError: OpenVINO is not installed, or the classifier was not exported for it.
    """
    again = f"`make classifier RUN={model.folder.name}` exports it again."
    compiled = openvino_model.compiled(folder or model.openvino, precision == "bf16", again)

    def run(batch: np.ndarray) -> np.ndarray:
        # A request of its own, so that threads can call this at the same time. It is copied from: its memory goes.
        return np.array(compiled.create_infer_request().infer({"crops": batch})[0], dtype=np.float32)

    return run
