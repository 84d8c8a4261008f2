"""`make infer`: find faces in pictures and say how they wear their masks."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    img: Annotated[str, typer.Option(help="A picture, a folder of pictures, or a glob such as 'photos/*.jpg'.")] = "",
    run: Annotated[str, typer.Option(help="Name of the exported run.")] = "default",
    threshold: Annotated[
        str,
        typer.Option(
            help="Score from which a box is kept: a number; or best, for each class the one of the highest F1 in the "
            "evaluation of this run; or the metrics.json of an evaluation."
        ),
    ] = "0.5",
    runtime: Annotated[
        str, typer.Option(help="What runs the model: auto (the fastest there is), openvino, tensorflow.")
    ] = "auto",
    precision: Annotated[str, typer.Option(help="What it computes in: auto, fp32, bf16.")] = "auto",
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
    predictions: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("workspace/predictions"),
    reports: Annotated[Path, typer.Option(help="Folder of the evaluations.")] = Path("workspace/reports"),
) -> None:
    """Draw boxes on pictures and write them to <predictions>/<run>/, with the boxes in pixels as JSON beside them."""
    from scripts.detect.detector import open_detector
    from scripts.media import images, inference
    from scripts.scoring import evaluation, thresholds

    pictures = images.find(img)
    detector = open_detector(exported / run, runtime, precision)
    text = str(reports / run / evaluation.METRICS) if threshold == "best" else threshold
    least = thresholds.parse(text, detector.label_map)
    assert least is not None  # only for "best"
    summary = inference.on_pictures(detector, exported / run, pictures, predictions / run, least)
    print(summary.text())
    raise typer.Exit(command.USER_ERROR if summary.failed else 0)


if __name__ == "__main__":
    command.run(main)
