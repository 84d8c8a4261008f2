"""The images and boxes that detections are held against: from records, or from a folder with Pascal VOC XML."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.dataset import audit, images, manifest, tfexample, tfrecord
from scripts.dataset.label_map import LabelMap
from scripts.dataset.splits import SPLITS
from scripts.support.errors import UserError


@dataclass(frozen=True)
class Truth:
    """What is on an image.

    Attributes:
        image_id: A number from 1, unique among the images read together.
        name: The image's path in its data set.
        width: Pixels.
        height: Pixels.
        boxes: (n, 4) float64, xyxy in pixels.
        class_ids: (n,) int64, ids of the label map.
        difficult: (n,) bool.
    """

    image_id: int
    name: str
    width: int
    height: int
    boxes: np.ndarray
    class_ids: np.ndarray
    difficult: np.ndarray


def read_records(annotations: Path, split: str) -> Iterator[tuple[np.ndarray, Truth]]:
    """The images of a split, one at a time, in the order of the record files. An image that train repeats comes once.

    Yields:
        The image, uint8 of shape (height, width, 3), RGB, and what is on it.

    Raises:
        UserError: No such split, no records, or damaged ones.

    Example:
        >>> for image, truth in read_records(Path("annotations"), "test"):
        ...     print(truth.name, len(truth.boxes))
    """
    if split not in SPLITS:
        raise UserError(f"no split {split!r}. There are: {', '.join(SPLITS)}.")
    seen: set[str] = set()
    for file in manifest.read(annotations).splits[split].files:
        for number, record in enumerate(tfrecord.read(annotations / file)):
            try:
                example = tfexample.decode(record)
                if example.name in seen:
                    continue
                image = images.decode(example.encoded)
            except (ValueError, images.ImageError) as error:
                message = f"{annotations / file}: record {number} cannot be read ({error}). Make the records again."
                raise UserError(message) from None
            seen.add(example.name)
            yield (
                image,
                Truth(
                    image_id=len(seen),
                    name=example.name,
                    width=example.width,
                    height=example.height,
                    boxes=example.boxes,
                    class_ids=example.class_ids,
                    difficult=example.difficult,
                ),
            )


def read_folder(root: Path, label_map: LabelMap) -> Iterator[tuple[np.ndarray, Truth]]:
    """The labelled images of a folder, under the rules of `make records`; images that it would not use are left out.

    Raises:
        UserError: The folder has no labelled image, or problems for which `make records` would make no records.
    """
    items, findings = audit.discover(root)
    audit.refuse(root, findings)
    for number, item in enumerate(items, start=1):
        examined = audit.examine(root, item, label_map)
        audit.refuse(root, examined.findings)
        if not examined.usable or examined.image is None:
            continue
        yield (
            images.decode(examined.image.encoded),
            Truth(
                image_id=number,
                name=item.name,
                width=examined.image.width,
                height=examined.image.height,
                boxes=np.array([(b.xmin, b.ymin, b.xmax, b.ymax) for b in examined.boxes], np.float64).reshape(-1, 4),
                class_ids=np.array([label_map.id_of(box.label) for box in examined.boxes], dtype=np.int64),
                difficult=np.array([box.difficult for box in examined.boxes], dtype=bool),
            ),
        )
