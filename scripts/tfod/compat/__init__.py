"""Why the Object Detection API, last released for TensorFlow 2.8, runs on TensorFlow 2.20.

No file of an installed package is changed: each repair sets an environment variable or changes a module as it is
imported, so `install()` costs next to nothing until TensorFlow is really used. One repair a file; each file's first
words say which change in which library made it necessary.

Example:
    >>> from scripts.tfod import compat
    >>> compat.install()
    >>> from object_detection.builders import model_builder
"""

from collections.abc import Callable, Collection

from scripts.tfod.compat import (
    control_flow,
    cuda_notice,
    dataset_map,
    estimator,
    keras,
    numpy_names,
    pillow_fonts,
    protos,
    quiet,
    tensorflow_io,
)

REPAIRS: dict[str, Callable[[], None]] = {
    "keras": keras.repair,
    "protos": protos.repair,
    "control_flow": control_flow.repair,
    "estimator": estimator.repair,
    "tensorflow_io": tensorflow_io.repair,
    "dataset_map": dataset_map.repair,
    "numpy_names": numpy_names.repair,
    "pillow_fonts": pillow_fonts.repair,
    "cuda_notice": cuda_notice.repair,
    "quiet": quiet.repair,
}
"""Every repair by its name. Their order does not matter."""


def install(without: Collection[str] = ()) -> None:
    """Make `object_detection` importable and working in this process.

    Call it before anything imports TensorFlow; calling it again does nothing. A process started by `spawn` has to call
    it again, one made by `fork` has not.

    Args:
        without: Names of `REPAIRS` to leave out, so that tests can show what each is for.

    Raises:
        RuntimeError: TensorFlow was imported before and has bound `tf.keras` to Keras 3.
    """
    for name, repair in REPAIRS.items():
        if name not in without:
            repair()
