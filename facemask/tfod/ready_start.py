"""The weights to train on of the detector that comes with facemask. Needs no network.

They are in the repository, `facemask/ready/training/`, and not in the installed package.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.provenance import READY
from facemask.ready import shipped_detector
from facemask.tfod import compact_checkpoint

STEPS, OPTIMIZER, LEARNING_RATE = 200, "adam", 0.0002
"""The defaults for training from the shipped detector, which takes minutes on a processor."""


@dataclass(frozen=True)
class ReadyStart:
    """The shipped weights to train on.

    Attributes:
        file: The file.
        model: The model, as MODEL= names it.
        size: Side of its input in pixels.
        anchor_scale: The anchor scale that its boxes were learned with.
    """

    file: Path
    model: str
    size: int
    anchor_scale: float


def read_ready_start(folder: Path = shipped_detector.FOLDER) -> ReadyStart:
    """The weights, checked against their digest.

    Raises:
        UserError: They are missing or damaged.
    """
    file = shipped_detector.training_weights(shipped_detector.DETECTOR, folder)
    about = compact_checkpoint.read_about(file)
    return ReadyStart(file, str(about["model"]), int(about["size"]), float(about["anchor_scale"]))


def find_ready_start(
    model: str, into: Path, *, folder: Path = shipped_detector.FOLDER, report: Callable[[str], None] = print
) -> Path:
    """The weights as a checkpoint of the API's.

    Args:
        model: The model to train.
        into: The folder of downloads, in which the checkpoint is written.
        folder: The folder of the shipped detector.
        report: Called with a line for the user.

    Returns:
        The checkpoint's prefix.

    Raises:
        UserError: The weights are missing, damaged, or of another model.
    """
    start = read_ready_start(folder)
    if start.model != model:
        raise UserError(f"CHECKPOINT={READY}: is a {start.model}, not MODEL={model}. Leave MODEL out.")
    prefix = compact_checkpoint.unpack_checkpoint(start.file, into)
    report(f"CHECKPOINT={READY}: {start.file}, unpacked to {prefix.parent}")
    return prefix
