"""Run a command, print user errors in one line, and set the exit code."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from facemask.core.errors import UserError

USER_ERROR = 2
"""Exit code of every error that the user can correct; typer uses it for wrong options too."""

EXTRAS = {
    "tensorflow": "train",
    "tf_keras": "train",
    "official": "train",
    "object_detection": "train",
    "apache_beam": "beam",
    "kagglehub": "data",
    "nncf": "int8",
    "labelImg": "label",
    "PyQt5": "label",
    "paho": "mqtt",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "tf2onnx": "onnx",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "ai_edge_litert": "tflite",
}
"""The extra (`pip install 'facemask[train]'`) that installs a package, by the package's import name."""


def run_command(command: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Call a command. If it fails, end the process with a message and an exit code.

    - A `UserError` prints its message on stderr and ends the process with code 2.
    - A missing package is treated like a `UserError`: one of the `EXTRAS` installs it, or the set-up did not finish.
    - Ctrl-C ends the process with code 130.
    - A closed pipe (`... | head`) ends the process without a message.
    - A file that may not be opened, or a full disk, is treated like a `UserError`.
    - Any other exception is a bug in this project and keeps its traceback.
    """
    try:
        command(*arguments, **options)
    except UserError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "facemask", "scripts"):
            raise
        if package in EXTRAS:
            _fail(f"{error.name} is not installed. This installs it: pip install 'facemask[{EXTRAS[package]}]'")
        _fail(
            f"{error.name} is not installed: the set-up did not finish. Run `make setup`, or where facemask was "
            "installed with pip: pip install facemask"
        )
    except ImportError as error:
        if "libGL.so.1" not in str(error):
            raise
        _fail(
            "OpenCV needs the system library libGL.so.1. Install it (Debian, Ubuntu: apt install libgl1), or the "
            "OpenCV that needs none: pip install --force-reinstall --no-deps opencv-python-headless"
        )
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC) or error.filename is None:
            raise
        folder = Path(os.fsdecode(error.filename)).absolute().parent
        _fail(f"{error.filename}: {error.strerror}. Make {folder} writable, free space there, or name another folder.")


def _fail(message: str) -> NoReturn:
    try:
        from rich.console import Console

        Console(stderr=True, highlight=False).print("[bold red]error:[/]", end=" ")
    except ModuleNotFoundError:
        print("error:", end=" ", file=sys.stderr)
    print(message, file=sys.stderr)
    sys.exit(USER_ERROR)
