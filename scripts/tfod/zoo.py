"""Where weights come from: a zoo model's archive fetched, checked and unpacked, or a checkpoint that the user has.

A checkpoint is accepted by the digest of its index. The index holds a masked CRC-32C of every tensor
(tensorflow/core/util/tensor_bundle), which TensorFlow compares whenever it reads one; every tensor is read once here,
so a damaged file is found before training, not during it.

What lies in the folder of downloads, `workspace/pretrained/` by default, for an archive `<name>.tar.gz`:

    <name>.tar.gz                       the archive, as downloaded or as put there by hand
    <name>.tar.gz.part, .part.json      a download that was cut off, and the version of the file that it is a part of
    <name>/checkpoint/ckpt-0.index ...  the checkpoint; there only after it was checked
    <name>/pipeline.config              the config that the zoo trained it with
    <name>.json                         the digest of the first download, where none was known before
"""

import datetime
import gzip
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from scripts.support import downloads
from scripts.support.downloads import PRETRAINED, Transfer
from scripts.support.errors import UserError
from scripts.support.files import replacing_folder, sha256, write_json

MODELS = Path("configs/models.yaml")
FROM_SCRATCH = "or train from scratch with CHECKPOINT=none"

_COLUMNS = {"name", "archive", "size", "template", "index_sha256"}
_NEEDED = re.compile(r"checkpoint|pipeline\.config|ckpt-\d+\.(?:index|data-\d{5}-of-\d{5})")
# Far above every archive in the table (the largest unpacks to some 400 MB in a dozen files).
_LARGEST = 4 << 30
_MOST_MEMBERS = 1000
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 18


@dataclass(frozen=True)
class ZooModel:
    """One row of `configs/models.yaml`.

    Attributes:
        name: What MODEL= says.
        archive: HTTPS address of the zoo's archive (.tar.gz).
        size: Side of the square input in pixels that the weights were trained at.
        template: Path of the pipeline config's template.
        index_sha256: SHA-256 of the archive's ckpt-0.index, or None where no published one is known.
    """

    name: str
    archive: str
    size: int
    template: Path
    index_sha256: str | None


class _RefusedError(Exception):
    """An archive or a checkpoint is not to be used; the message completes "<file>: ..."."""


def read_models(path: Path = MODELS) -> dict[str, ZooModel]:
    """Read the table of zoo models, in the file's order, by name.

    Raises:
        UserError: The table is missing, is not YAML, or a row lacks a value or has a wrong one.
    """
    import yaml

    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}).") from None
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        raise UserError(f"{path}: must be a list of models, each with {', '.join(sorted(_COLUMNS))}.")
    models: dict[str, ZooModel] = {}
    for row in rows:
        model = _model(path, row)
        if model.name in models:
            raise UserError(f"{path}: has two models named {model.name}.")
        models[model.name] = model
    return models


def find_model(name: str, path: Path = MODELS) -> ZooModel:
    """The row of the model that MODEL= names. Raises UserError, which lists the models, where there is none."""
    models = read_models(path)
    if name not in models:
        raise UserError(f"MODEL={name}: no such model in {path}. It has {', '.join(models)}.")
    return models[name]


def _model(path: Path, row: dict[Any, Any]) -> ZooModel:
    named = f"{path}: model {row.get('name', '?')}"
    if set(row) != _COLUMNS:
        wrong = ", ".join(sorted(str(column) for column in set(row) ^ _COLUMNS))
        raise UserError(f"{named}: missing or unknown: {wrong}. A row has {', '.join(sorted(_COLUMNS))}.")
    for column in ("name", "archive", "template"):
        if not (isinstance(row[column], str) and row[column]):
            raise UserError(f"{named}: {column} must be text.")
    if type(row["size"]) is not int or row["size"] < 1:
        raise UserError(f"{named}: size must be a whole number of pixels.")
    digest = row["index_sha256"]
    if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
        raise UserError(f"{named}: index_sha256 must be 64 hex digits in lower case, or null.")
    return ZooModel(row["name"], row["archive"], row["size"], path.parent / row["template"], digest)


def resolve(
    checkpoint: str, model: ZooModel, into: Path = PRETRAINED, *, say: Callable[[str], None] = print
) -> Path | None:
    """Find the checkpoint that CHECKPOINT= means, fetching or unpacking it where needed, and check it.

    Args:
        checkpoint: "zoo" for the model's own, fetched if need be; "none" for random weights; else the path of a folder
            that holds a checkpoint (itself or in `checkpoint/`), of a checkpoint's prefix or index, or of an archive
            (.tar.gz) with one.
        model: The model to train.
        into: The folder of downloads.
        say: Called with each line that the user should read.

    Returns:
        The checkpoint's prefix, such as `.../checkpoint/ckpt-0`, or None for "none".

    Raises:
        UserError: There is no such checkpoint, it is damaged, or it cannot be fetched.
    """
    if checkpoint == "none":
        return None
    if checkpoint == "zoo":
        return fetch(model.archive, model.index_sha256, into, say=say)
    given = Path(checkpoint).expanduser()
    prefix = _find_prefix(given)
    try:
        if prefix is not None:
            _check(prefix, None)
            return prefix
        if given.is_file():
            return _unpacked_once(given, into)
    except _RefusedError as why:
        raise UserError(f"{given}: {why}. Give another CHECKPOINT=<folder or archive>, {FROM_SCRATCH}.") from None
    except OSError as error:
        raise downloads.from_os(error, given) from None
    what = "no checkpoint (*.index and *.data-*) in this folder" if given.is_dir() else "no such file or folder"
    raise UserError(f"{given}: {what}. CHECKPOINT= takes zoo, none, a folder or an archive (.tar.gz).")


def fetch(
    address: str,
    index_sha256: str | None,
    into: Path = PRETRAINED,
    *,
    loopback: bool = False,
    timeout: float = 30,
    pauses: Sequence[float] = downloads.PAUSES,
    say: Callable[[str], None] = print,
) -> Path:
    """Bring a zoo archive to `into`, unless it is there, and unpack the checkpoint that it holds.

    A download that was cut off goes on where it stopped, in the same call and in the next. An archive that was put in
    its place by hand is used without a network. Processes that fetch the same archive wait for one another.

    Args:
        address: HTTPS address of the archive; its last part is the archive's name.
        index_sha256: SHA-256 that `ckpt-0.index` must have. None: the one recorded when the archive came first; where
            there is none yet, this one's is recorded beside the archive, and said.
        into: The folder of downloads.
        loopback: Allow plain HTTP from this machine itself (127.0.0.1), for tests.
        timeout: Seconds without an answer or a byte after which a connection counts as lost.
        pauses: Seconds before each further attempt. An attempt that brought something starts the count anew.
        say: Called with each line that the user should read.

    Returns:
        The checkpoint's prefix, `<into>/<archive's name>/checkpoint/ckpt-0`.

    Raises:
        UserError: The archive cannot be had, or is not the one expected. A wrong download is removed, a file that was
            put there by hand stays.

    Example:
        >>> model = find_model("ssd_resnet50_v1_fpn_640x640")
        >>> fetch(model.archive, model.index_sha256)
        PosixPath('workspace/pretrained/ssd_resnet50_v1_fpn_640x640_coco17_tpu-8/checkpoint/ckpt-0')
    """
    archive = into / _archive_name(address, loopback)
    folder = into / archive.name.removesuffix(".tar.gz")
    otherwise = f"Put the archive at {archive} by hand, {FROM_SCRATCH}."
    transfer = Transfer(address, archive, otherwise, _GZIP, loopback, timeout, pauses, say)
    try:
        with downloads.locked(into / f".{archive.name}.lock", archive, say):
            return _fetch(transfer, index_sha256, folder)
    except OSError as error:
        raise downloads.from_os(error, into) from None


def _fetch(transfer: Transfer, index_sha256: str | None, folder: Path) -> Path:
    address, archive = transfer.address, transfer.target
    record = archive.with_name(f"{folder.name}.json")
    expected = index_sha256 or _recorded(record)
    prefix = folder / "checkpoint" / "ckpt-0"
    if folder.exists():
        try:
            _check(prefix, expected)
        except _RefusedError as why:
            transfer.say(f"{folder}: {why}; it will be unpacked again.")
        else:
            return prefix

    by_hand = archive.exists()
    source = archive if by_hand else downloads.download(transfer)
    try:
        with replacing_folder(folder) as beside:
            _unpack(source, beside)
            _check(beside / "checkpoint" / "ckpt-0", expected)
    except _RefusedError as why:
        if by_hand:
            raise UserError(f"{archive}: {why}. Put the file from {address} there, or remove it.") from None
        source.unlink()
        raise UserError(f"{address}: {why}. The download was removed; run again, {FROM_SCRATCH}.") from None
    source.replace(archive)
    if expected is None:
        digest = sha256(prefix.with_name("ckpt-0.index"))
        made = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        write_json(record, {"format": 1, "archive": address, "index_sha256": digest, "made": made})
        transfer.say(f"No digest is known for {archive.name}: recorded that of its index, {digest}, in {record}.")
    return prefix


def _recorded(record: Path) -> str | None:
    if not record.exists():
        return None
    try:
        digest = json.loads(record.read_text(encoding="utf-8"))["index_sha256"]
    except (ValueError, KeyError, TypeError):
        digest = None
    if not (isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)):
        raise UserError(f"{record}: is not the digest that was recorded here. Remove it to record one anew.")
    return digest


def _archive_name(address: str, loopback: bool) -> str:
    name = downloads.file_name(address, loopback)
    if not re.fullmatch(r"\w[\w.-]*\.tar\.gz", name, re.ASCII):
        raise UserError(f"{address}: does not end in the name of an archive (<name>.tar.gz).")
    return name


# --- unpacking and checking ----------------------------------------------------------------------------------------


class _Bounded:
    """Reads from a stream until it has given more than an archive may unpack to."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = _LARGEST

    def read(self, size: int) -> bytes:
        block = self._read(size)
        self._left -= len(block)
        if self._left < 0:
            raise _RefusedError(f"unpacks to more than {downloads.megabytes(_LARGEST)}")
        return block


def _unpack(archive: Path, folder: Path) -> None:
    """Write the checkpoint's files to `folder/checkpoint/` and pipeline.config to `folder`.

    Files are written here by their last name only, which must be one that a checkpoint's files have, so no member can
    land elsewhere (tarfile's own filter is not in every Python 3.10). An archive with a member that tries is refused
    whole, as are links, devices and sparse files, too many members, and too many bytes.

    Raises:
        _RefusedError: The archive is damaged or hostile, or holds no checkpoint.
        OSError: A file cannot be read or written.
    """
    written: set[str] = set()
    try:
        # A forward-only stream through `_Bounded`: the bytes that tarfile skips and its headers count as well.
        with gzip.open(archive) as plain, tarfile.open(fileobj=_Bounded(plain.read), mode="r|", bufsize=1 << 20) as tar:  # type: ignore[call-overload]
            for number, member in enumerate(tar, start=1):
                path = PurePosixPath(member.name)
                if number > _MOST_MEMBERS:
                    raise _RefusedError(f"holds more than {_MOST_MEMBERS} files")
                if path.is_absolute() or ".." in path.parts:
                    raise _RefusedError(f"holds {member.name!r}, a path out of the folder it is unpacked to")
                if not (member.isfile() or member.isdir()) or member.issparse():
                    raise _RefusedError(f"holds {member.name!r}, which is no plain file")
                if member.isdir() or not _NEEDED.fullmatch(path.name):
                    continue
                if path.name in written:
                    raise _RefusedError(f"holds {path.name} more than once")
                written.add(path.name)
                target = folder / path.name if path.name == "pipeline.config" else folder / "checkpoint" / path.name
                target.parent.mkdir(exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None  # a plain file has content
                with content, target.open("xb") as file:
                    shutil.copyfileobj(content, file, _BLOCK)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise _RefusedError(f"is no whole tar archive packed with gzip ({error})") from None
    if not any(name.endswith(".index") for name in written):
        raise _RefusedError("holds no checkpoint of TensorFlow 2 (ckpt-<number>.index)")


def _unpacked_once(archive: Path, into: Path) -> Path:
    """Unpack the user's own archive to a folder that its content names, unless it is there, and find its checkpoint."""
    stem = re.sub(r"\.(?:tar\.gz|tgz)$", "", archive.name)
    folder = into / f"{stem}-{sha256(archive)[:12]}"
    if not folder.exists():
        with replacing_folder(folder) as beside:
            _unpack(archive, beside)
            prefix = _find_prefix(beside)
            assert prefix is not None  # `_unpack` found an index
            _check(prefix, None)
    prefix = _find_prefix(folder)
    if prefix is None:
        raise UserError(f"{folder}: holds no checkpoint any more. Remove the folder and run again.")
    _check(prefix, None)
    return prefix


def _find_prefix(given: Path) -> Path | None:
    """The prefix of the checkpoint at `given`: a prefix, an index, or a folder with one; None where there is none."""
    if given.name.endswith(".index") and given.is_file():
        return given.with_name(given.name.removesuffix(".index"))
    if given.with_name(f"{given.name}.index").is_file():
        return given
    for folder in (given, given / "checkpoint"):
        names = sorted(index.name.removesuffix(".index") for index in folder.glob("*.index"))
        if len(names) > 1:
            names = [name for name in names if name == _latest(folder / "checkpoint")] or names
        if len(names) > 1:
            raise UserError(f"{folder}: holds several checkpoints ({', '.join(names)}). Name one: CHECKPOINT=<prefix>.")
        if names:
            return folder / names[0]
    return None


def _latest(state: Path) -> str | None:
    """The last part of the path that TensorFlow's `checkpoint` file, a text protobuf, calls the latest."""
    if not state.is_file():
        return None
    found = re.search(r'^model_checkpoint_path: "(.*)"$', state.read_text(encoding="utf-8", errors="replace"), re.M)
    return PurePosixPath(found[1]).name if found else None


def _check(prefix: Path, index_sha256: str | None) -> None:
    """Check a checkpoint's index against its digest and every tensor against the index.

    Raises:
        _RefusedError: Something is missing, is not what it should be, or is not an object-based detection checkpoint.
    """
    index = prefix.with_name(f"{prefix.name}.index")
    if not index.is_file():
        raise _RefusedError(f"holds no {index.name}")
    if index_sha256 is not None and (found := sha256(index)) != index_sha256:
        raise _RefusedError(f"its {index.name} has the SHA-256 {found}, not the expected {index_sha256}")

    from scripts.tfod import compat

    compat.install()  # it must come before the first import of TensorFlow
    import tensorflow as tf

    reading = index.name
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = sorted(reader.get_variable_to_shape_map())
        for reading in names:
            reader.get_tensor(reading)
    except (tf.errors.OpError, RuntimeError, IndexError, ValueError) as error:
        message = " ".join(str(getattr(error, "message", error)).split())
        raise _RefusedError(f"is damaged: {reading} cannot be read ({message})") from None
    if "_CHECKPOINTABLE_OBJECT_GRAPH" not in names:
        raise _RefusedError("is a checkpoint of TensorFlow 1, which the API cannot start from here")
    if not any(name.startswith("model/") for name in names):
        raise _RefusedError("is not the checkpoint of a detection model (it has no variables under model/)")
