"""Run an exported classifier with LiteRT, one face at a time. Needs no TensorFlow."""

from collections.abc import Callable

import numpy as np

from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.core import litert_model

FILES = {form: f"tflite/{form}.tflite" for form in ("fp32", "dynamic", "int8")}
"""The file of each form of the network, relative to the exported classifier's folder."""


def load_tflite_classifier(model: ExportedClassifier, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Load the TensorFlow Lite file of an exported classifier.

    Args:
        model: The exported classifier.
        precision: One of `FILES`.

    Returns:
        A function from (n, size, size, 3) uint8 to (n, K) float32.

    Raises:
        UserError: LiteRT is not installed, or the file is missing or damaged.
    """
    network = litert_model.load_litert(
        model.folder / FILES[precision], f"`make small NAME={model.folder.name}` writes it."
    )

    def run(batch: np.ndarray) -> np.ndarray:
        # For another number of faces than before, the interpreter would plan its memory again.
        rows = [network(crops=batch[place : place + 1])["probabilities"] for place in range(len(batch))]
        return np.concatenate(rows)

    return run
