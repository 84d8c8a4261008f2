"""Run a step in a process of its own, as a user would."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def step(name: str, *options: str, timeout: float = 500) -> str:
    """Run a step; its output. It must succeed, within so many seconds."""
    command = [sys.executable, "-m", f"scripts.{name}", *options]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=timeout
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
