"""Write the labels for other tools: COCO, YOLO, CVAT, Label Studio."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    out: Annotated[str, typer.Option(help="The format: coco, yolo, cvat or label_studio.")] = "",
    folder: Annotated[Path | None, typer.Option(help="Folder to write. Default: workspace/labels/<OUT>.")] = None,
    images: options.Images = options.IMAGES,
    annotations: options.Annotations = options.ANNOTATIONS,
    classes: options.Classes = options.CLASSES,
    processes: options.Processes = options.PROCESSES,
) -> None:
    """Write the labels, with links to their pictures, as another tool reads them."""
    from facemask.core.errors import UserError
    from facemask.core.label_map import read_classes
    from facemask.data import records_summary
    from facemask.data.label_export import export_labels

    if not out:
        raise UserError("Say for which tool: make labels OUT=coco, yolo, cvat or label_studio.")
    target = folder or Path("workspace/labels") / out
    with records_summary.records_progress("labels") as advance:
        report = export_labels(images, annotations, target, out, read_classes(classes), processes, advance)
    print(report.text())
