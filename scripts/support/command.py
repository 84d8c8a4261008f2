"""How a step's script becomes a command: options by typer, errors in one line, exit codes."""

import os
import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from scripts.support.errors import UserError

USER_ERROR = 2
"""Exit code of everything that the user can put right; typer uses it for wrong options too."""


def run(step: Callable[..., Any]) -> None:
    """Run a step's function as a command: `if __name__ == "__main__": command.run(main)`.

    A `UserError` ends in its message on stderr and exit code 2, Ctrl-C in exit code 130, and a reader that went away
    (`... | head`) in silence. Any other exception is a bug of ours and keeps its traceback.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(step)
    try:
        app()
    except UserError as error:
        Console(stderr=True, highlight=False).print("[bold red]error:[/]", end=" ")
        print(error, file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
