"""Trainings of very small models, and what they leave behind.

`start` and `train` train a tiny SSD in a process of its own. `train_here` trains in this process whatever the API's
builder gives, with the fixture `small_model` a stand-in of two layers.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import standin
import train_tiny

from facemask.tfod import detector_training

TRAIN = [sys.executable, str(Path(__file__).parent / "train_tiny.py")]


def start(folder: Path, records: Path, *more: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [*TRAIN, str(folder), str(records), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def train(folder: Path, records: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [*TRAIN, str(folder), str(records), *more]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def train_here(
    folder: Path,
    records: Path,
    steps: int,
    *,
    rate: float = 0.01,
    batch: int = 2,
    start: Path | str = "",
    **options: Any,
) -> detector_training.Outcome:
    """Train in this process, with these `detector_training.Options`; `start` is the prefix of a checkpoint."""
    config = train_tiny.write_config(folder, records, steps, rate, batch, start)
    settings = standin.settings(steps=steps, warmup_steps=0, batch=batch)
    return detector_training.train(config, folder, settings, detector_training.Options(**options))


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read the process's lines until one holds `text`."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"ended without {text!r}:\n{seen}")


def latest(folder: Path) -> int | None:
    """The step of a folder's latest checkpoint."""
    state = folder / "checkpoint"
    if not state.exists():
        return None
    return int(re.findall(r'^model_checkpoint_path: "ckpt-(\d+)"', state.read_text(), re.MULTILINE)[0])


def events(folder: Path, tag: str) -> dict[int, float]:
    """The values that a folder's TensorBoard events give a tag, by step, read by TensorBoard itself."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {event.step: float(make_ndarray(event.tensor_proto)) for event in accumulator.Tensors(tag)}
