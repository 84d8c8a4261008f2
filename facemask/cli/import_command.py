"""Bring labels of other tools in: COCO, YOLO, CVAT, Label Studio, Pascal VOC."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Folder, zip archive, or JSON, XML or YAML file with the labels."),
    ] = None,
    map_: Annotated[
        str, typer.Option("--map", help="Our class for each of its names: mask:with_mask,no-mask:without_mask.")
    ] = "",
    drop: Annotated[str, typer.Option(help="Names whose boxes are dropped, separated by commas.")] = "",
    format_: Annotated[
        str, typer.Option("--format", help="coco, yolo, cvat, label_studio or voc. Default: recognised.")
    ] = "",
    pictures: Annotated[
        Path | None, typer.Option(help="Folder or zip of the pictures, where they are not with the labels.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the new folder in IMAGES. Default: the source's.")] = "",
    origin: Annotated[str, typer.Option(help="Where the pictures come from. Default: what the source says.")] = "",
    licence: Annotated[str, typer.Option(help="The pictures' licence. Default: what the source says.")] = "",
    link: Annotated[bool, typer.Option("--link", help="Hard links to the pictures, and no copies.")] = False,
    clip: Annotated[bool, typer.Option("--clip", help="Clip boxes that stick out of their picture.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Leave out what has a problem, and name it.")] = False,
    keep_look_alikes: Annotated[
        bool, typer.Option("--keep-look-alikes", help="Take pictures that look like one that is there.")
    ] = False,
    keep_splits: Annotated[
        bool, typer.Option("--keep-splits", help="Keep the splits of the source's folders train/, valid/ and test/.")
    ] = False,
    images: options.Images = options.IMAGES,
    annotations: options.Annotations = options.ANNOTATIONS,
    classes: options.Classes = options.CLASSES,
    processes: options.Processes = options.PROCESSES,
) -> None:
    """Bring the labels and pictures of another tool into the folder of images, as Pascal VOC."""
    from facemask.core.errors import UserError
    from facemask.core.label_map import read_classes
    from facemask.data import records_summary
    from facemask.data.class_mapping import parse_class_mapping
    from facemask.data.label_import import ImportOptions, import_labels

    if from_ is None:
        raise UserError("Say what to import: make import FROM=<folder, zip, JSON or XML file>.")
    mapping = parse_class_mapping(map_, drop, read_classes(classes))
    chosen = ImportOptions(format_, name, origin, licence, link, clip, skip, keep_look_alikes, keep_splits, processes)
    with records_summary.records_progress("import") as advance:
        report = import_labels(from_, images, annotations, mapping, chosen, pictures, advance)
    print(report.text())
