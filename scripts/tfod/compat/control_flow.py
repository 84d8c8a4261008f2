"""TensorFlow 2.14 no longer has `case`, `cond` and `while_loop` in `python/ops/control_flow_ops.py`.

tf-slim 1.1.0, whose TFExampleDecoder reads the API's records, still looks them up there.
"""

import importlib
from types import ModuleType
from typing import Any

from scripts.tfod.compat import imports

MODULE = "tensorflow.python.ops.control_flow_ops"
MOVED = {"case": "control_flow_case", "cond": "cond", "while_loop": "while_loop"}
"""Function -> the module beside `control_flow_ops` that has it now."""


def repair() -> None:
    """Let `control_flow_ops` find its former functions in their new modules."""
    imports.after(MODULE, _forward)


def _forward(module: ModuleType) -> None:
    # Found at the first use: the new modules import this one and cannot be imported while it is.
    def find(name: str) -> Any:
        if name not in MOVED:
            raise AttributeError(f"module {MODULE!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"tensorflow.python.ops.{MOVED[name]}"), name)

    module.__getattr__ = find  # type: ignore[method-assign]
