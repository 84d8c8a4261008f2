"""TensorFlow 2.16 made `tf.keras` Keras 3; the API's layers, models and optimisers are written for Keras 2.

Keras 2 lives on as the package tf-keras, which TensorFlow takes for `tf.keras` where TF_USE_LEGACY_KERAS is 1 when
`tensorflow` is imported.
"""

import os
import sys

VARIABLE = "TF_USE_LEGACY_KERAS"


def repair() -> None:
    """Ask for Keras 2; too late if TensorFlow has been imported with Keras 3."""
    # As TensorFlow's own __init__ reads it.
    chosen = os.environ.get(VARIABLE) in ("1", "True", "true")
    if "tensorflow" in sys.modules and not chosen:
        raise RuntimeError(
            "TensorFlow was imported with Keras 3 before scripts.tfod.compat.install() was called: "
            f"call it before the first `import tensorflow`, or set {VARIABLE}=1."
        )
    os.environ[VARIABLE] = "1"
