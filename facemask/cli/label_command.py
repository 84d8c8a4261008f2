"""Draw boxes on your images, in labelImg."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options
from facemask.core.errors import UserError
from facemask.core.label_map import read_classes
from facemask.labelling import display


def main(
    images: options.Images = options.IMAGES,
    classes: options.Classes = options.CLASSES,
    suspects: Annotated[
        str, typer.Option(help="Open only the pictures of suspicious labels: the RUN of make suspects.")
    ] = "",
    reports: options.Reports = options.REPORTS,
) -> None:
    """Open labelImg on a folder of images with the project's classes. It saves Pascal VOC XML beside the images."""
    label_map = read_classes(classes)
    if not images.is_dir():
        raise UserError(f"{images}: no such folder. Put your photographs there, or name another one with IMAGES=.")
    pictures = notes = None
    if suspects:
        pictures, notes = _suspect_pictures(images.resolve(), reports, suspects)
    display.forget_cv2(os.environ)
    display.check_display(os.environ)
    from facemask.labelling import labelimg

    with tempfile.TemporaryDirectory() as folder:
        classes_file = Path(folder) / "classes.txt"
        sys.exit(labelimg.show(images.resolve(), label_map.names, classes_file, pictures, notes))


def _suspect_pictures(images: Path, reports: Path, run: str) -> tuple[list[Path], dict[Path, str]]:
    from facemask.core.run_names import run_folder
    from facemask.labelling.suspect_pictures import find_suspect_pictures

    return find_suspect_pictures(images, run_folder(reports, run, "SUSPECTS"))
