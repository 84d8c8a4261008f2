"""Writes results: the drawn picture, and the boxes as JSON, CSV or Pascal VOC.

A picture `sub/face.jpg` gives, in `workspace/predictions/<RUN>/`, `sub/face.jpg`, `sub/face.xml` as labelImg reads it,
and `sub/face.json`:

    {
      "format": 1,
      "image": {"file": "photos/sub/face.jpg", "width": 400, "height": 267},
      "model": {"run": "default", "model": "ssd_resnet50_v1_fpn_640x640", "steps": 3000, "config_sha256": "..."},
      "runtime": "openvino bf16",
      "packages": {"openvino": "2025.3.0"},
      "thresholds": {"with_mask": 0.5, "without_mask": 0.5, "mask_weared_incorrect": 0.5},
      "boxes": [{"class": "with_mask", "class_id": 1, "score": 0.93, "xmin": 12.5, "ymin": 3.0, "xmax": 40.1,
                 "ymax": 35.7}]
    }

Boxes are in pixels of the upright image, in the order of falling scores. The drawn picture may be larger (see
`annotating`). All pictures of a call share one table, `boxes.csv` (`PICTURE_COLUMNS`). Each video has its own table
(`FRAME_COLUMNS`), with one row for each face in each frame.
"""

import contextlib
import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.files import replacing_file
from facemask.core.provenance import runtime_versions
from facemask.data.marked_voc import INFERRED, belongs_to_a_person, write_marked_voc
from facemask.data.voc import Annotation, Box
from facemask.media.picture_files import Picture

FORMAT = 1

_WRITTEN_AS = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP"} | {
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

KINDS = ("image", "json", "csv", "voc")
"""The kinds of results."""

TABLE = "boxes.csv"

PICTURE_COLUMNS = ("file", "width", "height", "class", "score", "xmin", "ymin", "xmax", "ymax")
FRAME_COLUMNS = ("frame", "time", "track", "class", "score", "xmin", "ymin", "xmax", "ymax")
"""`frame` counts from 0. `time` is in seconds from the first frame. `track` is the number of the face's track; it is
empty in the first frame of a face. `class` is the class of the track, `score` the score in this frame. `score` is empty
if the detector did not run in the frame; the box is then the predicted one."""


@dataclass(frozen=True)
class ResultPaths:
    """The paths of the results of one picture."""

    image: Path
    boxes: Path

    @property
    def voc(self) -> Path:
        """The path of the Pascal VOC file."""
        return self.boxes.with_suffix(".xml")


def parse_kinds(text: str, moving: bool) -> frozenset[str]:
    """Read the kinds of results from a text such as `json,csv`.

    Args:
        text: Some of `KINDS`, separated by commas; `none` for no results; empty for the default.
        moving: The source is a video, a camera or a stream. The default is then `image` (an MP4) and `csv`, and `voc`
            is refused.

    Raises:
        UserError: The text names another kind.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return frozenset()
    for name in names:
        if name not in KINDS:
            raise UserError(f"OUT={text}: unknown kind {name!r}. Choose from {','.join(KINDS)}, or none.")
    if moving and "voc" in names:
        raise UserError(
            f"OUT={text}: voc is for pictures only. For videos, cameras and streams choose from image,json,csv."
        )
    return frozenset(names or (("image", "csv") if moving else ("image", "json")))


def result_paths(pictures: Sequence[Picture], folder: Path) -> list[ResultPaths]:
    """Choose the paths of the results of each picture: its relative path below `folder`.

    A picture in a format that is not written, such as GIF, becomes a PNG. Where the names of pictures differ only in
    their suffix, the suffix becomes part of the results' names: `a.jpg`, `a.jpg.json`, `a.png`, `a.png.json`. So it
    does for `boxes.csv.jpg`, since `boxes.csv.json` is that of the table.

    Raises:
        UserError: A result would overwrite one of the pictures, or the results of two pictures have the same name.
    """
    # Some file systems ignore case.
    stems = Counter(str(picture.name.with_suffix("")).casefold() for picture in pictures)
    sources = {picture.path.resolve() for picture in pictures}
    found = []
    taken: dict[str, Picture] = {}
    for picture in pictures:
        whole = str(picture.name.with_suffix("")).casefold()
        alone = stems[whole] == 1 and whole != TABLE
        stem = picture.name.stem if alone else picture.name.name
        kept = picture.name.suffix.lower() in _WRITTEN_AS
        image = picture.name.name if kept else f"{stem}.png"
        target = ResultPaths(folder / picture.name.with_name(image), folder / picture.name.with_name(f"{stem}.json"))
        if target.image.resolve() in sources:
            raise UserError(
                f"{target.image}: is one of the pictures; its result would overwrite it. Move the picture elsewhere."
            )
        # As `a.gif`, which becomes `a.gif.png` beside `a.jpg`, and a picture `a.gif.png`.
        for path in (target.image, target.boxes):
            other = taken.setdefault(str(path), picture)
            if other.path != picture.path:
                raise UserError(
                    f"{other.path} and {picture.path}: the results of both would be {path}. Rename one of the two."
                )
        found.append(target)
    return found


def refuse_other_results(note: Path, kind: str) -> None:
    """Raise a UserError if the JSON of results is that of another kind of source, whose results would lose it.

    Args:
        note: The file, which need not exist.
        kind: The key of what is to be written: `image` for a picture, `source` for a video, a camera or a stream.
    """
    other = "source" if kind == "image" else "image"
    try:
        value = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    if isinstance(value, dict) and other in value:
        ours, theirs = ("picture", "video") if kind == "image" else ("video", "picture")
        raise UserError(f"{note}: belongs to a {theirs}. Rename the {ours}, or move the results of the {theirs} away.")


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a picture, RGB uint8 of shape (height, width, 3), in the format of the suffix; complete or not at all."""
    kind = _WRITTEN_AS[path.suffix.lower()]
    options: dict[str, Any] = {"quality": 92, "subsampling": 0} if kind == "JPEG" else {}
    with replacing_file(path) as beside:
        Image.fromarray(image).save(beside, kind, **options)


@contextlib.contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a UserError that names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}).") from None


@contextlib.contextmanager
def csv_table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence[Sequence[object]]], None]]:
    """Open a new CSV file for the block. Yields a function that adds rows.

    The file replaces `path` when the block ends without an exception.
    """
    with replacing_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        yield writer.writerows
        file.flush()


def csv_rows(detections: sv.Detections, *before: object, with_score: bool = True) -> list[tuple[object, ...]]:
    """One table row for each box: the values of `before`, then class, score (else an empty text) and box."""
    return [
        (*before, str(name), f"{score:.4f}" if with_score else "", *(f"{float(side):.2f}" for side in xyxy))
        for name, score, xyxy in zip(detections["class_name"], detections.confidence, detections.xyxy, strict=True)
    ]


def write_voc(path: Path, picture: Picture, size: tuple[int, int], detections: sv.Detections) -> bool:
    """Write the boxes of one picture as Pascal VOC, clipped to the picture, in the whole pixels that labelImg needs.

    Returns:
        Whether it was written: a file that a person has changed is left as it is (see `marked_voc`).
    """
    if belongs_to_a_person(path, INFERRED):
        return False
    boxes = []
    for xyxy, name in zip(detections.xyxy, detections["class_name"], strict=True):
        x0, y0, x1, y1 = (float(round(float(side))) for side in np.clip(xyxy, 0, [*size, *size]))
        if x0 < x1 and y0 < y1:
            boxes.append(Box(str(name), x0, y0, x1, y1))
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Annotation(picture.path.with_suffix(".xml"), picture.path.name, *size, tuple(boxes))
    write_marked_voc(path, made, INFERRED)
    return True


def boxes_as_json(
    picture: Picture,
    size: tuple[int, int],
    detections: sv.Detections,
    model: dict[str, Any],
    runtime: str,
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    """The boxes of one picture as JSON values, as the module's docstring shows them.

    Args:
        picture: The picture.
        size: Its width and height in pixels.
        detections: The boxes; all of them are written.
        model: The description of the model (`detector_choice.ChosenDetector.model`).
        runtime: The name of the runtime and the precision.
        thresholds: The least score of a box of each class.
    """
    boxes = [
        {
            "class": str(name),
            "class_id": int(class_id),
            "score": round(float(score), 4),
            **dict(zip(("xmin", "ymin", "xmax", "ymax"), (round(float(side), 2) for side in xyxy), strict=True)),
        }
        for xyxy, score, class_id, name in zip(
            detections.xyxy, detections.confidence, detections.class_id, detections["class_name"], strict=True
        )
    ]
    return {
        "format": FORMAT,
        "image": {"file": str(picture.path), "width": size[0], "height": size[1]},
        "model": model,
        "runtime": runtime,
        "packages": runtime_versions(),
        "thresholds": dict(thresholds),
        "boxes": boxes,
    }
