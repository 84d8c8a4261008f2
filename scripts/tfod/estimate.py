"""What a run will cost, before its first step: time, disk and memory."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.support import hardware
from scripts.support.errors import UserError
from scripts.tfod.pipeline_config import Settings
from scripts.tfod.progress import clock

_PARAMETERS = 32_000_000
_SLOTS = {"momentum": 1, "adam": 2}
_KEPT = 5  # the latest three, the best, and the one that is being written
# How many of each probe a step takes. Fitted on 2 cores of an Intel Xeon with AMX to the seconds a step of six runs: in
# bfloat16 0.33 (160 px, batch 4), 1.28 (448, 4), 1.54 (576, 3), 1.30 (640, 2), 1.54 (704, 2), in float32 2.85 (640, 2).
_CONVOLUTIONS = 55.0
_NORMALISATIONS = 215.0
_UPDATES = 11.0
_BASE_MEMORY = 2.0e9
_MEMORY_PER_PIXEL = {True: 2300.0, False: 3600.0}
_TRACING = 45.0


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        seconds: Time in all, from measuring parts of a step here; a half to a double of it is usual.
        disk: Bytes of checkpoints.
        memory: Bytes of memory at the peak (of the GPU's where there is one).
    """

    seconds: float
    disk: int
    memory: int

    def __str__(self) -> str:
        """One line for the user."""
        disk, memory = self.disk / 1e9, self.memory / 1e9
        return f"estimate: about {clock(self.seconds)}, {disk:.1f} GB of disk, {memory:.0f} GB of memory"


def of_run(settings: Settings, steps: int, bf16: bool) -> Estimate:
    """Estimate the rest of a run; see `training_seconds`.

    Args:
        settings: The run's settings.
        steps: Steps that are still to do.
        bf16: Whether it computes in bfloat16.
    """
    pixels = settings.batch * settings.size**2
    return Estimate(
        seconds=training_seconds(settings.size, settings.batch, steps, bf16),
        disk=4 * _PARAMETERS * (1 + _SLOTS[settings.optimizer]) * _KEPT,
        memory=int(_BASE_MEMORY + pixels * _MEMORY_PER_PIXEL[bf16]),
    )


def training_seconds(size: int, batch: int, steps: int, bf16: bool) -> float:
    """Estimate the time of training steps by timing their parts on this machine.

    A convolution, a batch normalisation and an update of the weights: the first is bound by arithmetic in the type that
    is computed in, the second by moving features, the third by moving weights, whatever the picture's size.

    Args:
        size: Side of the input in pixels.
        batch: Images a step.
        steps: Number of steps.
        bf16: Whether to compute in bfloat16.
    """
    step = (
        _CONVOLUTIONS * _seconds_of_convolution(size, batch, bf16)
        + _NORMALISATIONS * _seconds_of_normalisation(size, batch, bf16)
        + _UPDATES * _seconds_of_update()
    )
    return _TRACING + steps * step


def refuse_too_little_disk(estimate: Estimate, folder: Path) -> None:
    """Raise UserError where a run's checkpoints would not fit beside what is on the disk of `folder`."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    have = sum(file.stat().st_size for file in folder.rglob("ckpt-*")) if folder.is_dir() else 0
    free = shutil.disk_usage(existing).free
    if free + have < estimate.disk:
        raise UserError(
            f"{folder}: its disk has {free / 1e9:.1f} GB free, the run's checkpoints need {estimate.disk / 1e9:.1f}. "
            "Make room, or put workspace/ on another disk."
        )


def warning(estimate: Estimate) -> str | None:
    """A line to say where the run may not fit into memory, or None. GPUs' memory is not looked at."""
    free = hardware.memory_free()
    if estimate.memory <= free:
        return None
    return f"warning: {free / 1e9:.0f} GB of memory are free; a smaller BATCH or SIZE needs less"


def _seconds_of_convolution(size: int, batch: int, bf16: bool) -> float:
    """Seconds of one forward 3x3 convolution of 256 channels at stride 8, a layer of the head's towers."""
    import tensorflow as tf

    image = _features(size, batch, bf16)
    kernel = tf.random.stateless_normal((3, 3, 256, 256), (0, 1), dtype=image.dtype)
    return _least_seconds(lambda: tf.nn.conv2d(image, kernel, 1, "SAME"))


def _seconds_of_normalisation(size: int, batch: int, bf16: bool) -> float:
    """Seconds of batch normalisation and ReLU of 256 channels at stride 8."""
    import tensorflow as tf

    image = _features(size, batch, bf16)
    scale, offset = tf.ones(256), tf.zeros(256)
    return _least_seconds(
        lambda: tf.nn.relu(tf.compat.v1.nn.fused_batch_norm(image, scale, offset, is_training=True)[0])
    )


def _seconds_of_update() -> float:
    """Seconds of one pass over as many float32 numbers as the model has weights."""
    import tensorflow as tf

    # No variable: in a strategy's scope one would be copied to every device and worker.
    weights, change = tf.zeros(_PARAMETERS), tf.ones(_PARAMETERS)
    return _least_seconds(lambda: 0.9 * weights + change)


def _features(size: int, batch: int, bf16: bool) -> Any:
    """Random features of 256 channels at stride 8: (batch, size / 8, size / 8, 256)."""
    import tensorflow as tf

    return tf.random.stateless_normal(
        (batch, size // 8, size // 8, 256), (0, 0), dtype=tf.bfloat16 if bf16 else tf.float32
    )


def _least_seconds(compute: Callable[[], Any]) -> float:
    import tensorflow as tf

    traced = tf.function(lambda: tf.reduce_max(compute()))
    times = []
    for _ in range(6):
        start = time.perf_counter()
        traced().numpy()
        times.append(time.perf_counter() - start)
    return min(times)
