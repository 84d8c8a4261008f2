"""make sample: a drawn data set of faces with and without masks, for trying the pipeline without photographs."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    out: Annotated[Path, typer.Option(help="Folder for the pictures and their Pascal VOC XML.")] = Path(
        "workspace/sample"
    ),
    count: Annotated[int, typer.Option(help="How many pictures.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="Another seed draws another sample.", min=0)] = 0,
) -> None:
    """Draw the sample data set: labelled pictures of people with masks worn right, worn wrong, or not at all."""
    from scripts.dataset import sample, summary, workers

    with summary.progress("sample") as advance:
        made = sample.write(out, count, seed, workers.available(), advance)
    faces = ", ".join(f"{number:,} {name}" for name, number in made.faces.items())
    print(f"{made.images:,} pictures, {sum(made.faces.values()):,} faces ({faces}) in {made.folder}")


if __name__ == "__main__":
    command.run(main)
