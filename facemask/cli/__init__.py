"""The commands: one file for each step, `<step>_command.py`, with its options and its function `main`."""

from facemask.cli.app import app_main, run_step

__all__ = ["app_main", "run_step"]
