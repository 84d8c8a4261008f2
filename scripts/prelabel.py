"""`make prelabel`: let a trained model draw the boxes that a person then corrects in labelImg."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.detect import options
from scripts.support import command


def main(
    images: Annotated[Path, typer.Option(help="Folder with the pictures; those without an XML get one.")] = Path(
        "workspace/images"
    ),
    run: Annotated[str, typer.Option(help="Name of the exported run.")] = "default",
    detector: options.Detector = "ssd",
    faces: options.Faces = "yunet",
    faces_model: options.FacesModel = None,
    faces_size: options.FacesSize = 0,
    classifier: options.Classifier = "classifier",
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="Score from which a box is written.")] = 0.5,
    runtime: options.Runtime = "auto",
    precision: options.Precision = "auto",
    exported: Annotated[Path, typer.Option(help="Folder of the exported models.")] = Path("workspace/exported"),
) -> None:
    """Write Pascal VOC files for a person to correct, beside the pictures that have none; a person's own stay."""
    from scripts.detect import choosing
    from scripts.labelling import prelabel
    from scripts.media.images import find

    pictures = find(str(images))
    chosen = choosing.choose(
        choosing.Choice(exported, run, detector, faces, faces_model, faces_size, classifier, runtime, precision)
    )
    summary = prelabel.on_pictures(chosen.open(), pictures, threshold)
    print(summary.text())
    raise typer.Exit(command.USER_ERROR if summary.failed else 0)


if __name__ == "__main__":
    command.run(main)
