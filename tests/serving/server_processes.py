"""Servers in processes of their own."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import squares

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A server in a process of its own: its URL, its process, and the folder of its temporary files."""

    url: str
    process: subprocess.Popen[str]
    folder: Path
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


def start(folder: Path, *options: str) -> Running:
    (folder / "tmp").mkdir(parents=True)
    environment = os.environ | {"TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT)}
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, squares.__file__, *options],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    log.close()
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.match(r"(http://\S+) \(squares fp32\); Ctrl-C ends it", said)
    if not found:
        process.kill()
        raise AssertionError(said + (folder / "log").read_text())
    return Running(found[1], process, folder / "tmp", folder / "log")


def stop(running: Running, number: int = signal.SIGTERM) -> int:
    """End a server, and give its exit code."""
    running.process.send_signal(number)
    try:
        return running.process.wait(60)
    finally:
        running.process.kill()
        assert running.process.stdout is not None
        running.process.stdout.close()
