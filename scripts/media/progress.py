"""How far a long look at many pictures is, on the terminal and nowhere else."""

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
def bar(total: int | None, unit: str) -> Iterator[Callable[[int, str], None]]:
    """Give a function that moves the bar: by how many, and with which words behind it.

    Args:
        total: How many there are, about; None where nobody knows, as with a camera.
        unit: What is counted, in the plural.
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
