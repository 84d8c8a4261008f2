"""The hashes of the pictures that are in the folder of images, labelled or not."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from facemask.core import hardware
from facemask.core.files import walk_visible
from facemask.data import images


@dataclass(frozen=True)
class PictureHashes:
    """A picture file's hashes.

    Attributes:
        path: The file.
        sha256: Of its bytes, in hex; empty for what cannot be decoded, which is for `make check`.
        perceptual_hash: See `facemask.data.perceptual_hash`; -1 for what cannot be decoded.
    """

    path: Path
    sha256: str
    perceptual_hash: int


def pictures_below(folder: Path) -> Iterator[Path]:
    """The picture files of a folder and its sub-folders; hidden ones are left out."""
    for below, _, files in walk_visible(folder):
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in images.SUFFIXES:  # noqa: PTH122
                yield Path(below, name)


def hash_picture(path: Path) -> PictureHashes:
    """Read a picture file and hash it."""
    try:
        image = images.prepare_image(images.read_bytes(path))
    except images.ImageError:
        return PictureHashes(path, "", -1)
    return PictureHashes(path, image.sha256, image.perceptual_hash)


def hash_pictures(folder: Path, threads: int = 0) -> Iterator[PictureHashes]:
    """The hashes of all pictures below a folder, in the order of their paths.

    Args:
        folder: The folder; one that is missing holds none.
        threads: Pictures that are read at a time, 0 for one a core. Pillow decodes without the interpreter's lock.
    """
    with ThreadPoolExecutor(threads or hardware.usable_cores()) as pool:
        yield from pool.map(hash_picture, sorted(pictures_below(folder)))
