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

from scripts.tfod.compat import control_flow, estimator, keras, protos, quiet, tensorflow_io

REPAIRS: dict[str, Callable[[], None]] = {
    "keras": keras.repair,
    "protos": protos.repair,
    "control_flow": control_flow.repair,
    "estimator": estimator.repair,
    "tensorflow_io": tensorflow_io.repair,
    "quiet": quiet.repair,
}
"""Every repair by its name. They do not depend on each other's order."""


def install(without: Collection[str] = ()) -> None:
    """Make `object_detection` importable and working in this process and in those it spawns.

    Call it before anything imports TensorFlow; calling it again does nothing.

    Args:
        without: Names of `REPAIRS` to leave out, so that tests can show what each is for.

    Raises:
        RuntimeError: TensorFlow was imported before and has bound `tf.keras` to Keras 3.
    """
    for name, repair in REPAIRS.items():
        if name not in without:
            repair()
