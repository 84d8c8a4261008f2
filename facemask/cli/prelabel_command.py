"""Label images with a trained model, for you to correct."""

import typer

from facemask.cli import options
from facemask.core import command_line


@options.expand_groups
def main(
    images: options.Images = options.IMAGES,
    which: options.DetectorOptions = options.DETECTOR,
    threshold: options.Threshold = options.THRESHOLD,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write Pascal VOC files beside the pictures that have none, for a person to correct. A person's files are kept."""
    from facemask.detect import detector_choice
    from facemask.labelling import prelabelling
    from facemask.media.picture_files import find_pictures

    pictures = find_pictures(str(images))
    chosen = detector_choice.choose_detector(which.choice())
    least = chosen.parse_thresholds(threshold, reports)
    summary = prelabelling.prelabel_pictures(chosen.open(), pictures, least)
    print(summary.text(images))
    raise typer.Exit(command_line.USER_ERROR if summary.failed else 0)
