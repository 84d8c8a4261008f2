"""Watch the training runs in TensorBoard."""

import os
import sys
from typing import Annotated

import typer

from facemask.cli import options
from facemask.core.errors import UserError


def main(
    models: options.Models = options.MODELS,
    host: options.Host = options.HOST,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 6006,
) -> None:
    """Open TensorBoard on all runs, even while they train. Ctrl-C ends it."""
    if not any(models.glob("*/run.json")):
        raise UserError(f"{models}: no training run in it. `make train` makes one.")
    print(f"TensorBoard on {models}: http://{host}:{port}", flush=True)
    # TensorFlow would take seconds to import, and TensorBoard reads events without it.
    program = (
        "import sys, types; sys.modules['tensorboard.compat.notf'] = types.ModuleType('tensorboard.compat.notf'); "
        "from tensorboard.main import run_main; run_main()"
    )
    arguments = ["--logdir", str(models), "--host", host, "--port", str(port), "--load_fast=false"]
    os.execv(sys.executable, [sys.executable, "-W", "ignore:pkg_resources is deprecated", "-c", program, *arguments])
