"""Picture files: which ones a name means, and their pixels as the detector wants them."""

import glob
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts.dataset import images
from scripts.support.errors import UserError


@dataclass(frozen=True)
class Picture:
    """A picture file and the name its results get.

    Attributes:
        path: The file.
        name: Its path relative to the folder (or glob) it was found in; for a file that was named itself, its name.
    """

    path: Path
    name: Path


def find(source: str) -> list[Picture]:
    """List the pictures that a file, a folder (with its sub-folders) or a glob such as `photos/**/*.jpg` means.

    In a folder, hidden files and files that are no pictures by their suffix (`dataset.images.SUFFIXES`) do not count.

    Returns:
        At least one picture, in natural order: `face2.jpg` before `face10.jpg`.

    Raises:
        UserError: There is no such file, or no picture in the folder or glob.
    """
    if not source:
        raise UserError("IMG is empty. Give it a picture, a folder of pictures, or a glob: IMG='photos/*.jpg'.")
    path = Path(source).expanduser()
    try:
        if path.is_file():
            return [Picture(path, Path(path.name))]
        if path.is_dir():
            root, found = path, list(path.rglob("*"))
        elif glob.has_magic(source):
            # Path.glob takes no absolute patterns.
            root, found = _fixed_part(path), [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        else:
            raise UserError(f"{source}: no such file or folder.")
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}.") from None
    pictures = [
        Picture(file, name)
        for file, name in ((file, file.relative_to(root)) for file in found)
        if file.suffix.lower() in images.SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in name.parts)
    ]
    if not pictures:
        raise UserError(f"{source}: no picture in it (looked for {' '.join(sorted(images.SUFFIXES))}).")
    return sorted(pictures, key=lambda picture: natural_order(str(picture.name)))


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """A sort key that compares runs of digits as numbers, the rest without regard to case.

    Example:
        >>> sorted(["a10.png", "a9.png", "B1.png"], key=natural_order)
        ['a9.png', 'a10.png', 'B1.png']
    """
    # An ASCII class: \d and isdigit() take digits that int() refuses, such as superscripts.
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    key = [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part.casefold()) for part in parts]
    return [*key, (2, 0, name)]


def _fixed_part(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def read(path: Path) -> np.ndarray:
    """Read a picture by the rules of the training data: upright by its EXIF data, alpha dropped, the first frame.

    Returns:
        uint8 array of shape (height, width, 3), RGB.

    Raises:
        UserError: The file is missing, no picture, damaged, or larger than `dataset.images` allows.
    """
    try:
        return images.decode(images.read_bytes(path))
    except images.ImageError as error:
        raise UserError(f"{path}: {error}.") from None
