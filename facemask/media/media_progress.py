"""The progress bar of an inference; it is shown only where stderr is a terminal."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextlib.contextmanager
def progress_bar(total: int | None, unit: str) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar for the block. Yields a function that takes the number of new units and a description.

    Args:
        total: The approximate number of units; None if it is unknown, as with a camera.
        unit: The name of the unit, in the plural.
    """
    columns: list[ProgressColumn] = (
        [SpinnerColumn(), TextColumn(f"{{task.completed}} {unit}")]
        if total is None
        else [BarColumn(), MofNCompleteColumn(), TextColumn(unit)]
    )
    columns += [TextColumn("{task.description}", markup=False), TimeElapsedColumn()]
    if total is not None:
        columns += [TextColumn("left"), TimeRemainingColumn()]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def move(count: int, words: str) -> None:
            progress.update(task, advance=count, description=words)

        yield move
