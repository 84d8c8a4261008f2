"""The public data set: Face Mask Detection by Larxel on Kaggle, 853 photographs with Pascal VOC files, CC0.

https://www.kaggle.com/datasets/andrewmvd/face-mask-detection. In it are `images/maksssksksss0.png` to `852.png` and
`annotations/maksssksksss0.xml` to `852.xml`; they are laid out as everything here expects them, each XML beside its
image.
"""

import contextlib
import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scripts.dataset import voc
from scripts.support.errors import UserError
from scripts.support.files import replacing

HANDLE = "andrewmvd/face-mask-detection"
IMAGES = 853
FILES = tuple(
    f"{folder}/maksssksksss{number}.{suffix}"
    for number in range(IMAGES)
    for folder, suffix in (("images", "png"), ("annotations", "xml"))
)
"""All files of the data set; what else an archive holds is not touched."""

MAX_BYTES = 64 << 20
"""The largest file that is taken; the data set's images have up to 1 MB."""

BY_HAND = (
    f"Or download the archive in a browser from https://www.kaggle.com/datasets/{HANDLE} and say "
    "make data ARCHIVE=<the zip file>."
)

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Summary:
    """What came of it.

    Attributes:
        folder: Where the files are now.
        added: Files that are new there.
        same: Files that were there already.
        kept: Names of files that were there with other content, such as corrected labels, and stay.
        digest: SHA-256 over the data set's names and contents, in hex.
    """

    folder: Path
    added: int
    same: int
    kept: tuple[str, ...]
    digest: str

    def text(self) -> str:
        """The summary for people, a few lines."""
        lines = [
            f"{IMAGES} images and {IMAGES} XML files of {HANDLE} (CC0) in {self.folder}: "
            f"{self.added} files added, {self.same} were there"
        ]
        if self.kept:
            names = ", ".join(self.kept[:5]) + (", ..." if len(self.kept) > 5 else "")
            lines.append(f"{len(self.kept)} of yours have the same name and other content, and stay: {names}")
        return "\n".join(lines)


def download() -> Path:
    """Let kagglehub fetch the data set into its cache, once; it needs no account.

    Raises:
        UserError: kagglehub is not installed, or Kaggle cannot be reached.
    """
    try:
        import kagglehub
    except ImportError:
        raise UserError(f"kagglehub is not installed; `make data` does it. {BY_HAND}") from None
    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:
        # What requests, kagglehub and the disk raise has no common root; nothing of ours runs in there.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{HANDLE} cannot be fetched from Kaggle ({reason}). Look at the network. {BY_HAND}") from None


def install(source: Path, folder: Path) -> Summary:
    """Copy the data set into a folder of labelled images, each XML beside its image.

    All files are looked at before the first is written. Files that are there stay as they are.

    Args:
        source: Kaggle's zip archive, or a folder with its content.
        folder: Where to put the files.

    Raises:
        UserError: There is no such archive, it is damaged, or it is not this data set.
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
                    with replacing(target) as beside:
                        beside.write_bytes(data)
                    added += 1
                elif target.read_bytes() == data:
                    same += 1
                else:
                    kept.append(target.name)
            except OSError as error:
                raise UserError(f"{target}: {error.strerror or error}.") from None
    return Summary(folder, added, same, tuple(kept), digest.hexdigest())


def _check(source: Path, name: str, data: bytes) -> None:
    if name.endswith(".xml"):
        voc.parse(source / name, data)
    elif not data.startswith(PNG):
        raise UserError(f"{source}: {name} in it is no PNG. {BY_HAND}")


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[Callable[[str], bytes]]:
    """Give a function that reads one of `FILES` from the source, all of which it has."""
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
    """Where each of `FILES` is, at any depth. Only these names are ever used, so no member's path leads anywhere."""
    found: dict[str, str] = {}
    wanted = frozenset(FILES)
    for member in members:
        name = "/".join(PurePosixPath(member).parts[-2:])
        if name in wanted and found.setdefault(name, member) != member:
            raise UserError(f"{source}: holds {name} twice ({found[name]} and {member}). {BY_HAND}")
    missing = [name for name in FILES if name not in found]
    if missing:
        raise UserError(
            f"{source}: not all of {HANDLE}: {len(missing)} of its {len(FILES)} files are missing, the first is "
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
