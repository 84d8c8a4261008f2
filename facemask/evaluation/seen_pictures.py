"""Count the pictures of an evaluation on which the detector was trained."""

from collections.abc import Sequence

from PIL import Image

from facemask.core.label_map import LabelMap
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
    """The line for the user about a detector that was trained on some of the pictures."""
    return (
        f"RUN={name} was trained on {seen} of these pictures, or on some that look like them: its figures on them say "
        "nothing about other pictures. The model card has figures on held-out ones."
    )
