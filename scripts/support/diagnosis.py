"""What `make doctor` looks at: one finding for each thing that the steps depend on."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path

from scripts.support import hardware

DISK_WANTED = 3 * 10**9
"""Bytes: some checkpoints of 35 million float32 variables with an optimizer's slots, the zoo's archive, the exports."""

MEMORY_WANTED = 4 * 10**9
"""Bytes: a round figure. `make train` says what a run really needs before its first step."""

PROBE_TIMEOUT = 600
"""Seconds: the first import reads and compiles thousands of files, which takes minutes on a busy machine."""


class State(Enum):
    """How a finding is to be taken."""

    GOOD = "good"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        subject: What was looked at.
        found: What was found, and what to do where something is to be done.
        state: BROKEN where the pipeline cannot work like this.
    """

    subject: str
    found: str
    state: State = State.GOOD


def findings(
    root: Path, probe: Sequence[str], zoo: Callable[[], str | None], environment: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Look at everything.

    Args:
        root: The project's folder.
        probe: A command that imports all that training needs and prints `probe_result()`. A process of its own, as
            TensorFlow may abort on a processor that it does not know.
        zoo: Says what is wrong with the zoo, None if it answers.
        environment: The environment's variables, which tell of a display.
    """
    return [
        python(),
        *tensorflow(probe, root),
        machine(),
        memory(hardware.memory_free(), hardware.memory_total()),
        disk(shutil.disk_usage(root).free, root),
        display(environment, sys.platform),
        zoo_answers(zoo()),
        *groups(root),
    ]


def python() -> Finding:
    """The Python that runs."""
    return Finding("Python", f"{platform.python_version()} in {sys.prefix}")


def probe_result() -> str:
    """What `tensorflow` reads from the probe: one line of JSON. Imports TensorFlow."""
    gpus = [[gpu.name, list(gpu.capability) if gpu.capability else None] for gpu in hardware.gpus()]
    return json.dumps({"tensorflow": metadata.version("tensorflow"), "gpus": gpus})


def tensorflow(probe: Sequence[str], root: Path) -> list[Finding]:
    """TensorFlow and the API, the devices, and the precision that training will pick."""
    repair = "Remove the folder .venv and run: make setup"
    try:
        done = subprocess.run(
            probe, cwd=root, capture_output=True, text=True, errors="replace", timeout=PROBE_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        slow = f"does not load within {PROBE_TIMEOUT} s. If the machine is not just busy: remove .venv, then make setup"
        return [Finding("TensorFlow", slow, State.BROKEN)]
    if done.returncode:
        if done.returncode < 0:
            reason = f"ends with signal {-done.returncode}; does the processor have AVX?"
        else:
            reason = (done.stderr.strip().splitlines() or [f"ends with code {done.returncode}"])[-1]
        return [Finding("TensorFlow", f"does not load: {reason} {repair}", State.BROKEN)]
    said = json.loads(done.stdout.strip().splitlines()[-1])
    gpus = [hardware.Gpu(name, tuple(capability) if capability else None) for name, capability in said["gpus"]]
    return [
        Finding("TensorFlow", f"{said['tensorflow']}, and the Object Detection API loads"),
        devices(gpus, nvidia_driver=shutil.which("nvidia-smi") is not None),
        bf16(gpus, hardware.cpu_has_bf16()),
    ]


def devices(gpus: Sequence[hardware.Gpu], nvidia_driver: bool) -> Finding:
    """What TensorFlow computes on."""
    if gpus:
        return Finding("Devices", "GPU: " + ", ".join(f"{gpu.name}{_capability(gpu)}" for gpu in gpus))
    if nvidia_driver:
        return Finding(
            "Devices", "CPU only, though there is an NVIDIA driver. CUDA's libraries: make setup GPU=1", State.NOTE
        )
    return Finding("Devices", "CPU only (no GPU that TensorFlow can use)")


def bf16(gpus: Sequence[hardware.Gpu], cpu: bool) -> Finding:
    """Whether training will use bfloat16."""
    if gpus:
        if all(gpu.has_bf16 for gpu in gpus):
            return Finding("bf16", "yes: the GPU computes in it (compute capability 8 or more)")
        return Finding("bf16", "no: the GPU's compute capability is below 8; training uses float32", State.NOTE)
    if cpu:
        return Finding("bf16", "yes: the processor has AMX or AVX512-BF16")
    return Finding("bf16", "no: the processor has neither AMX nor AVX512-BF16; training uses float32", State.NOTE)


def machine() -> Finding:
    """The processor."""
    return Finding("Processor", f"{hardware.cpu_name()}, {hardware.cores()} cores for this process")


def memory(free: int, total: int) -> Finding:
    """Memory, both in bytes."""
    found = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f}"
    if free < MEMORY_WANTED:
        return Finding("Memory", f"{found}: little for training. Lower BATCH or SIZE.", State.NOTE)
    return Finding("Memory", found)


def disk(free: int, root: Path) -> Finding:
    """Room, in bytes, on the disk that holds the project."""
    found = f"{free / 1e9:.0f} GB free at {root}"
    if free < DISK_WANTED:
        return Finding("Disk", f"{found}: little for a run with its checkpoints. Make room.", State.NOTE)
    return Finding("Disk", found)


def display(environment: Mapping[str, str], system: str) -> Finding:
    """Where labelImg's window could open."""
    if system == "darwin":
        return Finding("Display", "macOS")
    for name, kind in (("WAYLAND_DISPLAY", "Wayland"), ("DISPLAY", "X")):
        if environment.get(name):
            return Finding("Display", f"{kind} ({name}={environment[name]})")
    return Finding("Display", "none: all works but windows (labelling)", State.NOTE)


def zoo_answers(problem: str | None) -> Finding:
    """Whether the zoo's weights can be had."""
    if problem is None:
        return Finding("Zoo", "answers")
    return Finding("Zoo", f"cannot be reached ({problem}): CHECKPOINT=<archive> or CHECKPOINT=none", State.NOTE)


def groups(root: Path) -> list[Finding]:
    """The groups of locked packages, by what `scripts/setup.sh` leaves in .venv/locks."""
    found = []
    for lock in sorted((root / "lock").glob("*.txt")):
        if lock.stem == "build":  # comes with every other
            continue
        installed = root / ".venv" / "locks" / lock.name
        if not installed.exists():
            how = "make setup GPU=1" if lock.stem == "gpu" else "by the first target that needs it"
            state = f"not installed; {how}"
        elif installed.read_bytes() == lock.read_bytes():
            state = "installed"
        else:
            state = "out of date; the next target brings it up to date"
        found.append(f"{lock.stem}: {state}")
    return [Finding("Packages", "\n".join(found))]


def _capability(gpu: hardware.Gpu) -> str:
    return f" (compute capability {'.'.join(map(str, gpu.capability))})" if gpu.capability else ""
