"""Read images with their labelled boxes, for evaluation: from records, or from a folder with Pascal VOC XML."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import images, manifest, tfexample, tfrecord
from facemask.data.data_rules import Finding, refuse_stopping_findings
from facemask.data.discovery import discover_pictures
from facemask.data.labelled_picture import GroundTruth, read_labelled_picture
from facemask.data.splits import SPLITS


def read_records(annotations: Path, split: str) -> Iterator[tuple[np.ndarray, GroundTruth]]:
    """Yield the images of a split in the order of the record files. An image that train repeats is yielded once.

    Yields:
        The image, uint8 of shape (height, width, 3), RGB, and its ground truth.

    Raises:
        UserError: The split is unknown, or the records are missing or damaged.

    Example:
        >>> for image, truth in read_records(Path("annotations"), "test"):
        ...     print(truth.name, len(truth.boxes))
    """
    for encoded, truth in read_encoded_records(annotations, split):
        try:
            image = images.decode_image(encoded)
        except images.ImageError as error:
            message = f"{annotations}: {truth.name} in {split} cannot be read ({error}). Make the records again."
            raise UserError(message) from None
        yield image, truth


def read_encoded_records(annotations: Path, split: str) -> Iterator[tuple[bytes, GroundTruth]]:
    """Yield what `read_records` does, but the bytes of each image's file.

    Raises:
        UserError: The split is unknown, or the records are missing or damaged.
    """
    if split not in SPLITS:
        raise UserError(f"no split {split!r}. There are: {', '.join(SPLITS)}.")
    files = manifest.read_manifest(annotations).splits[split].files
    for _, encoded, truth in read_examples(annotations / file for file in files):
        yield encoded, truth


def read_examples(files: Iterable[Path]) -> Iterator[tuple[bytes, bytes, GroundTruth]]:
    """Yield the examples of record files, in order. An image that train repeats is yielded once.

    Yields:
        The serialised example, the bytes of its image's file, and its ground truth.

    Raises:
        UserError: A file is missing or damaged.
    """
    seen: set[str] = set()
    for file in files:
        for number, record in enumerate(tfrecord.read_tfrecord(file)):
            try:
                truth, encoded = tfexample.decode_example(record, image_id=len(seen) + 1)
            except ValueError as error:
                message = f"{file}: record {number} cannot be read ({error}). Make the records again."
                raise UserError(message) from None
            if truth.name not in seen:
                seen.add(truth.name)
                yield record, encoded, truth


def read_folder(
    root: Path, label_map: LabelMap, leave_out: Callable[[str], None] = lambda why: None
) -> Iterator[tuple[np.ndarray, GroundTruth]]:
    """Yield the labelled images of a folder that `make records` would use.

    Args:
        root: The folder.
        label_map: The classes.
        leave_out: Called with a line about each file that is left out: its path, and why.

    Raises:
        UserError: The folder has no usable image, or problems that stop `make records`.
    """
    sources, findings = discover_pictures(root)
    refuse_stopping_findings(root, findings)
    for finding in findings:
        leave_out(str(finding))
    usable = False
    for number, source in enumerate(sources, start=1):
        picture, encoded = read_labelled_picture(root, source, label_map)
        refuse_stopping_findings(root, picture.findings)
        if picture.usable:
            usable = True
            yield images.decode_image(encoded), picture.ground_truth(label_map, number)
        else:
            leave_out(str(Finding("lost_all_boxes", picture.name)))
    if not usable:
        raise UserError(f"{root}: no usable image in it. `make check IMAGES={root}` says why.")
