"""Where the images of an evaluation come from, so that the report can look at them again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.dataset import manifest, truth
from scripts.dataset.label_map import LabelMap
from scripts.dataset.splits import SPLITS
from scripts.dataset.truth import Truth
from scripts.support.errors import UserError


@dataclass(frozen=True)
class Source:
    """One split of the records, or a folder with images and Pascal VOC XML.

    Attributes:
        path: The folder of records, or of images.
        split: The split; None for a folder of images.
        digest: The records' digest of all that went into them; None for a folder of images.
        images: Images in it where that is known beforehand.
    """

    path: Path
    split: str | None = None
    digest: str | None = None
    images: int | None = None

    @property
    def name(self) -> str:
        """What to call it."""
        return str(self.path) if self.split is None else f"{self.split} split of {self.path}"

    def to_json(self) -> dict[str, Any]:
        """As it stands in metrics.json."""
        return {"path": str(self.path), "split": self.split, "digest": self.digest}


def records(annotations: Path, split: str, label_map: LabelMap) -> Source:
    """A split of the records.

    Raises:
        UserError: There are no records, no such split, nothing in it, or other classes than in `label_map`.
    """
    if split not in SPLITS:
        raise UserError(f"no split {split!r}. There are: {', '.join(SPLITS)}.")
    made = manifest.read(annotations)
    if made.classes != label_map.names:
        raise UserError(
            f"{annotations}: its classes are {', '.join(made.classes)}; the model's are {', '.join(label_map.names)}. "
            "Evaluate a model of these classes, or make the records with the model's."
        )
    if made.splits[split].images == 0:
        filled = [name for name in SPLITS if made.splits[name].images]
        raise UserError(f"{annotations}: its split {split} has no images. Take {' or '.join(filled)}, or add images.")
    return Source(annotations, split, made.digest, made.splits[split].images)


def pictures(source: Source, label_map: LabelMap) -> Iterator[tuple[np.ndarray, Truth]]:
    """The images with their truth, one at a time.

    Raises:
        UserError: They cannot be read, or a class id is not in the label map.
    """
    if source.split is None:
        yield from truth.read_folder(source.path, label_map)
        return
    for image, what in truth.read_records(source.path, source.split):
        strange = what.class_ids[(what.class_ids < 1) | (what.class_ids > len(label_map))]
        if strange.size:
            raise UserError(
                f"{source.path}: {what.name} has class id {strange[0]}, which is not in the label map "
                f"({', '.join(label_map.names)}). The record files are of other classes: make the records again."
            )
        yield image, what


def from_json(value: dict[str, Any]) -> Source:
    """Back from `Source.to_json`."""
    return Source(Path(value["path"]), value["split"], value["digest"])
