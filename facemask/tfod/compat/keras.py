"""TensorFlow 2.16 made `tf.keras` Keras 3; the API's layers, models and optimisers are written for Keras 2.

Keras 2 is still maintained as the package tf-keras. TensorFlow uses it for `tf.keras` if TF_USE_LEGACY_KERAS is 1 when
`tensorflow` is imported.
"""

import os
import sys

VARIABLE = "TF_USE_LEGACY_KERAS"


def repair() -> None:
    """Select Keras 2. Raises RuntimeError if TensorFlow was already imported with Keras 3."""
    # As TensorFlow's own __init__ reads it.
    chosen = os.environ.get(VARIABLE) in ("1", "True", "true")
    if "tensorflow" in sys.modules and not chosen:
        raise RuntimeError(
            "TensorFlow was imported with Keras 3 before facemask.tfod.compat.install() was called: "
            f"call it before the first `import tensorflow`, or set {VARIABLE}=1."
        )
    os.environ[VARIABLE] = "1"
