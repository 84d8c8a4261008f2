"""`make prelabel`: let a trained model draw the boxes that a person then corrects in labelImg."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    images: Annotated[Path, typer.Option(help="Folder with the pictures; those without an XML get one.")] = Path(
        "workspace/images"
    ),
    run: Annotated[str, typer.Option(help="Name of the exported run.")] = "default",
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="Score from which a box is written.")] = 0.5,
    runtime: Annotated[str, typer.Option(help="What runs the model; auto takes the fastest that is there.")] = "auto",
    precision: Annotated[str, typer.Option(help="What it computes in: auto, fp32, bf16, int8.")] = "auto",
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
) -> None:
    """Write Pascal VOC files for a person to correct, beside the pictures that have none; a person's own stay."""
    from scripts.detect.detector import open_detector
    from scripts.labelling import prelabel
    from scripts.media.images import find

    pictures = find(str(images))
    summary = prelabel.on_pictures(open_detector(exported / run, runtime, precision), pictures, threshold)
    print(summary.text())
    raise typer.Exit(command.USER_ERROR if summary.failed else 0)


if __name__ == "__main__":
    command.run(main)
