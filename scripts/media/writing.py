"""What is written: the drawn picture, and the boxes as JSON, CSV or Pascal VOC.

A picture `sub/face.jpg` gives, in `workspace/predictions/<RUN>/`, `sub/face.jpg`, `sub/face.xml` as labelImg reads it,
and `sub/face.json`:

    {
      "format": 1,
      "image": {"file": "photos/sub/face.jpg", "width": 400, "height": 267},
      "model": {"run": "default", "model": "ssd_resnet50_v1_fpn_640x640", "steps": 3000, "config_sha256": "..."},
      "runtime": "tensorflow fp32",
      "thresholds": {"with_mask": 0.5, "without_mask": 0.5, "mask_weared_incorrect": 0.5},
      "boxes": [{"class": "with_mask", "class_id": 1, "score": 0.93, "xmin": 12.5, "ymin": 3.0, "xmax": 40.1,
                 "ymax": 35.7}]
    }

Boxes are in pixels of the image as it is seen, upright, best first; the drawn picture may be larger (see `drawing`).
All pictures of a call share one table, `boxes.csv` (`PICTURE_COLUMNS`), and a video has one of its own
(`FRAME_COLUMNS`, one row for each face in each frame).
"""

import contextlib
import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from PIL import Image

from scripts.dataset import voc
from scripts.dataset.voc import Annotation, Box
from scripts.media.images import Picture
from scripts.support.errors import UserError
from scripts.support.files import replacing, write_json

FORMAT = 1

_WRITTEN_AS = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP"} | {
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

KINDS = ("image", "json", "csv", "voc")
"""What can be written."""

TABLE = "boxes.csv"

PICTURE_COLUMNS = ("file", "width", "height", "class", "score", "xmin", "ymin", "xmax", "ymax")
FRAME_COLUMNS = ("frame", "time", "track", "class", "score", "xmin", "ymin", "xmax", "ymax")
"""`frame` counts from 0, `time` is in seconds from the first frame. `track` is the same number for one face as long as
it is followed, and empty in the one frame in which it appears; `class` is the track's, `score` this frame's."""


@dataclass(frozen=True)
class Targets:
    """Where the results of one picture go."""

    image: Path
    boxes: Path

    @property
    def voc(self) -> Path:
        """The Pascal VOC file."""
        return self.boxes.with_suffix(".xml")


def parse_kinds(text: str, moving: bool) -> frozenset[str]:
    """What a text such as `json,csv` wants written: some of `KINDS`; the usual where it is empty; nothing by `none`.

    Args:
        text: The text.
        moving: For a video, a camera or a stream: usually `image` (an MP4) and `csv`, and never `voc`.

    Raises:
        UserError: It names something else.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return frozenset()
    for name in names:
        if name not in KINDS:
            raise UserError(f"OUT={text}: {name!r} is not written; choose of {','.join(KINDS)}, or none.")
    if moving and "voc" in names:
        raise UserError(f"OUT={text}: voc is for pictures. Videos, cameras and streams have image, csv and json.")
    return frozenset(names or (("image", "csv") if moving else ("image", "json")))


def targets(pictures: Sequence[Picture], folder: Path) -> list[Targets]:
    """Where each picture's results go: its relative path below `folder`.

    A kind of file that is not written (GIF) becomes PNG. Where pictures differ in nothing but their suffix, the suffix
    stays part of the names: `a.jpg`, `a.jpg.json`, `a.png`, `a.png.json`.

    Raises:
        UserError: A result would overwrite one of the pictures.
    """
    # Some file systems do not tell A from a.
    stems = Counter(str(picture.name.with_suffix("")).casefold() for picture in pictures)
    sources = {picture.path.resolve() for picture in pictures}
    found = []
    for picture in pictures:
        alone = stems[str(picture.name.with_suffix("")).casefold()] == 1
        stem = picture.name.stem if alone else picture.name.name
        kept = picture.name.suffix.lower() in _WRITTEN_AS
        image = picture.name.name if kept else f"{stem}.png"
        target = Targets(folder / picture.name.with_name(image), folder / picture.name.with_name(f"{stem}.json"))
        if target.image.resolve() in sources:
            raise UserError(f"{target.image}: is one of the pictures, and would be overwritten. Move it elsewhere.")
        found.append(target)
    return found


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a picture in the format of its suffix, whole or not at all. `image` is RGB uint8, (height, width, 3)."""
    kind = _WRITTEN_AS[path.suffix.lower()]
    options: dict[str, Any] = {"quality": 92, "subsampling": 0} if kind == "JPEG" else {}
    with replacing(path) as beside:
        Image.fromarray(image).save(beside, kind, **options)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into a UserError that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}).") from None


@contextlib.contextmanager
def table(path: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence[Sequence[object]]], None]]:
    """Give a function that adds rows to a new CSV file, which takes its place when the block ends well."""
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        yield writer.writerows
        file.flush()


def rows(detections: sv.Detections, *before: object) -> list[tuple[object, ...]]:
    """Rows of a table, one a box: what comes before, then class, score and box."""
    return [
        (*before, str(name), f"{score:.4f}", *(f"{float(side):.2f}" for side in xyxy))
        for name, score, xyxy in zip(detections["class_name"], detections.confidence, detections.xyxy, strict=True)
    ]


def write_voc(path: Path, picture: Picture, size: tuple[int, int], detections: sv.Detections) -> None:
    """Write the boxes of one picture as Pascal VOC: whole pixels, as labelImg reads no others, inside the picture."""
    boxes = []
    for xyxy, name in zip(detections.xyxy, detections["class_name"], strict=True):
        x0, y0, x1, y1 = (round(float(side)) for side in np.clip(xyxy, 0, [*size, *size]))
        if x0 < x1 and y0 < y1:
            boxes.append(Box(str(name), x0, y0, x1, y1))
    path.parent.mkdir(parents=True, exist_ok=True)
    voc.write(path, Annotation(picture.path.with_suffix(".xml"), picture.path.name, *size, tuple(boxes), "infer"))


def boxes_as_json(
    picture: Picture,
    size: tuple[int, int],
    detections: sv.Detections,
    model: dict[str, Any],
    runtime: str,
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    """The boxes of one picture as JSON values (see the module's words).

    Args:
        picture: What was looked at.
        size: Its width and height in pixels.
        detections: The boxes, all of them.
        model: What says which model it was.
        runtime: What ran it.
        thresholds: The score from which detections of each class were kept.
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
        "thresholds": dict(thresholds),
        "boxes": boxes,
    }


def write_boxes(
    path: Path,
    picture: Picture,
    size: tuple[int, int],
    detections: sv.Detections,
    model: dict[str, Any],
    runtime: str,
    thresholds: Mapping[str, float],
) -> None:
    """Write what `boxes_as_json` gives to the file `path`."""
    write_json(path, boxes_as_json(picture, size, detections, model, runtime, thresholds))
