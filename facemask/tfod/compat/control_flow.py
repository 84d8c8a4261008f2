"""TensorFlow 2.14 no longer has `case`, `cond` and `while_loop` in `python/ops/control_flow_ops.py`.

tf-slim 1.1.0, whose TFExampleDecoder reads the API's records, still looks them up there.
"""

import importlib
from types import ModuleType
from typing import Any

from facemask.tfod.compat import imports

MODULE = "tensorflow.python.ops.control_flow_ops"
MOVED = {"case": "control_flow_case", "cond": "cond", "while_loop": "while_loop"}
"""The module in `tensorflow.python.ops` that now contains each function."""


def repair() -> None:
    """Let `control_flow_ops` find its former functions in their new modules."""
    imports.after_import(MODULE, _forward)


def _forward(module: ModuleType) -> None:
    # Looked up at the first use, because the new modules import this one.
    def find(name: str) -> Any:
        if name not in MOVED:
            raise AttributeError(f"module {MODULE!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"tensorflow.python.ops.{MOVED[name]}"), name)

    module.__getattr__ = find  # type: ignore[method-assign]
