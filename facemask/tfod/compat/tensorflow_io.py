"""The last tensorflow-io, 0.37.1, is compiled against TensorFlow 2.16; its ops do not load on 2.20.

The API needs it for one loss of Deep-MAC, which this project does not use. But every import of `model_builder` imports
it too, which takes a second and prints several warnings.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

NAME = "tensorflow_io"


def repair() -> None:
    """Make `import tensorflow_io` return a stand-in that raises an error when it is used."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(NAME, self) if fullname == NAME else None

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = _missing  # type: ignore[method-assign]


def _missing(name: str) -> Any:
    raise AttributeError(f"{NAME}.{name} is not available: tensorflow-io has no build for this TensorFlow")
