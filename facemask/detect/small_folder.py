"""The folder of a detector for small machines, which `make small` writes: both networks of two stages for LiteRT.

workspace/exported/<NAME>/
    faces.tflite                          YuNet
    tflite/<form>.tflite                  the classifier, in one of `litert_model.FORMS`
    classifier.json, label_map.pbtxt      its description, as of every exported classifier
    small.json                            sizes, thresholds, the form of each network with its measurements, provenance
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facemask.core import json_files

NAME = "small.json"
FORMAT = 1
FACES = "faces.tflite"


@dataclass(frozen=True)
class SmallDetector:
    """What using the folder needs of `small.json`.

    Attributes:
        faces_size: The longer side in pixels to which pictures are scaled for YuNet.
        forms: The form of `faces` and of `classifier`, each one of `litert_model.FORMS`.
        thresholds: The score of each class from which a box counts, by class.
    """

    faces_size: int
    forms: Mapping[str, str]
    thresholds: Mapping[str, float]


def is_small(folder: Path) -> bool:
    """Whether a folder holds a detector for small machines."""
    return (folder / NAME).is_file()


def read_small(folder: Path) -> SmallDetector:
    """Read `small.json`.

    Raises:
        UserError: It is missing, or not what `make small` writes.
    """
    path, again = folder / NAME, f"Run `make small NAME={folder.name}`."
    absent = f"{path}: no such file. {again}"
    with json_files.reading_json(path, FORMAT, step="small", absent=absent, again=again) as value:
        return SmallDetector(
            int(value["faces_size"]),
            {part: str(value["networks"][part]["form"]) for part in ("faces", "classifier")},
            {str(name): float(score) for name, score in value["thresholds"].items()},
        )
