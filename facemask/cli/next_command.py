"""Choose the pictures to label next, from a folder or a video, and prelabel them."""

from typing import Annotated

import typer

from facemask.cli import options


@options.expand_groups
def main(
    from_: Annotated[
        str, typer.Option("--from", help="Folder of pictures, glob, or video file; also the snapshots of make watch.")
    ] = "",
    count: Annotated[int, typer.Option(help="Pictures to choose at most.", min=1)] = 50,
    negatives: Annotated[
        bool,
        typer.Option(
            "--negatives", help="The scene is known to be empty: collect what is detected, as pictures without faces."
        ),
    ] = False,
    other: Annotated[
        str,
        typer.Option(
            help="A second detector: a kind as in DETECTOR, or the name of another exported run. Pictures on which the "
            "two disagree count more."
        ),
    ] = "",
    every: Annotated[
        float, typer.Option(help="Seconds of a video between two frames that are looked at.", min=0)
    ] = 0.2,
    apart: Annotated[float, typer.Option(help="Least seconds of a video between two chosen frames.", min=0)] = 2.0,
    name: Annotated[str, typer.Option(help="Name of the new folder in IMAGES. Default: next-<source>.")] = "",
    images: options.Images = options.IMAGES,
    which: options.DetectorOptions = options.DETECTOR,
    threshold: options.Threshold = options.THRESHOLD,
    reports: options.Reports = options.REPORTS,
    processes: options.Processes = options.PROCESSES,
) -> None:
    """Copy the pictures that would teach most into a new folder in IMAGES, with the detector's boxes to correct.

    They are those that the detector is unsure about, and no two of them look alike.
    """
    from facemask.core.errors import UserError
    from facemask.core.provenance import made_by
    from facemask.core.run_names import run_folder
    from facemask.data import records_summary
    from facemask.data.splits import SPLITS
    from facemask.detect import detector_choice
    from facemask.labelling import next_pictures
    from facemask.media.sources import is_footage

    if not from_:
        raise UserError("Say where to choose from: make next FROM=<folder or video>.")
    if name:
        run_folder(images, name, "NAME")
    if name in SPLITS:
        raise UserError(f"NAME={name}: a folder of this name in {images} is that split. Choose another name.")
    choice = which.choice(moving=is_footage(from_))
    chosen = detector_choice.choose_detector(choice)
    least = chosen.parse_thresholds(threshold, reports)
    rival = detector_choice.choose_other_detector(choice, other) if other else None
    how = next_pictures.NextOptions(count, name, least, negatives, every, apart, processes)
    made = made_by(
        "next", **vars(which), source=from_, count=count, negatives=negatives, other=other, threshold=threshold
    )
    with records_summary.records_progress("next") as advance:
        found = next_pictures.collect_next_pictures(
            from_, images, chosen.open(), how, made, rival.open() if rival else None, advance
        )
    print(found.text())
