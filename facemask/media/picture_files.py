"""Finds the picture files that a path or a glob names."""

import glob
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.files import expand_home, walk_visible
from facemask.data import images
from facemask.data.data_rules import printable


@dataclass(frozen=True)
class Picture:
    """A picture file, and the name of its results.

    Attributes:
        path: The file.
        name: Its path relative to the folder or the fixed part of the glob. For a single file, the file's name.
    """

    path: Path
    name: Path


def find_pictures(source: str) -> list[Picture]:
    """List the pictures that a path names: a file, a folder with its sub-folders, or a glob such as `photos/**/*.jpg`.

    In folders and globs, hidden files and files without a suffix of `images.SUFFIXES` are left out. Links to folders
    below a folder are not followed, but named on stderr, as are pictures in a format that is not read.

    Returns:
        At least one picture, in natural order: `face2.jpg` before `face10.jpg`.

    Raises:
        UserError: The file does not exist, or the folder or glob holds no picture.
    """
    root, found = list_files(source)
    path = expand_home(source)
    if found == [path]:
        return [Picture(path, Path(path.name))]
    shown = [
        Picture(file, name)
        for file, name in ((file, file.relative_to(root)) for file in found)
        if not any(part.startswith(".") for part in name.parts)
    ]
    if root == path:
        for entry in shown:
            if entry.path.is_symlink() and entry.path.is_dir():
                print(f"{entry.path}: a link to a folder; not followed", file=sys.stderr)
    pictures = [entry for entry in shown if entry.path.suffix.lower() in images.SUFFIXES and entry.path.is_file()]
    unread = images.about_unread(
        sorted(printable(str(entry.name)) for entry in shown if entry.path.suffix.lower() in images.UNREAD_SUFFIXES)
    )
    if not pictures:
        looked = f"looked for {' '.join(sorted(images.SUFFIXES))}"
        raise UserError(f"{source}: holds no picture ({looked}). {unread}".rstrip())
    if unread:
        print(f"{source}: {unread}", file=sys.stderr)
    return sorted(pictures, key=lambda picture: natural_order(str(picture.name)))


def list_files(source: str) -> tuple[Path, list[Path]]:
    """List what a path names: the file, all in a folder and its sub-folders without hidden ones, or a glob's matches.

    Returns:
        The folder, or the fixed part of the glob, that all paths begin with; and the paths, folders among them.

    Raises:
        UserError: There is no such file or folder, or a folder cannot be read.
    """
    if not source:
        raise UserError("IMG is empty. Give it a picture, a folder of pictures, or a glob: IMG='photos/*.jpg'.")
    path = expand_home(source)
    try:
        if path.is_file():
            return path.parent, [path]
        if path.is_dir():
            found = walk_visible(path)
            return path, [Path(below, name) for below, folders, files in found for name in (*folders, *files)]
        if glob.has_magic(source):
            # Path.glob takes no absolute patterns.
            return _fixed_part(path), [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}.") from None
    raise UserError(f"{source}: no such file or folder.")


def natural_order(name: str) -> list[tuple[int, int, str]]:
    """A sort key that compares runs of digits as numbers, and all else without regard to case.

    Example:
        >>> sorted(["a10.png", "a9.png", "B1.png"], key=natural_order)
        ['a9.png', 'a10.png', 'B1.png']
    """
    # Only ASCII digits: \d and isdigit() also match digits that int() refuses, such as superscripts.
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
