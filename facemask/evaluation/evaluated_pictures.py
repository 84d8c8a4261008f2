"""The source of an evaluation's images, from which a report reads them again."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import fold_records, ground_truth, manifest
from facemask.data.labelled_picture import GroundTruth
from facemask.data.splits import SPLITS

FOLDS = "folds"
"""The name, in place of a split, of the held-out pictures of all folds. They are all pictures, each once."""


@dataclass(frozen=True)
class PictureSource:
    """One split of the records, the held-out pictures of all folds, or a folder with images and Pascal VOC XML.

    Attributes:
        path: The folder of records, or of images.
        split: The split, or `FOLDS`; None for a folder of images.
        digest: The digest of the records or the folds; None for a folder of images.
        images: Number of images; None if it is not known before reading.
    """

    path: Path
    split: str | None = None
    digest: str | None = None
    images: int | None = None

    @property
    def name(self) -> str:
        """A name to display."""
        if self.split == FOLDS:
            return f"held-out pictures of the folds in {self.path}"
        return str(self.path) if self.split is None else f"{self.split} split of {self.path}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values, for metrics.json. `source_from_json` reads them."""
        return {"path": str(self.path), "split": self.split, "digest": self.digest}


def records_source(annotations: Path, split: str, label_map: LabelMap) -> PictureSource:
    """A split of the records as a source.

    Raises:
        UserError: There are no records, there is no such split, it is empty, or the records have other classes than
            `label_map`.
    """
    if split not in SPLITS:
        raise UserError(f"no split {split!r}. There are: {', '.join(SPLITS)}.")
    made = manifest.read_manifest(annotations)
    if made.classes != label_map.names:
        raise UserError(
            f"{annotations}: its classes are {', '.join(made.classes)}; the model's are {', '.join(label_map.names)}. "
            "Evaluate a model with these classes, or make records with the model's classes."
        )
    if made.splits[split].images == 0:
        filled = [name for name in SPLITS if made.splits[name].images]
        raise UserError(f"{annotations}: its split {split} has no images. Take {' or '.join(filled)}, or add images.")
    return PictureSource(annotations, split, made.digest, made.splits[split].images)


def read_pictures(
    source: PictureSource, label_map: LabelMap, leave_out: Callable[[str], None] = lambda why: None
) -> Iterator[tuple[np.ndarray, GroundTruth]]:
    """Read the images with their ground truth, one at a time: uint8 arrays of shape (height, width, 3), RGB.

    Args:
        source: Where they are.
        label_map: The classes.
        leave_out: Called with a line about each file of a folder that is left out.

    Raises:
        UserError: They cannot be read, or a class id is not in the label map.
    """
    if source.split is None:
        yield from ground_truth.read_folder(source.path, label_map, leave_out)
        return
    if source.split == FOLDS:
        yield from _read_folds(source, label_map)
        return
    for image, what in ground_truth.read_records(source.path, source.split):
        strange = what.class_ids[(what.class_ids < 1) | (what.class_ids > len(label_map))]
        if strange.size:
            raise UserError(
                f"{source.path}: {what.name} has class id {strange[0]}, which is not in the label map "
                f"({', '.join(label_map.names)}). The record files have other classes: make the records again."
            )
        yield image, what


def source_from_json(value: dict[str, Any]) -> PictureSource:
    """Read a source from the values that `PictureSource.to_json` made."""
    return PictureSource(Path(value["path"]), value["split"], value["digest"])


def _read_folds(source: PictureSource, label_map: LabelMap) -> Iterator[tuple[np.ndarray, GroundTruth]]:
    """Read the held-out pictures fold by fold. A picture's id is its place in the order of all names, from 1."""
    folds = fold_records.read_folds(source.path)
    if folds.digest != source.digest:
        raise UserError(f"{source.path}: its folds are not the ones that were measured. Run `make crossval` again.")
    id_of = {name: number for number, name in enumerate(sorted(folds.fold_of), start=1)}
    for fold in range(folds.count):
        folds.refuse_other_records(fold)
        for image, truth in read_pictures(PictureSource(folds.records_folder(fold), "test"), label_map):
            yield image, dataclasses.replace(truth, image_id=id_of[truth.name])
