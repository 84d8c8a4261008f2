"""NumPy 1.24 removed the alias `np.float`, NumPy 2.0 `np.NAN`; the API's Pascal VOC metrics still use both."""

from types import ModuleType

from facemask.tfod.compat import imports

MODULE = "object_detection.utils.metrics"


def repair() -> None:
    """Give that module a copy of the NumPy module with the old names. NumPy itself is not changed."""
    imports.after_import(MODULE, _add)


def _add(module: ModuleType) -> None:
    numpy = module.np
    stand_in = ModuleType(numpy.__name__)
    vars(stand_in).update(vars(numpy), float=float, NAN=numpy.nan)
    module.np = stand_in  # type: ignore[attr-defined]
