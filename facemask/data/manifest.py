"""Read and write `records.json`, which describes a folder of records.

    {"format": 1, "classes": ["with_mask", ...],
     "splits": {"train": {"files": ["train.record"], "images": 533, "boxes": 2600,
                          "boxes_per_class": {"with_mask": 2050, ...}, "max_boxes": 115}, "val": {...}, "test": {...}},
     "digest": "<sha256 over what went in>", "made": {...}}

`images` and `boxes` count each image once, even if train holds it several times.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from facemask.core import json_files
from facemask.core.files import write_json
from facemask.data.splits import SPLITS

NAME = "records.json"
FORMAT = 1


@dataclass(frozen=True)
class Split:
    """One split's records.

    Attributes:
        files: Names of the record files, in order.
        images: Number of different images.
        boxes: Number of their boxes.
        boxes_per_class: Number of boxes of each class, all classes in the order of their ids.
        max_boxes: Largest number of boxes on one image.
    """

    files: tuple[str, ...]
    images: int
    boxes: int
    boxes_per_class: Mapping[str, int]
    max_boxes: int


@dataclass(frozen=True)
class Manifest:
    """The contents of `records.json`.

    Attributes:
        classes: The class names in the order of their ids.
        splits: `train`, `val` and `test`.
        digest: SHA-256 over the images, the XML, the classes, the splits and the options, in hex.
        made: The provenance of the records.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    digest: str
    made: Mapping[str, Any] = field(default_factory=dict)


def write_manifest(annotations: Path, manifest: Manifest) -> None:
    """Write `records.json`."""
    write_json(annotations / NAME, {"format": FORMAT, **asdict(manifest)})


def read_manifest(annotations: Path) -> Manifest:
    """Read `records.json`.

    Raises:
        UserError: The folder holds no records, or records of another format.
    """
    path = annotations / NAME
    absent = f"{path}: no records there yet. Make them first: make records."
    again = "Make the records again: make records."
    with json_files.reading_json(path, FORMAT, step="records", absent=absent, again=again) as value:
        splits = {
            name: Split(
                files=tuple(value["splits"][name]["files"]),
                images=int(value["splits"][name]["images"]),
                boxes=int(value["splits"][name]["boxes"]),
                boxes_per_class={str(k): int(v) for k, v in value["splits"][name]["boxes_per_class"].items()},
                max_boxes=int(value["splits"][name]["max_boxes"]),
            )
            for name in SPLITS
        }
        return Manifest(tuple(value["classes"]), splits, str(value["digest"]), dict(value["made"]))
