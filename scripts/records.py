"""make records: images with Pascal VOC XML -> label map, record files, and a table of what is in them."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    images: Annotated[Path, typer.Option(help="Folder with images, each with its Pascal VOC XML beside it.")] = Path(
        "workspace/images"
    ),
    annotations: Annotated[Path, typer.Option(help="Folder that the label map and the records go to.")] = Path(
        "annotations"
    ),
    classes: Annotated[Path, typer.Option(help="The class list: one name a line.")] = Path("configs/classes.txt"),
    split: Annotated[
        str, typer.Option(help="Shares of train, val and test among the images outside train/, val/ and test/.")
    ] = "70,15,15",
    shards: Annotated[
        int, typer.Option(help="Record files a split; 0: one, and more of 200 MB where it is large.", min=0, max=9999)
    ] = 0,
    repeat: Annotated[
        str, typer.Option(help="How often train holds the images of a rare class: CLASS=4[,CLASS=2].")
    ] = "",
    processes: Annotated[int, typer.Option(help="Processes that read images; 0: one a processor.", min=0)] = 0,
    runner: Annotated[
        str, typer.Option(help="Apache Beam's runner that makes them instead, such as FlinkRunner: see docs/beam.md.")
    ] = "",
    runner_options: Annotated[str, typer.Option(help="Options for that runner, as on a command line.")] = "",
) -> None:
    """Turn labelled images into records for the Object Detection API."""
    from scripts.dataset import beam, summary, workers
    from scripts.dataset import shards as records
    from scripts.dataset.label_map import read_classes
    from scripts.dataset.splits import Proportions

    label_map = read_classes(classes)
    options = records.Options(Proportions.parse(split), shards, records.parse_repeat(repeat, label_map))
    elsewhere = beam.on(runner, runner_options) if runner else None
    with summary.progress("records") as advance:
        report = records.write(
            images, annotations, label_map, options, processes or workers.available(), advance, elsewhere
        )
    summary.print_records(report, annotations)


if __name__ == "__main__":
    command.run(main)
