"""Write files completely or not at all: each is written beside its target, then renamed."""

import contextlib
import ctypes
import errno
import hashlib
import itertools
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError

_AT_FDCWD = -100  # <fcntl.h> on Linux: paths are relative to the working directory
_RENAME_EXCHANGE = 2  # <linux/fs.h>; macOS's RENAME_SWAP of <sys/stdio.h> is 2 as well
_NOT_EXCHANGED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
"""The errors of the exchange where the system or the file system does not support it (NFS, for example)."""


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield the path of a new, empty file beside `path`; it replaces `path` when the block ends without an exception.

    Example:
        >>> with replacing_file(Path("annotations/train.record")) as beside:
        ...     beside.write_bytes(b"...")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _path_beside(path, path.suffix)
    # The system applies the umask to this mode; `tempfile` would make a file that only its owner may read.
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; it replaces `path` and its contents when the block ends without an exception.

    The two folders are exchanged in one step, so that a killed process leaves the old or the new folder at `path`.
    Where the file system cannot exchange them, the old folder is renamed first. If the process is killed before the
    second rename, `recover_folder` restores the old folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(path)
    beside = _path_beside(path)
    beside.mkdir()
    try:
        yield beside
        if not os.path.lexists(path):
            beside.replace(path)
        elif _exchange(beside, path):
            _remove(beside)
        else:
            old = _old_folder(path)
            _remove(old)
            path.replace(old)
            beside.replace(path)
            _remove(old)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Restore the old folder if a killed `replacing_folder` had renamed it and not yet replaced it."""
    old = _old_folder(path)
    if not os.path.lexists(path) and os.path.lexists(old):
        old.replace(path)


@contextlib.contextmanager
def holding_lock(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs. The system releases the lock when the process ends or is killed.

    On Linux and macOS the file stays; Windows removes it.

    Raises:
        UserError: Another process holds the lock; `refusal` is the message. Or the lock file cannot be written.
    """
    import filelock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(path).acquire(blocking=False)
    except filelock.Timeout:
        raise UserError(refusal) from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}). Make its folder writable, or choose another."
        ) from None
    with held:
        yield


@contextlib.contextmanager
def filling(hidden: Path, refusal: str, outcome: str) -> Iterator[None]:
    """Make a hidden folder anew. The block fills and renames it; what is then left of it is removed.

    Raises:
        UserError: Another process fills it; `refusal` is the message. Or a file cannot be written; `outcome` ends the
            message.
    """
    try:
        with holding_lock(hidden.with_name(f"{hidden.name}.lock"), refusal):
            shutil.rmtree(hidden, ignore_errors=True)  # what a killed process has left
            hidden.mkdir()
            try:
                yield
            finally:
                shutil.rmtree(hidden, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{error.filename or hidden.parent}: {error.strerror or error}. {outcome}") from None


def free_name(wanted: str, is_taken: Callable[[str], bool]) -> str:
    """The wanted name, or the first of `<wanted>-2`, `<wanted>-3`, ... that is not taken."""
    numbered = (f"{wanted}-{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([wanted], numbered) if not is_taken(name))


def unique_names(wanted: Iterable[str]) -> Iterator[str]:
    """A `free_name` for each wanted one. No two differ only in their case, which some file systems ignore."""
    taken: set[str] = set()
    for one in wanted:
        name = free_name(one, lambda name: name.casefold() in taken)
        taken.add(name.casefold())
        yield name


def _path_beside(path: Path, suffix: str = "") -> Path:
    return path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}{suffix}")


def _old_folder(path: Path) -> Path:
    return path.with_name(f".{path.name[:80]}.old")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; False where the system or the file system cannot.

    Linux: renameat2(2) with RENAME_EXCHANGE; macOS: renamex_np(2) with RENAME_SWAP.
    """
    if sys.platform not in ("linux", "darwin"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(*paths, ctypes.c_uint(_RENAME_EXCHANGE))
        else:
            here = ctypes.c_int(_AT_FDCWD)
            failed = library.renameat2(here, paths[0], here, paths[1], ctypes.c_uint(_RENAME_EXCHANGE))
    except AttributeError:  # an old C library
        return False
    if failed and (number := ctypes.get_errno()) not in _NOT_EXCHANGED:
        raise OSError(number, os.strerror(number), os.fspath(other))
    return not failed


def read_plain_file(path: Path, most: int) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: It cannot be read, is not a plain file, or has more than `most` bytes; its `strerror` says which.
    """
    # Checked before opening: opening a named pipe would wait for a writer forever.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a file")
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"{status.st_size >> 20} MB, the limit is {most >> 20} MB")
    return path.read_bytes()


def walk_visible(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a folder like `os.walk`, without hidden folders. A missing folder holds nothing.

    Raises:
        UserError: A folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise UserError(f"{error.filename}: cannot be read ({error.strerror}). Make it readable, or move it away.")

    for below, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield below, folders, files


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Hard-link a file, or the one that it links to, which needs no space. Copy it where that is not possible."""
    try:
        Path(target).hardlink_to(Path(source).resolve())
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` completely or not at all."""
    with replacing_file(path) as beside:
        beside.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, completely or not at all.

    The surrogates of a file's name that is not UTF-8 become escapes, which JSON reads as the same surrogates.
    """
    with replacing_file(path) as beside:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        beside.write_text(f"{text}\n", encoding="utf-8", errors="backslashreplace")


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hex digits."""
    return digest_of(path, "sha256")


def digest_of(path: Path, algorithm: str) -> str:
    """The file's digest as hex digits, by an algorithm of `hashlib`."""
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def expand_home(text: str | Path) -> Path:
    """The path that a user gave, with `~` as the home folder. `~name` stays where there is no such user.

    `Path.expanduser` raises a RuntimeError there.
    """
    return Path(os.path.expanduser(text))  # noqa: PTH111


def is_utf8(name: str) -> bool:
    """Whether the system's bytes of a file's name are UTF-8. If not, Python has surrogates in their place."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_utf8(path: Path) -> None:
    """Raise a UserError if a path is not UTF-8: no JSON file and no table can hold it."""
    if not is_utf8(str(path)):
        shown = str(path).encode(errors="backslashreplace").decode()
        raise UserError(f"{shown}: the name is not UTF-8. Rename the file, or its folder.")


def spreadsheet_cell(value: str) -> str:
    """The value as a cell of a CSV file. A spreadsheet takes a cell that starts with = + - or @ for a formula.

    Example:
        >>> spreadsheet_cell("=1+1.jpg")
        "'=1+1.jpg"
    """
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") else value
