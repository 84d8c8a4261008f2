"""Small labelled data sets for the tests, each picture unlike the others."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facemask.core.label_map import LabelMap
from facemask.data import voc
from facemask.data.voc import Annotation, Box

CLASSES = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))


def picture(seed: int = 0, width: int = 64, height: int = 48) -> Image.Image:
    """Blotches of colour, 8 bits, RGB: no two seeds look alike."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def box(label: str = "with_mask", corners: Sequence[float] = (10, 10, 30, 30), **more: Any) -> Box:
    return Box(label, *corners, **more)


def save(folder: Path, name: str, boxes: Sequence[Box] = (box(),), seed: int | None = None, **more: Any) -> Path:
    """An image file, by its suffix, and its XML beside it. Returns the image's path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture(hash_of(name) if seed is None else seed)
    kind = {".jpg": "JPEG", ".png": "PNG"}[path.suffix]
    path.write_bytes(more.get("data") or encoded(image, kind))
    size = more.get("size", image.size)
    annotation = Annotation(path.with_suffix(".xml"), more.get("filename", path.name), *size, tuple(boxes))
    voc.write_voc(path.with_suffix(".xml"), annotation)
    return path


def hash_of(name: str) -> int:
    # Not hash(): that of a string is another one in every process.
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def data_set(folder: Path, images: int = 20) -> Path:
    """Images with one to three boxes; every fourth holds the rarest class, every seventh nothing."""
    for number in range(images):
        labels = ["with_mask"] + ["without_mask"] * (number % 2) + ["mask_weared_incorrect"] * (number % 4 == 0)
        boxes = [box(label, (5 + 15 * i, 8, 17 + 15 * i, 30)) for i, label in enumerate(labels)]
        save(folder, f"face{number:03}.{'png' if number % 3 == 0 else 'jpg'}", boxes if number % 7 else (), seed=number)
    return folder
