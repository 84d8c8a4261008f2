"""Query the machine: processor cores, memory, GPUs, and whether bfloat16 is fast."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import psutil

FAST_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
"""Linux's names of the x86 extensions with which oneDNN, TensorFlow's CPU library, computes bfloat16 natively.

https://uxlfoundation.github.io/oneDNN/dev_guide_data_types.html. On any other processor it emulates bfloat16, which is
slower than float32. No Mac has these extensions, and TensorFlow does not use Arm's FEAT_BF16 in training.
"""

FAST_BF16_CAPABILITY = (8, 0)
"""Lowest CUDA compute capability with bfloat16 tensor cores: https://docs.nvidia.com/cuda/ampere-tuning-guide/."""


@dataclass(frozen=True)
class Gpu:
    """A GPU that TensorFlow sees.

    Attributes:
        name: The vendor's name for it.
        capability: CUDA compute capability; None on a GPU that is not NVIDIA's.
    """

    name: str
    capability: tuple[int, int] | None

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bfloat16 natively."""
        return self.capability is not None and self.capability >= FAST_BF16_CAPABILITY


def usable_cores() -> int:
    """The number of processor cores that this process may use: at least 1, within a container's limit, rounded up."""
    available = available_cores()
    return max(1, min(available, _container_cores() or available))


def available_cores() -> int:
    """The number of processor cores on which this process may run, without a container's limit."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not have it
        return os.cpu_count() or 1


def memory_total() -> int:
    """The bytes of memory that this process may use: the machine's, or the container's limit if that is lower."""
    total: int = psutil.virtual_memory().total
    return min(total, _container_memory()[0] or total)


def memory_free() -> int:
    """The bytes of memory that this process can allocate now without swapping."""
    free: int = psutil.virtual_memory().available
    limit, used = _container_memory()
    return min(free, max(0, limit - used)) if limit else free


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether TensorFlow computes faster in bfloat16 than in float32 on this processor.

    Args:
        cpuinfo: Linux's description of the processor. If the file does not exist, as on macOS, the result is False.
    """
    return not FAST_BF16_FLAGS.isdisjoint(_cpu_description(cpuinfo).get("flags", "").split())


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The vendor's name for the processor, or the architecture if the name is unknown."""
    return _cpu_description(cpuinfo).get("model name") or platform.machine()


def visible_gpus() -> tuple[Gpu, ...]:
    """The GPUs that TensorFlow sees. Imports TensorFlow, which takes seconds."""
    import tensorflow as tf

    found = []
    for device in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(device)
        found.append(Gpu(details.get("device_name", device.name), details.get("compute_capability")))
    return tuple(found)


def has_bf16() -> bool:
    """Whether training in bfloat16 is faster than in float32: on every GPU if there are any, else on the processor.

    Imports TensorFlow, which takes seconds.
    """
    found = visible_gpus()
    return all(gpu.has_bf16 for gpu in found) if found else cpu_has_bf16()


def _cpu_description(cpuinfo: Path) -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo, `name : value`."""
    try:
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def _container_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The container's limit in cores, or None (in cgroup v2, `cpu.max` holds "quota period" or "max period")."""
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return None


def _container_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int | None, int]:
    """The container's limit in bytes or None, and the bytes used (cgroup v2) without file caches that can be freed."""
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        counts = dict(line.split() for line in (cgroup / "memory.stat").read_text(encoding="ascii").splitlines())
        return limit, max(0, used - int(counts["inactive_file"]))
    except (OSError, ValueError, KeyError):
        return None, 0
