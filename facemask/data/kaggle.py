"""Download and install the public data set: Face Mask Detection by Larxel on Kaggle, 853 photographs, CC0.

https://www.kaggle.com/datasets/andrewmvd/face-mask-detection holds `images/maksssksksss0.png` to `852.png` and
`annotations/maksssksksss0.xml` to `852.xml`, in Pascal VOC. This module puts each XML beside its image, as the other
steps expect it.
"""

import contextlib
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facemask.core.errors import UserError
from facemask.core.files import replacing_file
from facemask.data import voc

HANDLE = "andrewmvd/face-mask-detection"
IMAGES = 853
FILES = tuple(
    f"{folder}/maksssksksss{number}.{suffix}"
    for number in range(IMAGES)
    for folder, suffix in (("images", "png"), ("annotations", "xml"))
)
"""All files of the data set. Other files in an archive are ignored."""

MAX_BYTES = 64 << 20
"""Larger files are refused; the data set's images have up to 1 MB."""

BY_HAND = (
    f"Or download the archive in a browser from https://www.kaggle.com/datasets/{HANDLE} and run: "
    "make data ARCHIVE=<the zip file>"
)

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class InstalledDataset:
    """The result of `install_dataset`.

    Attributes:
        folder: The folder of images.
        added: Number of files that were added.
        same: Number of files that were there already.
        kept: Names of files with other content, such as corrected labels, that were there and were kept.
        digest: SHA-256 over the data set's names and contents, in hex.
    """

    folder: Path
    added: int
    same: int
    kept: tuple[str, ...]
    digest: str

    def text(self) -> str:
        """A summary of a few lines."""
        lines = [
            f"{IMAGES} images and {IMAGES} XML files of {HANDLE} (CC0) in {self.folder}: "
            f"{self.added} files added, {self.same} were there"
        ]
        if self.kept:
            names = ", ".join(self.kept[:5]) + (", ..." if len(self.kept) > 5 else "")
            lines.append(f"{len(self.kept)} of your files have the same name but other content, and were kept: {names}")
        return "\n".join(lines)


def download_dataset() -> Path:
    """Let kagglehub download the data set into its cache, unless it is there. It needs no account.

    Raises:
        UserError: kagglehub is not installed, or Kaggle cannot be reached.
    """
    try:
        import kagglehub
    except ImportError:
        raise UserError(f"kagglehub is not installed; `make data` installs it. {BY_HAND}") from None
    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:
        # The exceptions of requests, kagglehub and the disk have no common base. No code of this project runs inside.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{HANDLE} cannot be downloaded from Kaggle ({reason}). Check the network. {BY_HAND}") from None


def install_dataset(source: Path, folder: Path) -> InstalledDataset:
    """Copy the data set into a folder of labelled images, each XML beside its image.

    All files are checked before the first is written. Existing files are kept.

    Args:
        source: Kaggle's zip archive, or a folder with its content.
        folder: The folder of images.

    Raises:
        UserError: The archive does not exist, is damaged, or is not this data set.
    """
    with _opened(source) as read:
        digest = hashlib.sha256()
        for name in FILES:
            data = read(name)
            _check(source, name, data)
            digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
        added = same = 0
        kept = []
        for name in FILES:
            target = folder / PurePosixPath(name).name
            data = read(name)
            try:
                if not target.exists():
                    with replacing_file(target) as beside:
                        beside.write_bytes(data)
                    added += 1
                elif target.read_bytes() == data:
                    same += 1
                else:
                    kept.append(target.name)
            except OSError as error:
                raise UserError(f"{target}: {error.strerror or error}.") from None
    return InstalledDataset(folder, added, same, tuple(kept), digest.hexdigest())


def _check(source: Path, name: str, data: bytes) -> None:
    if name.endswith(".xml"):
        voc.parse_voc(source / name, data)
    elif not data.startswith(PNG):
        raise UserError(f"{source}: its {name} is not a PNG. {BY_HAND}")


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[Callable[[str], bytes]]:
    """Check that the source holds all `FILES`, and yield a function that reads one of them."""
    if source.is_dir():
        found = _found(source, {str(path.relative_to(source).as_posix()) for path in source.rglob("*.*")})
        yield lambda name: _from_folder(source / found[name])
        return
    try:
        with zipfile.ZipFile(source) as archive:
            found = _found(source, archive.namelist())
            yield lambda name: _from_archive(source, archive, found[name])
    except FileNotFoundError:
        raise UserError(f"{source}: no such file.") from None
    except OSError as error:
        raise UserError(f"{error.filename or source}: {error.strerror or error}.") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{source}: not a whole zip archive ({error}). {BY_HAND}") from None


def _found(source: Path, members: Iterable[str]) -> dict[str, str]:
    """Find each of `FILES`, at any depth. Only these names are used for writing, so a member's path has no effect."""
    found: dict[str, str] = {}
    wanted = frozenset(FILES)
    for member in members:
        name = "/".join(PurePosixPath(member).parts[-2:])
        if name in wanted and found.setdefault(name, member) != member:
            raise UserError(f"{source}: holds {name} twice ({found[name]} and {member}). {BY_HAND}")
    missing = [name for name in FILES if name not in found]
    if missing:
        raise UserError(
            f"{source}: not the complete {HANDLE}: {len(missing)} of its {len(FILES)} files are missing, the first is "
            f"{missing[0]}. {BY_HAND}"
        )
    return found


def _from_folder(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES or not path.is_file():
            raise UserError(f"{path}: not a file of this data set.")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None


def _from_archive(source: Path, archive: zipfile.ZipFile, member: str) -> bytes:
    info = archive.getinfo(member)
    if info.file_size > MAX_BYTES:
        raise UserError(f"{source}: {member} claims {info.file_size >> 20} MB; not a file of this data set.")
    try:
        # zipfile reads no more than the size that was claimed, and compares the checksum.
        return archive.read(info)
    except (RuntimeError, NotImplementedError, EOFError, zlib.error) as error:
        raise UserError(f"{source}: {member} cannot be unpacked ({error}). {BY_HAND}") from None
