"""Where labels and pictures come from: a folder, one file of labels beside its pictures, or a zip archive.

A zip is never unpacked to disk: its members are read one at a time into memory, and their names are only ever compared.
"""

import contextlib
import functools
import json
import lzma
import os
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.core.files import is_utf8, read_plain_file
from facemask.data import images
from facemask.data.label_formats.foreign_labels import one_line

MAX_LABEL_BYTES = 512 << 20
"""The largest file of labels that is read. COCO's own, of 118,000 pictures, has 448 MB."""

MAX_FILES = 1_000_000
"""Files in one source."""

MAX_RATIO = 100
"""How much larger the content of a zip may be than the zip: labels shrink to a tenth, pictures hardly."""

ALWAYS_ALLOWED = 64 << 20
"""Bytes of content that are no danger, whatever the ratio."""

_UNPACKING_ERRORS = (RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What zipfile raises for a damaged or encrypted member, apart from OSError and ValueError."""


@dataclass(frozen=True)
class LabelSource:
    """The files of a source.

    Attributes:
        path: What the user gave.
        names: The paths of all files in it, with slashes, sorted; hidden ones are left out.
        label_names: Those in which labels are looked for: all, or the one file that the user gave.
        read: Gives the bytes of a file, by its name and the largest size that is allowed.
        folder: Where the files lie; None in a zip.
        notes: Lines about what is there and is left out.
    """

    path: Path
    names: tuple[str, ...]
    label_names: tuple[str, ...]
    read: Callable[[str, int], bytes]
    folder: Path | None
    notes: tuple[str, ...] = ()

    def with_suffix(self, *suffixes: str) -> list[str]:
        """The names in `label_names` with one of the suffixes, in whatever case."""
        return [name for name in self.label_names if name.lower().endswith(suffixes)]

    @functools.cached_property
    def read_json(self) -> Callable[[str], Any]:
        """Gives the content of a JSON file. It raises UserError where that cannot be read; the last few are kept."""
        return functools.lru_cache(maxsize=8)(functools.partial(_parsed_json, self))

    def json_or_none(self, name: str) -> Any:
        """The content of a JSON file; None where it cannot be read."""
        try:
            return self.read_json(name)
        except UserError:
            return None

    def head(self, name: str, size: int = 4096) -> bytes:
        """The first bytes of a file of labels; none where it cannot be read."""
        try:
            return self.read(name, MAX_LABEL_BYTES)[:size]
        except UserError:
            return b""


class PictureNotFoundError(LookupError):
    """No picture, or more than one, is what a file of labels names. The message says so in a few words."""


class PictureFinder:
    """Finds the picture that labels name. A name from a file is only compared, so it leads nowhere.

    Example:
        >>> PictureFinder(["train/images/a.jpg", "valid/images/a.jpg"]).find("a.jpg", near="train/labels/a.txt")
        'train/images/a.jpg'
    """

    def __init__(self, names: tuple[str, ...] | list[str]) -> None:
        self.names = [name for name in names if os.path.splitext(name)[1].lower() in images.SUFFIXES]  # noqa: PTH122
        self._by_file: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            file = name.rpartition("/")[2]
            self._by_file[file].append(name)
            self._by_stem[file.rpartition(".")[0]].append(name)

    def beside(self, file: str) -> list[str]:
        """The pictures in the folder of a file of labels that have its name, apart from the suffix."""
        folder, _, name = file.rpartition("/")
        return [path for path in self._by_stem.get(name.rpartition(".")[0], []) if path.rpartition("/")[0] == folder]

    def find(self, named: str, near: str) -> str:
        """The picture that `named` means, with or without folders and suffix.

        Of several with that file name, the one that shares most of the named path's end is taken, then the one that
        lies nearest to the file of labels, `near`.

        Raises:
            PictureNotFoundError: There is none, or several that are equally near.
        """
        path = [part for part in named.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        file = path[-1] if path else ""
        found = self._by_file.get(file) or self._by_stem.get(file) or []
        if not found:
            raise PictureNotFoundError(f"the picture {named[:200]!r} is missing")
        folders = near.split("/")[:-1]
        # Where the name was found by its stem, the suffix must not keep the folders from being compared.
        path[-1:] = [found[0].rpartition("/")[2]]

        def nearness(name: str) -> tuple[int, int, int]:
            parts = name.split("/")
            parts_as_named = [*parts[:-1], path[-1]]
            return (
                _common(parts_as_named[::-1], path[::-1]),
                _common(parts, folders),
                len(set(parts[:-1]) & set(folders)),
            )

        best = max(map(nearness, found))
        nearest = [name for name in found if nearness(name) == best]
        if len(nearest) > 1:
            raise PictureNotFoundError(f"{named[:200]!r} may be {nearest[0]} or {nearest[1]}")
        return nearest[0]


@contextlib.contextmanager
def open_label_source(path: Path) -> Iterator[LabelSource]:
    """Open a folder, a zip archive, or a single file of labels, whose pictures are looked for in its folder.

    Raises:
        UserError: It is not there, cannot be read, or is a zip that is damaged or made to do harm.
    """
    if path.is_dir():
        yield _folder_source(path, path, None)
    elif not path.exists():
        raise UserError(f"{path}: no such file or folder.")
    elif path.suffix.lower() == ".zip" or (path.is_file() and zipfile.is_zipfile(path)):
        with contextlib.ExitStack() as stack:
            try:
                archive = stack.enter_context(zipfile.ZipFile(path))
                members = _checked_members(path, archive)
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from None
            except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
                raise UserError(f"{path}: not a whole zip archive ({error}). Download it again.") from None
            # Outside of the `try`, because an error of the caller's block is raised here.
            names = tuple(sorted(members))
            yield LabelSource(path, names, names, functools.partial(_from_zip, path, archive, members), None)
    else:
        # What a link points at, whose name may differ from the link's.
        file = path.resolve()
        yield _folder_source(path, file.parent, file.name)


def _common(one: list[str], other: list[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _parsed_json(source: LabelSource, name: str) -> Any:
    data = source.read(name, MAX_LABEL_BYTES)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not JSON ({' '.join(str(error).split())[:200]}).") from None


# ---- folders ----


def _folder_source(path: Path, folder: Path, only: str | None) -> LabelSource:
    notes: Counter[str] = Counter()
    names = tuple(sorted(_files_below(folder, notes)))
    lines = tuple(f"{count:,} {what} left out" for what, count in notes.items())
    read = functools.partial(_from_folder, folder)
    return LabelSource(path, names, names if only is None else (only,), read, folder, lines)


def _files_below(folder: Path, left_out: Counter[str]) -> Iterator[str]:
    """The relative paths of the plain files that are not hidden. Links that leave the folder are not followed.

    Files whose names are not UTF-8, and folders below `folder` that cannot be read, are counted in `left_out`.
    """
    inside = os.path.realpath(folder)
    waiting, count = [""], 0
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    name = f"{below}/{entry.name}" if below else entry.name
                    if entry.name.startswith(".") or entry.name == "__MACOSX":
                        continue
                    if not is_utf8(name):
                        left_out["files or folders whose names are not UTF-8 are"] += 1
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    elif entry.is_file() and Path(os.path.realpath(entry.path)).is_relative_to(inside):
                        count += 1
                        if count > MAX_FILES:
                            raise UserError(f"{folder}: more than {MAX_FILES:,} files. Give the data set's own folder.")
                        yield name
        except OSError as error:
            if not below:
                raise UserError(f"{folder}: cannot be read ({error.strerror}).") from None
            left_out[f"folder that cannot be read ({one_line(below)}: {error.strerror}) is"] += 1


def _from_folder(folder: Path, name: str, limit: int) -> bytes:
    path = folder / name
    try:
        return read_plain_file(path, limit)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None


# ---- zips ----


def _checked_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name, once the whole archive is found harmless."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    if len(infos) > MAX_FILES:
        raise UserError(f"{path}: more than {MAX_FILES:,} files.")
    size, packed, whole = sum(i.file_size for i in infos), sum(i.compress_size for i in infos), path.stat().st_size
    if packed > whole:
        raise UserError(f"{path}: its members overlap, as in a zip bomb. It is not opened.")
    if size > max(ALWAYS_ALLOWED, MAX_RATIO * whole):
        raise UserError(
            f"{path}: claims {size >> 20:,} MB in {whole >> 10:,} kB, as a zip bomb does. It is not opened."
        )
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.replace("\\", "/")
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or ":" in parts[0] or not is_utf8(name):
            raise UserError(f"{path}: holds {name[:200]!r}, a path that leads out of the archive. It is not opened.")
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        if members.setdefault(name, info) is not info:
            raise UserError(f"{path}: holds {name[:200]!r} twice. Pack it again.")
    return members


def _from_zip(
    path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str, limit: int
) -> bytes:
    info = members[name]
    if info.file_size > limit:
        raise UserError(f"{path}: {name} has {info.file_size >> 20} MB, the limit is {limit >> 20} MB.")
    try:
        # zipfile reads no more than the size that was claimed, and compares the checksum.
        return archive.read(info)
    except (*_UNPACKING_ERRORS, OSError, ValueError) as error:
        raise UserError(f"{path}: {name} cannot be unpacked ({error}).") from None
