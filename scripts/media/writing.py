"""What is written for a picture: the drawn picture, and its boxes as JSON.

A picture `sub/face.jpg` gives, in `workspace/predictions/<RUN>/`, `sub/face.jpg` and `sub/face.json`:

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
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from PIL import Image

from scripts.media.images import Picture
from scripts.support.errors import UserError
from scripts.support.files import replacing, write_json

FORMAT = 1

_WRITTEN_AS = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP"} | {
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


@dataclass(frozen=True)
class Targets:
    """Where the results of one picture go."""

    image: Path
    boxes: Path


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


def write_boxes(
    path: Path,
    picture: Picture,
    size: tuple[int, int],
    detections: sv.Detections,
    model: dict[str, Any],
    runtime: str,
    thresholds: Mapping[str, float],
) -> None:
    """Write the boxes of one picture as JSON (see the module's words).

    Args:
        path: The file to write.
        picture: What was looked at.
        size: Its width and height in pixels.
        detections: The boxes to write, all of them.
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
    value = {
        "format": FORMAT,
        "image": {"file": str(picture.path), "width": size[0], "height": size[1]},
        "model": model,
        "runtime": runtime,
        "thresholds": dict(thresholds),
        "boxes": boxes,
    }
    write_json(path, value)
