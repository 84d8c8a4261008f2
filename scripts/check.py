"""make check: look through a labelled data set, and say what is wrong with it before a day of training goes into it."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    images: Annotated[Path, typer.Option(help="Folder with images, each with its Pascal VOC XML beside it.")] = Path(
        "workspace/images"
    ),
    annotations: Annotated[
        Path, typer.Option(help="Earlier records of it, for the splits that images have; need not exist.")
    ] = Path("annotations"),
    classes: Annotated[Path, typer.Option(help="The class list: one name a line.")] = Path("configs/classes.txt"),
    split: Annotated[
        str, typer.Option(help="Shares of train, val and test among the images outside train/, val/ and test/.")
    ] = "70,15,15",
    size: Annotated[int, typer.Option(help="Side of the model's input in pixels.", min=32, max=4096)] = 640,
    anchor_scale: Annotated[float, typer.Option(help="The model's anchor scale.", min=0.1, max=100)] = 2.0,
    page: Annotated[Path, typer.Option(help="The HTML page that is written, with a JSON of its name.")] = Path(
        "workspace/reports/data.html"
    ),
    strict: Annotated[bool, typer.Option("--strict", help="End with code 2 if anything is an error.")] = False,
    processes: Annotated[int, typer.Option(help="Processes that read images; 0: one a processor.", min=0)] = 0,
) -> None:
    """Look through a labelled data set and report every problem by file."""
    from scripts.dataset import check, check_page, summary, workers
    from scripts.dataset.anchors import Anchors
    from scripts.dataset.label_map import read_classes
    from scripts.dataset.splits import Proportions

    label_map, proportions, anchors = read_classes(classes), Proportions.parse(split), Anchors(size, anchor_scale)
    with summary.progress("check") as advance:
        checked = check.check(
            images, annotations, label_map, proportions, anchors, processes or workers.available(), advance
        )
    check_page.write(checked, page)
    summary.print_checked(checked, page)
    if strict:
        check.refuse(checked)


if __name__ == "__main__":
    command.run(main)
