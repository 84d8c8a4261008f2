"""Read `ready.json`, which describes the detector that comes with facemask, and check its files.

facemask/ready/
    ready.json                              forms, thresholds, digests, provenance (`ShippedDetector`)
    README.md                               the model card
    detector/                               an exported model: model.json and openvino/, large kernels in 8 bits
    classifier/, classifier-2/              exported classifiers: classifier.json and openvino/, large kernels in 8 bits
    face_detection_yunet_2023mar.onnx       YuNet as it was published: the default of FACES=yunet
    faces.onnx                              YuNet as `make faces` trained it on faces with masks

`make ready` writes the folder. Without `ready.json` there is no shipped detector, and everything else works as ever.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core import json_files
from facemask.core.errors import UserError
from facemask.core.files import sha256

FOLDER = Path(__file__).parent
NAME = "ready.json"
FORMAT = 2

FORMS = ("ready", "ready-fast", "ready-ssd")
"""The names that RUN= takes: the most accurate form, the fastest one, and the SSD alone, which is a single network."""

DETECTOR, CLASSIFIER, YUNET = "detector", "classifier", "face_detection_yunet_2023mar.onnx"
FACES = "faces.onnx"
CLASSIFIERS = (CLASSIFIER, f"{CLASSIFIER}-2")
"""The classifiers: `CLASSIFIER` alone, or the means of the probabilities of both."""

HASH_BYTES = 16
"""Bytes of a perceptual hash (`facemask.data.perceptual_hash`)."""

TRAINING_WEIGHTS = "training"
"""The folder of the weights to train on, in that of the shipped detector: `detector.npz` and `classifier.npz`. It is in
a checkout of the project, and not in the installed package."""


@dataclass(frozen=True)
class FileDigest:
    """The size of a file in bytes, and its SHA-256."""

    size: int
    sha256: str

    def check(self, path: Path, again: str) -> None:
        """Raise a UserError that names the file if it is missing or has another content; `again` says what to do."""
        if not path.is_file():
            raise UserError(f"{path}: no such file. {again}")
        if path.stat().st_size != self.size:
            raise UserError(f"{path}: has {path.stat().st_size} bytes instead of {self.size}. {again}")
        if sha256(path) != self.sha256:
            raise UserError(f"{path}: was changed: its SHA-256 is not that of {NAME}. {again}")


@dataclass(frozen=True)
class ShippedForm:
    """One form of the shipped detector.

    Attributes:
        name: One of `FORMS`.
        detector: What it is, as DETECTOR= names it: ssd, two_stage, rescored or fused.
        faces: The face detector of two_stage and fused, as FACES= names it.
        faces_file: The name of its file in the folder: `YUNET` or `FACES`.
        faces_sizes: The longer sides in pixels to which pictures are scaled for it; none if it has no face detector.
        classifiers: How many of `CLASSIFIERS` it uses.
        thresholds: The score of each class from which a box counts, by class.
    """

    name: str
    detector: str
    faces: str
    faces_file: str
    faces_sizes: tuple[int, ...]
    classifiers: int
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class ShippedDetector:
    """The contents of `ready.json`.

    Attributes:
        folder: Its folder.
        forms: The forms by name.
        training_pictures: The perceptual hashes of the pictures that it was trained on.
        training_weights: The digests of the weights to train on, by part.
    """

    folder: Path
    forms: Mapping[str, ShippedForm]
    training_pictures: tuple[int, ...]
    training_weights: Mapping[str, FileDigest]


def is_shipped(folder: Path = FOLDER) -> bool:
    """Whether there is a shipped detector."""
    return (folder / NAME).is_file()


def shipped_yunet(folder: Path = FOLDER) -> Path | None:
    """YuNet's network in the folder, if it is there."""
    path = folder / YUNET
    return path if path.is_file() else None


def open_shipped(folder: Path = FOLDER) -> ShippedDetector:
    """Read `ready.json`, and check each file that it names against its size and SHA-256.

    Raises:
        UserError: A file is missing, cut short or changed; the message names it.
    """
    again = "Install facemask again, or in a checkout: git checkout -- facemask/ready"
    absent = f"{folder / NAME}: no such file: this facemask comes without a detector. `make train` trains one."
    with json_files.reading_json(folder / NAME, FORMAT, step="ready", absent=absent, again=f"{again}.") as value:
        files = {str(name): _as_digest(one) for name, one in value["files"].items()}
        forms = {
            str(name): ShippedForm(
                str(name),
                str(one["detector"]),
                str(one["faces"]),
                str(one.get("faces_file", YUNET)),
                tuple(int(size) for size in one["faces_sizes"]),
                int(one["classifiers"]),
                {str(label): float(score) for label, score in one["thresholds"].items()},
            )
            for name, one in value["forms"].items()
        }
        hashes = base64.b64decode(value["training_pictures"], validate=True)
        training_weights = {str(name): _as_digest(one) for name, one in value["training_weights"].items()}
    for name, digest in files.items():
        digest.check(folder / name, again)
    return ShippedDetector(folder, forms, unpack_hashes(hashes), training_weights)


def training_weights(part: str, folder: Path = FOLDER) -> Path:
    """The file of the weights to train on of `DETECTOR` or `CLASSIFIER`, checked against its size and SHA-256.

    Raises:
        UserError: There is no shipped detector, or the file is missing, cut short or changed.
    """
    path = folder / TRAINING_WEIGHTS / f"{part}.npz"
    open_shipped(folder).training_weights[part].check(
        path,
        "The weights to train on are in the repository, not in the installed package: git checkout -- facemask/ready",
    )
    return path


def _as_digest(value: Mapping[str, Any]) -> FileDigest:
    return FileDigest(int(value["bytes"]), str(value["sha256"]))


def pack_hashes(hashes: list[int]) -> bytes:
    """Perceptual hashes as bytes, sorted."""
    return b"".join(value.to_bytes(HASH_BYTES, "big") for value in sorted(hashes))


def unpack_hashes(packed: bytes) -> tuple[int, ...]:
    """Back from `pack_hashes`."""
    pieces = range(0, len(packed), HASH_BYTES)
    return tuple(int.from_bytes(packed[start : start + HASH_BYTES], "big") for start in pieces)
