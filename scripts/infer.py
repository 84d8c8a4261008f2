"""`make infer`: find faces in pictures and say how they wear their masks."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    img: Annotated[str, typer.Option(help="A picture, a folder of pictures, or a glob such as 'photos/*.jpg'.")] = "",
    run: Annotated[str, typer.Option(help="Name of the exported run.")] = "default",
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="Score from which a box is kept.")] = 0.5,
    runtime: Annotated[
        str, typer.Option(help="What runs the model: auto (the fastest there is), openvino, tensorflow.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="What it computes in: auto, fp32, bf16.")] = "auto",
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
    predictions: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("workspace/predictions"),
) -> None:
    """Draw boxes on pictures and write them to <predictions>/<run>/, with the boxes in pixels as JSON beside them."""
    from scripts.detect.detector import open_detector
    from scripts.media import images, inference

    pictures = images.find(img)
    detector = open_detector(exported / run, runtime, precision)
    summary = inference.on_pictures(detector, exported / run, pictures, predictions / run, threshold)
    print(summary.text())
    raise typer.Exit(command.USER_ERROR if summary.failed else 0)


if __name__ == "__main__":
    command.run(main)
