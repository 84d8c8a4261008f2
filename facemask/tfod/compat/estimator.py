"""TensorFlow 2.16 removed `tf.estimator`, which the API's `inputs` and `model_lib` import for `ModeKeys`."""

from types import ModuleType
from typing import Any

from facemask.tfod.compat import imports

MODULE = "tensorflow.compat.v1"


def repair() -> None:
    """Add an `estimator` module that has only `ModeKeys` to `tensorflow.compat.v1`."""
    imports.after_import(MODULE, _add)


class ModeKeys:
    """The names of the modes that `tf.estimator.ModeKeys` had, which are TensorFlow's public constants."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


def _add(compat_v1: ModuleType) -> None:
    if hasattr(compat_v1, "estimator"):
        return
    stand_in = ModuleType(f"{MODULE}.estimator", "What is left of tf.estimator: the names of its modes.")
    stand_in.ModeKeys = ModeKeys  # type: ignore[attr-defined]
    stand_in.__getattr__ = _missing  # type: ignore[method-assign]
    compat_v1.estimator = stand_in  # type: ignore[attr-defined]


def _missing(name: str) -> Any:
    raise AttributeError(f"tf.estimator.{name} is gone since TensorFlow 2.16: use model_main_tf2 and exporter_main_v2")
