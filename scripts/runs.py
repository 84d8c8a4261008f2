"""`make runs`: the training runs, how far they are and how good."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command
from scripts.support.errors import UserError


def main(
    models: Annotated[Path, typer.Option(help="Folder of the training runs.")] = Path("workspace/models"),
) -> None:
    """List the training runs: model, input, steps, best mAP on val, size on disk, and when they last saved."""
    from rich.console import Console
    from rich.table import Table

    from scripts.tfod import overview

    found = overview.runs_in(models)
    if not found:
        raise UserError(f"{models}: no training run in it. `make train` makes one.")
    table = Table("run", "steps", "best mAP@0.5", "size", "last saved", show_lines=len(found) > 1)
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in found:
        table.add_row(*one.row())
    Console(highlight=False).print(table)


if __name__ == "__main__":
    command.run(main)
