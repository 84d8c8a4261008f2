"""Check the labelled images: count them, and report every problem by file."""

from pathlib import Path
from typing import Annotated

import typer

from facemask.cli import options


def main(
    images: options.Images = options.IMAGES,
    annotations: options.Annotations = options.ANNOTATIONS,
    classes: options.Classes = options.CLASSES,
    split: options.Shares = options.SHARES,
    look_alikes: options.LookAlikes = options.LOOK_ALIKES,
    size: Annotated[int, typer.Option(help="Side of the model's input in pixels.", min=32, max=4096)] = 640,
    anchor_scale: options.AnchorScale = options.ANCHOR_SCALE,
    page: Annotated[
        Path, typer.Option(help="The HTML page to write; a JSON file of the same name goes beside it.")
    ] = Path("workspace/reports/data.html"),
    strict: Annotated[bool, typer.Option("--strict", help="End with code 2 if there is an error.")] = False,
    processes: options.Processes = options.PROCESSES,
) -> None:
    """Check a labelled data set and report every problem by file."""
    from facemask.core.label_map import read_classes
    from facemask.data import check_page, dataset_check, records_summary
    from facemask.data.anchors import Anchors
    from facemask.data.splits import Proportions, parse_look_alikes

    check_page.refuse_wrong_page(page)
    label_map, proportions, anchors = read_classes(classes), Proportions.parse(split), Anchors(size, anchor_scale)
    with records_summary.records_progress("check") as advance:
        checked = dataset_check.check_data_set(
            images, annotations, label_map, proportions, anchors, processes, advance, parse_look_alikes(look_alikes)
        )
    check_page.write_check_page(checked, page)
    records_summary.print_checked(checked, page)
    if strict:
        dataset_check.refuse_errors(checked)
