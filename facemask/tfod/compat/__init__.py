"""Make the Object Detection API, last released for TensorFlow 2.8, run on TensorFlow 2.20.

No file of an installed package is changed. Each repair sets an environment variable or changes a module when it is
imported, so `install()` takes almost no time before TensorFlow is used. Each repair is one file, whose docstring names
the change in a library that made it necessary.

Example:
    >>> from facemask.tfod import compat
    >>> compat.install()
    >>> from object_detection.builders import model_builder
"""

from collections.abc import Callable, Collection

from facemask.tfod.compat import (
    control_flow,
    cuda_notice,
    dataset_map,
    estimator,
    keras,
    numpy_names,
    onednn,
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
    "onednn": onednn.repair,
}
"""Every repair by its name. Their order does not matter."""


def install(without: Collection[str] = ()) -> None:
    """Make `object_detection` importable and working in this process.

    It must be called before TensorFlow is imported. A second call does nothing. A process started with `spawn` must
    call it again; one started with `fork` need not.

    Args:
        without: Names of `REPAIRS` to leave out, so that tests can show that each is needed.

    Raises:
        RuntimeError: TensorFlow was imported before and has bound `tf.keras` to Keras 3.
    """
    for name, repair in REPAIRS.items():
        if name not in without:
            repair()
