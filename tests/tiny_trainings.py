"""Trainings of a very small model in processes of their own: started, waited for, and what they leave behind."""

import re
import subprocess
import sys
from pathlib import Path

TRAIN = [sys.executable, str(Path(__file__).parent / "train_tiny.py")]


def start(folder: Path, records: Path, *more: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [*TRAIN, str(folder), str(records), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def train(folder: Path, records: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [*TRAIN, str(folder), str(records), *more]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


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
