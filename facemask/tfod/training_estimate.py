"""Estimate the disk space of a run from the model's variables, and its memory from the size of the input."""

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from facemask.core import hardware
from facemask.core.errors import UserError
from facemask.tfod.pipeline_config import Settings

_BASE_MEMORY = 2.0e9
_MEMORY_PER_PIXEL = {True: 2300.0, False: 3600.0}
"""Bytes per input pixel at the peak, in bfloat16 (True) and float32, of SSD ResNet50 FPN, the largest SSD."""


def bytes_of_variables(variables: Iterable[Any]) -> int:
    """The bytes of TensorFlow variables, which are the size of a checkpoint of them."""
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)


def bytes_of_files(paths: Iterable[Path]) -> int:
    """The bytes of files on disk. A file with several names counts once, because `best/` has hard links.

    A file that is no longer there counts nothing: a training removes its older checkpoints.
    """
    sizes: dict[tuple[int, int], int] = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def refuse_too_little_disk(checkpoint: int, kept: int, folder: Path) -> None:
    """Refuse a run whose checkpoints would not fit on the disk of its folder.

    Args:
        checkpoint: Bytes of one checkpoint.
        kept: The most checkpoints in the folder at the same time, including the one that is being written.
        folder: The run's folder.

    Raises:
        UserError: The free space and the present checkpoints' space are less than `kept` checkpoints need.
    """
    needed = checkpoint * kept
    have = bytes_of_files(folder.rglob("ckpt-*.*"))
    free = shutil.disk_usage(folder).free
    if free + have < needed:
        raise UserError(
            f"{folder}: its disk has {free / 1e9:.1f} GB free, the run's checkpoints need {needed / 1e9:.1f}. "
            "Make room, or put workspace/ on another disk."
        )


def memory_warning(settings: Settings, bf16: bool) -> str | None:
    """A warning if the run may need more memory than is free, else None. The memory of GPUs is not considered."""
    needed = _BASE_MEMORY + settings.batch * settings.size**2 * _MEMORY_PER_PIXEL[bf16]
    free = hardware.memory_free()
    if needed <= free:
        return None
    return (
        f"warning: training needs about {needed / 1e9:.0f} GB of memory, {free / 1e9:.0f} are free; a smaller BATCH or "
        "SIZE needs less"
    )
