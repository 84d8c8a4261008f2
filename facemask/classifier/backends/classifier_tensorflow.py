"""Run the SavedModel of an exported classifier with TensorFlow."""

from collections.abc import Callable

import numpy as np

from facemask.classifier.exported_classifier import ExportedClassifier


def load_tensorflow_classifier(model: ExportedClassifier, precision: str) -> Callable[[np.ndarray], np.ndarray]:
    """Load the SavedModel of an exported classifier.

    Args:
        model: The exported classifier.
        precision: `fp32`.

    Returns:
        A function from (n, size, size, 3) uint8 to (n, K) float32.

    Raises:
        UserError: The SavedModel does not exist or cannot be loaded.
    """
    from facemask.tfod import saved_model

    loaded = saved_model.load_saved_model(
        model.saved_model, f"`make classifier RUN={model.folder.name}` exports it again."
    )
    import tensorflow as tf

    def run(batch: np.ndarray) -> np.ndarray:
        outputs = loaded.signatures["serving_default"](crops=tf.constant(batch))
        probabilities: np.ndarray = outputs["probabilities"].numpy()
        return probabilities

    return run
