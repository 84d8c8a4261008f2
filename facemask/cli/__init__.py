"""The commands: one file for each step, `<step>_command.py`, with its options and its function `main`."""

from importlib import import_module

from facemask.core import command_line

__all__ = ["app_main", "run_step"]

# `app` is imported while the command runs: where the set-up did not finish, one of its packages is missing, and
# `run_command` says so.


def app_main() -> None:
    """Run the command line of `facemask`: `facemask <step> --option value ...`."""
    command_line.run_command(lambda: import_module("facemask.cli.app").app_main())


def run_step(step: str) -> None:
    """Run one step for `python -m scripts.<step>`. Under make, its options are the variables that make was given."""
    command_line.run_command(lambda: import_module("facemask.cli.app").run_step(step))
