"""The SavedModel, run by TensorFlow."""

from collections.abc import Callable

import numpy as np

from scripts.classify.exported import ExportedClassifier
from scripts.tfod import saved_model


def load(model: ExportedClassifier, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Load the SavedModel of an exported classifier.

    Args:
        model: The exported classifier.
        precision: `fp32`.

    Returns:
        From (n, size, size, 3) uint8 to (n, K) float32.

    Raises:
        UserError: There is none, or it cannot be loaded.
    """
    loaded = saved_model.load(model.saved_model, f"`make classifier RUN={model.folder.name}` exports it again.")
    import tensorflow as tf

    def run(batch: np.ndarray) -> np.ndarray:
        outputs = loaded.signatures["serving_default"](crops=tf.constant(batch))
        probabilities: np.ndarray = outputs["probabilities"].numpy()
        return probabilities

    return run
