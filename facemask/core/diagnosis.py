"""The checks of `make doctor`: one finding for each requirement of the steps."""

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
from importlib.util import find_spec
from pathlib import Path

from facemask.core import hardware
from facemask.core.command_line import EXTRAS

DISK_WANTED = 3 * 10**9
"""Bytes: enough for several checkpoints of 35 million float32 variables with optimizer slots, the zoo's archive, and
exports."""

MEMORY_WANTED = 4 * 10**9
"""Bytes, a round figure."""

PROBE_TIMEOUT = 600
"""Seconds. The first import reads and compiles thousands of files, which takes minutes on a busy machine."""


class State(Enum):
    """The severity of a finding."""

    GOOD = "good"
    NOTE = "note"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        subject: What was checked.
        found: The result, and what to do about it if needed.
        state: BROKEN if the pipeline cannot work.
    """

    subject: str
    found: str
    state: State = State.GOOD


def diagnose_machine(
    root: Path, probe: Sequence[str], zoo: Callable[[], str | None], environment: Mapping[str, str] = os.environ
) -> list[Finding]:
    """Run all checks that apply. A `pip install facemask` has neither training packages nor groups of locked ones.

    Args:
        root: The project's folder, or outside a checkout the one that holds the package.
        probe: A command that imports every package that training needs and prints `probe_result()`. It runs as a
            separate process because TensorFlow aborts on a processor that it does not support.
        zoo: Returns the problem with the zoo's server, or None if the server answers.
        environment: The environment variables, which name the display.
    """
    is_checkout = (root / "lock").is_dir()
    training = [name for name, extra in EXTRAS.items() if extra == "train"]
    trains = is_checkout or any(map(find_spec, training))
    missing = "not installed: pip install 'facemask[train]'. Detecting needs none of it"
    return [
        check_python(),
        *(check_tensorflow(probe, root) if trains else [Finding("Training", missing, State.NOTE)]),
        check_processor(),
        check_memory(hardware.memory_free(), hardware.memory_total()),
        check_disk(shutil.disk_usage(root).free, root),
        check_display(environment, sys.platform),
        *([check_zoo(zoo())] if trains else []),
        *(check_package_groups(root) if is_checkout else []),
    ]


def check_python() -> Finding:
    """Report the running Python."""
    return Finding("Python", f"{platform.python_version()} in {sys.prefix}")


def probe_result() -> str:
    """The line of JSON that the probe prints for `check_tensorflow`. Imports TensorFlow."""
    gpus = [[gpu.name, list(gpu.capability) if gpu.capability else None] for gpu in hardware.visible_gpus()]
    return json.dumps({"tensorflow": metadata.version("tensorflow"), "gpus": gpus})


def check_tensorflow(probe: Sequence[str], root: Path) -> list[Finding]:
    """Check TensorFlow with the API, the devices, and the precision that training will choose."""
    is_checkout = (root / "lock").is_dir()
    repair = (
        "Remove the folder .venv and run: make setup"
        if is_checkout
        else "Install it again: pip install --force-reinstall 'facemask[train]'"
    )
    try:
        done = subprocess.run(
            probe, cwd=root, capture_output=True, text=True, errors="replace", timeout=PROBE_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        slow = f"does not load within {PROBE_TIMEOUT} s. If the machine is not just busy: {repair}"
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
        check_devices(gpus, nvidia_driver=shutil.which("nvidia-smi") is not None),
        check_bf16(gpus, hardware.cpu_has_bf16()),
    ]


def check_devices(gpus: Sequence[hardware.Gpu], nvidia_driver: bool) -> Finding:
    """Report the devices on which TensorFlow computes."""
    if gpus:
        return Finding("Devices", "GPU: " + ", ".join(f"{gpu.name}{_capability(gpu)}" for gpu in gpus))
    if nvidia_driver:
        return Finding(
            "Devices", "CPU only, though there is an NVIDIA driver. CUDA's libraries: make setup GPU=1", State.NOTE
        )
    return Finding("Devices", "CPU only (no GPU that TensorFlow can use)")


def check_bf16(gpus: Sequence[hardware.Gpu], cpu: bool) -> Finding:
    """Report whether training will use bfloat16."""
    if gpus:
        if all(gpu.has_bf16 for gpu in gpus):
            return Finding("bf16", "yes: the GPU computes in it (compute capability 8 or more)")
        return Finding("bf16", "no: the GPU's compute capability is below 8; training uses float32", State.NOTE)
    if cpu:
        return Finding("bf16", "yes: the processor has AMX or AVX512-BF16")
    return Finding("bf16", "no: the processor has neither AMX nor AVX512-BF16; training uses float32", State.NOTE)


def check_processor() -> Finding:
    """Report the processor."""
    return Finding("Processor", f"{hardware.cpu_name()}, {hardware.usable_cores()} cores for this process")


def check_memory(free: int, total: int) -> Finding:
    """Check the memory; both arguments are in bytes."""
    found = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f}"
    if free < MEMORY_WANTED:
        return Finding("Memory", f"{found}: little for training. Lower BATCH or SIZE.", State.NOTE)
    return Finding("Memory", found)


def check_disk(free: int, root: Path) -> Finding:
    """Check the free space, in bytes, on the project's disk."""
    found = f"{free / 1e9:.0f} GB free at {root}"
    if free < DISK_WANTED:
        return Finding("Disk", f"{found}: little for a run with its checkpoints. Make room.", State.NOTE)
    return Finding("Disk", found)


def check_display(environment: Mapping[str, str], system: str) -> Finding:
    """Check that there is a display for windows, such as labelImg's."""
    if system == "darwin":
        return Finding("Display", "macOS")
    for name, kind in (("WAYLAND_DISPLAY", "Wayland"), ("DISPLAY", "X")):
        if environment.get(name):
            return Finding("Display", f"{kind} ({name}={environment[name]})")
    return Finding("Display", "none: labelling and SHOW=1 do not work, everything else does", State.NOTE)


def check_zoo(problem: str | None) -> Finding:
    """Report whether the zoo's weights can be downloaded."""
    if problem is None:
        return Finding("Zoo", "answers")
    return Finding("Zoo", f"cannot be reached ({problem}): CHECKPOINT=ready, none or <archive>", State.NOTE)


def check_package_groups(root: Path) -> list[Finding]:
    """Report the installed groups of locked packages, from the files that `scripts/setup.sh` puts in .venv/locks."""
    found = []
    for lock in sorted((root / "lock").glob("*.txt")):
        if lock.stem in ("build", "uv"):  # these belong to the set-up itself
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
