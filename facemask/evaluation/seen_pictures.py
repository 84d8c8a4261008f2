"""Count the pictures of an evaluation on which the detector was trained."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from facemask.core.label_map import LabelMap
from facemask.data import manifest
from facemask.data.perceptual_hash import MAX_DISTANCE, perceptual_hash
from facemask.evaluation import evaluated_pictures
from facemask.evaluation.evaluated_pictures import PictureSource


def count_seen(where: PictureSource, label_map: LabelMap, training_pictures: Sequence[int]) -> int:
    """The number of pictures that look like one of the training pictures, which a detector's figures do not count for.

    Look-alikes are recognised by their perceptual hash, so another format, size or name of a file changes nothing.

    Args:
        where: The pictures of the evaluation.
        label_map: The classes.
        training_pictures: The perceptual hashes of the training pictures; without any, nothing is read.
    """
    if not training_pictures:
        return 0
    hashes = (
        perceptual_hash(Image.fromarray(image)) for image, _ in evaluated_pictures.read_pictures(where, label_map)
    )
    return sum(any((one ^ known).bit_count() <= MAX_DISTANCE for known in training_pictures) for one in hashes)


def warning(name: str, seen: int) -> str:
    """The line for the user about a detector that has learned some of the pictures."""
    return (
        f"RUN={name} was trained on {seen} of these pictures, or on some that look like them, by itself or in the "
        "shipped weights that it comes from: its figures on them say nothing about other pictures. The model card of "
        "the shipped weights has figures on held-out ones."
    )


def warn_of_start(
    start: str, annotations: Path, training_pictures: Sequence[int], report: Callable[[str], None] = print
) -> None:
    """Warn the user who trains on from weights that have learned pictures of val or test.

    Args:
        start: The option that chose the weights, for the line: `CHECKPOINT=ready`.
        annotations: The records.
        training_pictures: The perceptual hashes of the pictures that the weights have learned.
        report: Called with the line, if there is one.
    """
    records = manifest.read_manifest(annotations)
    for split in ("val", "test"):
        if count := records.splits[split].images:
            where = PictureSource(annotations, split, records.digest, count)
            if seen := count_seen(where, LabelMap(records.classes), training_pictures):
                report(
                    f"{start}: its weights were trained on {seen} of the {count} pictures of {split}, or on some that "
                    "look like them: figures on them say nothing about other pictures."
                )
