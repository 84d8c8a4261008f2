"""Run a command, and measure its time and the memory of its processes."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def measure(command: list[str]) -> tuple[float, int]:
    """Run a command in the project's folder. If it fails, print its output and end this process too.

    Returns:
        Its seconds, and the peak memory in bytes of the command and the processes that it started: the largest sampled
        sum of their resident sizes (RSS, which counts shared pages once for each process).
    """
    peak, done = 0, threading.Event()
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
                    peak = max(peak, sum(one.memory_info().rss for one in [root, *root.children(recursive=True)]))
                except psutil.Error:
                    continue  # a process has ended meanwhile

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            code = process.wait()
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
    return seconds, peak
