"""Save a run's checkpoints, and remove what an interrupted save left behind."""

import contextlib
import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.core.files import recover_folder, write_json
from facemask.tfod import distributed
from facemask.tfod.best_checkpoint import BEST

SAVING = ".saving.json"
"""The file that lists, during a save, the checkpoints that the save may write or remove."""


class CheckpointSaver:
    """Saves checkpoints at intervals. It refuses weights that are not finite, and keeps the last good checkpoint.

    Args:
        manager: The `tf.train.CheckpointManager`.
        model: The model.
        step: The step that was restored. It is not saved again.
        every: Steps between two checkpoints; 0 saves every `seconds`.
        seconds: Seconds between two checkpoints where `every` is 0.
        prepared: Returns a context in which the model has the weights to save.
    """

    def __init__(
        self,
        manager: Any,
        model: Any,
        step: int,
        every: int,
        seconds: float,
        prepared: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._manager = manager
        self._prepared = prepared
        self._model = model
        self._every = every
        self._seconds = seconds
        self._step = step
        self._time = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint is due at this step."""
        if self._every:
            return step % self._every == 0
        return time.monotonic() - self._time >= self._seconds

    def save(self, step: int) -> None:
        """Save the checkpoint of a step, once. Raises UserError if a weight is not finite or the disk is full."""
        import tensorflow as tf

        if step == self._step:
            return
        for variable in self._model.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(variable))):
                raise UserError(not_finite(f"the weight {variable.name}", step, self._manager.latest_checkpoint))
        folder = Path(self._manager.directory)
        touched = [f"ckpt-{step}", *(Path(prefix).name for prefix in self._manager.checkpoints)]
        try:
            write_json(folder / SAVING, touched)
            with self._prepared():
                self._manager.save(checkpoint_number=step)
            (folder / SAVING).unlink()
        except (tf.errors.OpError, OSError) as error:
            if distributed.is_lost_worker(error):
                raise
            remove_unfinished(folder)
            reason = why_not_written(error, folder)
            kept = self._manager.latest_checkpoint or "none yet"
            raise UserError(
                f"{folder}: the checkpoint of step {step} cannot be written: {reason}. The last good checkpoint is "
                f"{kept}. Free space, then run the same command again to continue from it."
            ) from None
        self._step, self._time = step, time.monotonic()


def remove_unfinished(folder: Path) -> None:
    """Remove the incomplete files of a process that was killed during a save.

    A checkpoint is removed if `SAVING` lists it and TensorFlow's state file does not name it. That file is written
    after the checkpoints that it names. Other files, such as a user's copies, are kept.
    """
    import tensorflow as tf

    recover_folder(folder / BEST)
    for left in [*folder.glob("temp_worker_*"), *folder.glob(f".{BEST}.*")]:
        shutil.rmtree(left, ignore_errors=True)
    saving = folder / SAVING
    if not saving.is_file():
        return
    state = tf.train.get_checkpoint_state(str(folder))
    named = {Path(path).name for path in state.all_model_checkpoint_paths} if state else set()
    whole = {name for name in named if (folder / f"{name}.index").is_file()}
    for name in json.loads(saving.read_text(encoding="utf-8")):
        shutil.rmtree(folder / f"{name}_temp", ignore_errors=True)
        if name not in whole:
            for file in folder.glob(f"{name}.*"):
                file.unlink()
    saving.unlink()


def why_not_written(error: Exception, folder: Path) -> str:
    """The reason, in a few words, why a checkpoint could not be written to `folder`."""
    if re.search("No space left|[Qq]uota exceeded", str(error)):
        return f"the disk is full ({shutil.disk_usage(folder).free / 2**20:.0f} MB free)"
    return re.sub(r"^\{\{.*?\}\} | \[Op:\w+\]$", "", str(error).splitlines()[0])  # its place in TensorFlow


def not_finite(what: str, step: int, latest: str | None) -> str:
    """The message for a loss or a weight that is not finite; `latest` is the prefix of the last checkpoint."""
    return (
        f"step {step}: {what} is not finite, so training stops. The last good checkpoint is {latest or 'none yet'}. "
        "Usual causes: LEARNING_RATE too high (try a third), too short a warm-up, or boxes that `make check` names; "
        "CLIP_GRADIENTS=10 often helps."
    )
