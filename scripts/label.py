"""`make label`: draw boxes around faces in labelImg, saved as Pascal VOC beside the images."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from scripts.dataset.label_map import read_classes
from scripts.labelling import display
from scripts.support import command
from scripts.support.errors import UserError


def main(
    images: Annotated[
        Path, typer.Option(help="Folder with the images; each image's XML is read and written beside it.")
    ] = Path("workspace/images"),
    classes: Annotated[Path, typer.Option(help="The class list: one name a line.")] = Path("configs/classes.txt"),
) -> None:
    """Open labelImg on a folder of images, with the project's classes, saving Pascal VOC beside the images."""
    label_map = read_classes(classes)
    if not images.is_dir():
        raise UserError(f"{images}: no such folder. Put your photographs there, or name another one with IMAGES=.")
    display.forget_cv2(os.environ)
    display.check(os.environ)
    from scripts.labelling import labelimg

    with tempfile.TemporaryDirectory() as folder:
        sys.exit(labelimg.show(images.resolve(), label_map.names, Path(folder) / "classes.txt"))


if __name__ == "__main__":
    command.run(main)
