"""Convert labelled images into the label map and the records."""

from typing import Annotated

import typer

from facemask.cli import options


def main(
    images: options.Images = options.IMAGES,
    annotations: options.Annotations = options.ANNOTATIONS,
    classes: options.Classes = options.CLASSES,
    split: options.Shares = options.SHARES,
    look_alikes: options.LookAlikes = options.LOOK_ALIKES,
    shards: Annotated[
        int, typer.Option(help="Record files for each split; 0: one, or several of 200 MB.", min=0, max=9999)
    ] = 0,
    repeat: options.Repeat = options.REPEAT,
    processes: options.Processes = options.PROCESSES,
    runner: Annotated[
        str, typer.Option(help="Apache Beam runner that makes the records, such as FlinkRunner: see docs/beam.md.")
    ] = "",
    runner_options: Annotated[str, typer.Option(help="Options for the runner, as on a command line.")] = "",
) -> None:
    """Convert labelled images into records for the Object Detection API."""
    from facemask.core.label_map import read_classes
    from facemask.data import beam_runner, make_records, records_summary
    from facemask.data.splits import Proportions, parse_look_alikes

    label_map = read_classes(classes)
    how = make_records.RecordOptions(
        Proportions.parse(split), shards, make_records.parse_repeat(repeat, label_map), parse_look_alikes(look_alikes)
    )
    elsewhere = beam_runner.beam_workers(runner, runner_options) if runner else None
    with records_summary.records_progress("records") as advance:
        report = make_records.make_records(images, annotations, label_map, how, processes, advance, elsewhere)
    records_summary.print_records(report, annotations)
