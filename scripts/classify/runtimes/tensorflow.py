"""The SavedModel, run by TensorFlow."""

from collections.abc import Callable

import numpy as np

from scripts.classify.exported import ExportedClassifier
from scripts.support.errors import UserError
from scripts.tfod import compat


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
    # A SavedModel needs nothing of it, but a process in which TensorFlow was imported without it is closed to the API.
    compat.install()
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(f"TensorFlow cannot be loaded ({error}). `make setup` installs it.") from None

    try:
        loaded = tf.saved_model.load(str(model.saved_model))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"{model.saved_model}: cannot be loaded ({str(error).splitlines()[0]}). "
            f"`make classifier RUN={model.folder.name}` exports it again."
        ) from None

    def run(batch: np.ndarray) -> np.ndarray:
        outputs = loaded.signatures["serving_default"](crops=tf.constant(batch))
        probabilities: np.ndarray = outputs["probabilities"].numpy()
        return probabilities

    return run
