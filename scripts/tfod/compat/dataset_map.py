"""TensorFlow 2 seeds the random ops of `Dataset.map`, not those of the deprecated `map_with_legacy_function`.

The API's dataset_builder maps its augmentation with the latter wherever a dataset has it, so that `tf.random.set_seed`
does not reach it: no two runs see the same crops, and `enable_op_determinism` refuses to run at all.
"""

from types import ModuleType

from scripts.tfod.compat import imports

MODULE = "tensorflow.python.data.ops.dataset_ops"
LEGACY = "map_with_legacy_function"


def repair() -> None:
    """Take the deprecated method away, so that the API maps with `Dataset.map`, as it does where there is none."""
    imports.after(MODULE, _remove)


def _remove(module: ModuleType) -> None:
    for kind in (module.DatasetV1, module.DatasetV2):
        if LEGACY in vars(kind):
            delattr(kind, LEGACY)
