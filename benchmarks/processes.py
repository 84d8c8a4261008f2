"""Run a command, and measure its time and the memory of its processes."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cost:
    """What a command and the processes that it started took.

    Attributes:
        seconds: From its start to its end.
        cpu_seconds: Processor time of all processes, in user mode and in the system. Of a process that the
            command started, the last quarter of a second at most is missing.
        memory: Peak memory in bytes: the largest sampled sum of their resident sizes (RSS, which counts shared pages
            once for each process). The system's own maximum is of no use: it includes the process that started the
            command, as the command began as its copy.
    """

    seconds: float
    cpu_seconds: float
    memory: int


def measure(command: list[str]) -> Cost:
    """Run a command in the project's folder. If it fails, print its output and end this process too."""
    peak, spent, done = 0, dict[int, float](), threading.Event()
    begin = time.monotonic()
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True) as process,
    ):

        def watch() -> None:
            nonlocal peak
            root = psutil.Process(process.pid)
            while not done.wait(0.25):
                try:
                    processes = [root, *root.children(recursive=True)]
                    spent.update((one.pid, sum(one.cpu_times()[:2])) for one in processes)
                    # A process that has not begun its own program yet shares its parent's memory (vfork), so that both
                    # have the very same numbers.
                    peak = max(peak, sum(one.rss for one in {one.memory_info() for one in processes}))
                except psutil.Error:
                    continue  # a process has ended meanwhile

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            code = process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            seconds = time.monotonic() - begin
            done.set()
            watcher.join()
        if code:
            said.seek(0)
            sys.exit(f"{said.read().decode(errors='replace')}\n{' '.join(command)} ended with code {code}")
    spent[process.pid] = used.ru_utime + used.ru_stime
    return Cost(seconds, sum(spent.values()), peak)
