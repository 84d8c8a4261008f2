"""Draw the sample data set."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and their Pascal VOC XML.")] = Path(
        "workspace/sample"
    ),
    count: Annotated[int, typer.Option(help="Number of pictures.", min=1)] = 300,
    seed: options.Seed = options.SEED,
) -> None:
    """Draw the sample data set: labelled pictures of people with a mask, without one, or with one worn incorrectly."""
    from facemask.data import drawn_sample, records_summary

    with records_summary.records_progress("sample") as advance:
        made = drawn_sample.write_sample(out, count, seed, 0, advance)
    faces = ", ".join(f"{number:,} {name}" for name, number in made.faces.items())
    print(f"{made.images:,} pictures, {sum(made.faces.values()):,} faces ({faces}) in {made.folder}")
