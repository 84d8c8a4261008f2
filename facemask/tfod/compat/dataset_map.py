"""TensorFlow 2 seeds the random ops of `Dataset.map`, but not those of the deprecated `map_with_legacy_function`.

The API's dataset_builder uses the latter for its augmentation if a dataset has it. `tf.random.set_seed` then has no
effect on the augmentation, so that runs with the same seed differ, and `enable_op_determinism` raises an error.
"""

from types import ModuleType

from facemask.tfod.compat import imports

MODULE = "tensorflow.python.data.ops.dataset_ops"
LEGACY = "map_with_legacy_function"


def repair() -> None:
    """Remove the deprecated method. The API then uses `Dataset.map`."""
    imports.after_import(MODULE, _remove)


def _remove(module: ModuleType) -> None:
    for kind in (module.DatasetV1, module.DatasetV2):
        if LEGACY in vars(kind):
            delattr(kind, LEGACY)
