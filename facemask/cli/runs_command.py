"""List the training runs: steps, best mAP, size, date."""

from facemask.cli import options
from facemask.core.errors import UserError


def main(
    models: options.Models = options.MODELS,
) -> None:
    """List the training runs: model, input, steps, best mAP on val, size on disk, and when they last saved."""
    from rich.console import Console
    from rich.table import Table

    from facemask.tfod import runs_overview

    found = runs_overview.list_runs(models)
    if not found:
        raise UserError(f"{models}: no training run in it. `make train` makes one.")
    table = Table("run", "steps", "best mAP@0.5", "size", "last saved", show_lines=len(found) > 1)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:4]:
        column.justify = "right"
    for one in found:
        table.add_row(*one.row())
    Console(highlight=False, markup=False).print(table)
