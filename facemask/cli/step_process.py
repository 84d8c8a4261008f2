"""Run a step in a process of its own, as a user would."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from types import FrameType

import typer

from facemask.cli import app, make_variables


def run_step_process(step: str, options: Mapping[str, object]) -> None:
    """Run a step with its options. Its output goes to this process's output.

    SIGTERM is passed on to the step, and Ctrl-C reaches it directly. So the step saves its work and ends first.

    Args:
        step: The step's name, such as `train`.
        options: Its options, with underscores: {"eval_every": 0}. 1 turns a switch on.

    Raises:
        UserError: The step has no such option.
        typer.Exit: The step failed or was stopped. It has the step's exit code.

    Example:
        >>> run_step_process("train", {"run": "fold0", "steps": 1500})
    """
    variables = {name.upper(): str(value) for name, value in options.items()}
    arguments = make_variables.to_arguments(app.command_of(step), step, variables)
    process = subprocess.Popen([sys.executable, "-m", "facemask", step, *arguments])

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if code:
        raise typer.Exit(code if code > 0 else 128 - code)
