"""Records for cross-validation: one folder of records for each fold, and `folds.json`, which describes them.

annotations/folds.json      the assignment (`Folds`)
annotations/folds/0/ ...    records whose test split is fold 0, whose val split is a small part of the other folds,
                            and whose train split is the rest of them; made as `make records` makes records
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from facemask.core import json_files
from facemask.core.errors import UserError
from facemask.core.files import write_json
from facemask.core.label_map import LabelMap
from facemask.data import manifest
from facemask.data.folds import FoldPicture, assign_folds

FORMAT = 1
NAME = "folds.json"
FOLDER = "folds"

VAL_PART = 8
"""Val gets one part in this many of the pictures outside the fold; more where a class has fewer groups of pictures."""


class DigestedPicture(FoldPicture, Protocol):
    """The attributes of a picture that `folds.json` needs; a `LabelledPicture` has them."""

    @property
    def image_sha256(self) -> str:
        """SHA-256 of the image file, in hex."""

    @property
    def xml_sha256(self) -> str:
        """SHA-256 of the XML file, in hex."""


@dataclass(frozen=True)
class Folds:
    """The contents of `folds.json`.

    Attributes:
        annotations: The folder that holds it.
        count: How many folds there are.
        seed: The seed of the assignment.
        classes: The class names in the order of their ids.
        fold_of: The fold in which each picture is tested, 0..count - 1, by name.
        digest: SHA-256 over the pictures, their XML and the assignment, in hex.
        records: The digest of each fold's records.
        faces: Faces of each class in each fold.
    """

    annotations: Path
    count: int
    seed: int
    classes: tuple[str, ...]
    fold_of: Mapping[str, int]
    digest: str
    records: tuple[str, ...]
    faces: tuple[Mapping[str, int], ...]

    def records_folder(self, fold: int) -> Path:
        """The folder of a fold's records."""
        return records_folder(self.annotations, fold)

    def refuse_other_records(self, fold: int) -> None:
        """Raise UserError where the records of a fold are not those that `make folds` made with this `folds.json`."""
        folder = self.records_folder(fold)
        if manifest.read_manifest(folder).digest != self.records[fold]:
            raise UserError(
                f"{folder}: these records are not the ones that {self.annotations / NAME} names. Run `make folds` "
                "again, and cross-validate from the start: FRESH=1."
            )


WriteRecords = Callable[[Path, Mapping[str, str]], str]
"""Makes the records of one fold: (their folder, the split of each picture by name) -> the records' digest."""


def records_folder(annotations: Path, fold: int) -> Path:
    """The folder of a fold's records."""
    return annotations / FOLDER / str(fold)


def split_of_fold(
    pictures: Sequence[FoldPicture], fold_of: Mapping[str, int], fold: int, seed: int = 0
) -> dict[str, str]:
    """The split of each picture in one fold's records.

    Args:
        pictures: All pictures.
        fold_of: The fold in which each is tested, from `assign_folds`.
        fold: The fold that becomes the test split.
        seed: Of the choice of val.

    Returns:
        `train`, `val` or `test`, by name. Look-alikes are in one split, and val holds every class.

    Raises:
        UserError: The pictures of a class outside the fold do not suffice for both train and val.
    """
    others = [picture for picture in pictures if fold_of[picture.name] != fold]
    inner: dict[str, int] = {}
    for parts in range(VAL_PART, 1, -1):
        try:
            inner = assign_folds(others, parts, seed)
            break
        except UserError:
            continue
    if not inner:
        raise UserError(
            f"fold {fold}: outside of it a class is on one picture only, where look-alikes count once, and train and "
            "val need one each. Label more, or use more folds."
        )
    return {
        picture.name: "test" if picture.name not in inner else "val" if inner[picture.name] == 0 else "train"
        for picture in pictures
    }


def make_folds(
    pictures: Iterable[DigestedPicture],
    annotations: Path,
    label_map: LabelMap,
    count: int,
    seed: int,
    write_records: WriteRecords,
    made: Mapping[str, Any],
) -> Folds:
    """Assign the pictures to folds, make the records of each fold, and write `folds.json` last.

    Args:
        pictures: The usable labelled pictures.
        annotations: The folder for `folds.json` and the records.
        label_map: The classes.
        count: How many folds.
        seed: Another seed gives other folds.
        write_records: Makes one fold's records.
        made: The provenance, from `provenance.made_by`.

    Raises:
        UserError: Fewer pictures than folds, or a class on fewer pictures than folds; nothing is written then.
    """
    ordered = sorted(pictures, key=lambda picture: picture.name)
    fold_of = assign_folds(ordered, count, seed)
    split_of = [split_of_fold(ordered, fold_of, fold, seed) for fold in range(count)]
    faces = [Counter[str]() for _ in range(count)]
    for picture in ordered:
        faces[fold_of[picture.name]].update(picture.class_counts)
    (annotations / NAME).unlink(missing_ok=True)  # it does not describe the new records
    digests = [write_records(records_folder(annotations, fold), split_of[fold]) for fold in range(count)]
    folds = Folds(
        annotations=annotations,
        count=count,
        seed=seed,
        classes=label_map.names,
        fold_of=fold_of,
        digest=_digest(ordered, fold_of, label_map),
        records=tuple(digests),
        faces=tuple({name: held[name] for name in label_map.names} for held in faces),
    )
    write_json(
        annotations / NAME,
        {
            "format": FORMAT,
            "folds": count,
            "seed": seed,
            "classes": list(label_map.names),
            "digest": folds.digest,
            "records": list(folds.records),
            "faces": [dict(held) for held in folds.faces],
            "pictures": dict(fold_of),
            "made": dict(made),
        },
    )
    _remove_other_folds(annotations, count)
    return folds


def read_folds(annotations: Path) -> Folds:
    """Read `folds.json`.

    Raises:
        UserError: There is none, or it is not what `make folds` writes.
    """
    path = annotations / NAME
    absent = f"{path}: no folds there yet. Make them first: make folds."
    again = "Make the folds again: make folds."
    with json_files.reading_json(path, FORMAT, step="folds", absent=absent, again=again) as value:
        count = int(value["folds"])
        folds = Folds(
            annotations=annotations,
            count=count,
            seed=int(value["seed"]),
            classes=tuple(str(name) for name in value["classes"]),
            fold_of={str(name): int(fold) for name, fold in value["pictures"].items()},
            digest=str(value["digest"]),
            records=tuple(str(digest) for digest in value["records"]),
            faces=tuple({str(name): int(n) for name, n in held.items()} for held in value["faces"]),
        )
        if len(folds.records) != count or not set(folds.fold_of.values()) <= set(range(count)):
            raise ValueError("folds without records")
    return folds


def _digest(pictures: Sequence[DigestedPicture], fold_of: Mapping[str, int], label_map: LabelMap) -> str:
    rows = [(one.name, one.image_sha256, one.xml_sha256, fold_of[one.name]) for one in pictures]
    return hashlib.sha256(json.dumps([FORMAT, label_map.names, rows]).encode("utf-8", "surrogatepass")).hexdigest()


def _remove_other_folds(annotations: Path, count: int) -> None:
    """Remove the records of folds that an earlier `make folds` with more folds made."""
    for folder in (annotations / FOLDER).iterdir():
        if folder.name.isdecimal() and int(folder.name) >= count and (folder / manifest.NAME).is_file():
            shutil.rmtree(folder)
