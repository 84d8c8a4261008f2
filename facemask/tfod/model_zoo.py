"""Provide the checkpoint that training starts from: download, check and unpack a zoo archive, or find the user's own.

A checkpoint is identified by the digest of its index. The index contains a masked CRC-32C of every tensor
(tensorflow/core/util/tensor_bundle), which TensorFlow checks when it reads the tensor. Every tensor is read once here,
so that a damaged file is found before training, not during it.

The files in the folder of downloads, by default `workspace/pretrained/`, for an archive `<name>.tar.gz`:

    <name>.tar.gz                       the archive, downloaded or put there by hand
    <name>/checkpoint/ckpt-0.index ...  the checkpoint; it exists only after it was checked
    <name>/pipeline.config              the config with which the zoo trained it
    <name>.json                         the digest of the first download, if no digest is published
"""

import gzip
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from facemask.core import downloads
from facemask.core.config_files import find_config, search_path
from facemask.core.downloads import PRETRAINED, RemoteFile
from facemask.core.errors import UserError
from facemask.core.files import expand_home, replacing_folder, sha256
from facemask.core.provenance import READY
from facemask.tfod import pretrained_backbone, ready_start

MODELS = "models.yaml"
WITHOUT_NETWORK = "or take CHECKPOINT=ready (leave MODEL out) or CHECKPOINT=none, which need no network"

_COLUMNS = {"name", "archive", "size", "template", "index_sha256"}
_MAY_HAVE = {"head_depth", "head_layers"}
_NEEDED = re.compile(r"checkpoint|pipeline\.config|ckpt-\d+\.(?:index|data-\d{5}-of-\d{5})")
# Far above every archive in the table (the largest unpacks to some 400 MB in a dozen files).
_LARGEST = 4 << 30
_MOST_MEMBERS = 1000
_BLOCK = 1 << 18


@dataclass(frozen=True)
class ZooModel:
    """One row of `configs/models.yaml`.

    Attributes:
        name: What MODEL= names.
        archive: HTTPS address of the zoo's archive (.tar.gz).
        size: Side in pixels of the square input with which the weights were trained.
        template: Path of the pipeline config's template.
        index_sha256: SHA-256 of the archive's ckpt-0.index; None if no published one is known.
        head_depth: Channels of the convolutions in the heads; None for the template's own number.
        head_layers: Convolutions in each head before the one that predicts; None for the template's own number.
    """

    name: str
    archive: str
    size: int
    template: Path
    index_sha256: str | None
    head_depth: int | None = None
    head_layers: int | None = None


class _RefusedError(Exception):
    """An archive or a checkpoint must not be used. The message continues "<file>: ..."."""


def read_models(path: Path | None = None) -> dict[str, ZooModel]:
    """Read the table of zoo models, in the file's order, by name.

    Args:
        path: The table. None takes `models.yaml` of the configs.

    Raises:
        UserError: The table is missing or is not YAML, or a row has a missing or invalid value.
    """
    import yaml

    path = path or find_config(MODELS)
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


def find_model(name: str, path: Path | None = None) -> ZooModel:
    """The row of the model that MODEL= names. Raises UserError, which lists the models, if there is none."""
    path = path or find_config(MODELS)
    models = read_models(path)
    if name not in models:
        raise UserError(f"MODEL={name}: no such model in {path}. It has {', '.join(models)}.")
    return models[name]


def _model(path: Path, row: dict[Any, Any]) -> ZooModel:
    named = f"{path}: model {row.get('name', '?')}"
    if set(row) - _MAY_HAVE != _COLUMNS:
        wrong = ", ".join(sorted(str(column) for column in (set(row) - _MAY_HAVE) ^ _COLUMNS))
        has = f"A row has {', '.join(sorted(_COLUMNS))}, and may have {', '.join(sorted(_MAY_HAVE))}."
        raise UserError(f"{named}: missing or unknown: {wrong}. {has}")
    for column in ("name", "archive", "template"):
        if not (isinstance(row[column], str) and row[column]):
            raise UserError(f"{named}: {column} must be text.")
    if type(row["size"]) is not int or row["size"] < 1:
        raise UserError(f"{named}: size must be a whole number of pixels.")
    heads = {column: row[column] for column in _MAY_HAVE & set(row)}
    for column, value in heads.items():
        if type(value) is not int or value < 1:
            raise UserError(f"{named}: {column} must be a whole number from 1 on.")
    digest = row["index_sha256"]
    if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
        raise UserError(f"{named}: index_sha256 must be 64 hex digits in lower case, or null.")
    return ZooModel(row["name"], row["archive"], row["size"], _template(path, row["template"]), digest, **heads)


def _template(table: Path, name: str) -> Path:
    folders = search_path(table.parent)
    return next((folder / name for folder in folders if (folder / name).is_file()), table.parent / name)


def resolve_checkpoint(
    checkpoint: str, model: ZooModel, into: Path = PRETRAINED, *, report: Callable[[str], None] = print
) -> Path | None:
    """Find the checkpoint that CHECKPOINT= selects and check it. It is downloaded and unpacked if necessary.

    Args:
        checkpoint: "zoo" for the model's own checkpoint; "imagenet" for its backbone's ImageNet weights; "ready" for
            the detector that comes with facemask; "none" for random weights; else a path: of a folder with a checkpoint
            (directly or in `checkpoint/`), of a checkpoint's prefix or index, of an archive with a checkpoint
            (.tar.gz), of Keras weights for the backbone (.h5), or of an exported classifier, for its backbone.
        model: The model to train.
        into: The folder of downloads.
        report: Called with each line for the user.

    Returns:
        The checkpoint's prefix, such as `.../checkpoint/ckpt-0`, or None for "none".

    Raises:
        UserError: There is no such checkpoint, it is damaged, or it cannot be downloaded.
    """
    if checkpoint == "none":
        return None
    if checkpoint == READY:
        return ready_start.find_ready_start(model.name, into, report=report)
    if checkpoint == "imagenet" or checkpoint.endswith(".h5") or pretrained_backbone.is_classifier(checkpoint):
        return pretrained_backbone.find_backbone_weights(checkpoint, model.name, model.template, into, report=report)
    if checkpoint == "zoo":
        return fetch_archive(model.archive, model.index_sha256, into, report=report)
    given = expand_home(checkpoint)
    prefix = _find_prefix(given)
    try:
        if prefix is not None:
            _check(prefix, None)
            return prefix
        if given.is_file():
            return _unpacked_once(given, into)
    except _RefusedError as why:
        raise UserError(f"{given}: {why}. Give another CHECKPOINT=<folder or archive>, {WITHOUT_NETWORK}.") from None
    except OSError as error:
        raise downloads.user_error_from_os(error, given) from None
    what = "no checkpoint (*.index and *.data-*) in this folder" if given.is_dir() else "no such file or folder"
    raise UserError(
        f"{given}: {what}. CHECKPOINT= takes zoo, imagenet, ready, none, a folder, an archive (.tar.gz) or a Keras "
        "file (.h5)."
    )


def fetch_archive(
    address: str,
    index_sha256: str | None,
    into: Path = PRETRAINED,
    *,
    loopback: bool = False,
    timeout: float = 30,
    retries: int = 3,
    report: Callable[[str], None] = print,
) -> Path:
    """Download a zoo archive into `into`, unless it is already there, and unpack its checkpoint.

    An archive that was put there by hand is used without network access. Only one process at a time downloads an
    archive; the others wait for it.

    Args:
        address: HTTPS address of the archive. Its last part is the archive's name.
        index_sha256: The SHA-256 that `ckpt-0.index` must have. None for the digest that was recorded at the first
            download. At the first download the digest is recorded beside the archive and reported.
        into: The folder of downloads.
        loopback: Allow plain HTTP from 127.0.0.1, for tests.
        timeout: Seconds without received data after which a connection counts as lost.
        retries: Further attempts if the server is busy.
        report: Called with each line for the user.

    Returns:
        The checkpoint's prefix, `<into>/<archive's name>/checkpoint/ckpt-0`.

    Raises:
        UserError: The archive cannot be downloaded, or is not the expected one. A wrong download is removed; a file
            that was put there by hand is kept.

    Example:
        >>> model = find_model("ssd_resnet50_v1_fpn_640x640")
        >>> fetch_archive(model.archive, model.index_sha256)
        PosixPath('workspace/pretrained/ssd_resnet50_v1_fpn_640x640_coco17_tpu-8/checkpoint/ckpt-0')
    """
    archive = into / _archive_name(address, loopback)
    otherwise = f"Put the archive at {archive} by hand, {WITHOUT_NETWORK}."
    file = RemoteFile(address, archive, otherwise, loopback, timeout, retries, report)
    with downloads.download_lock(file):
        return _fetch_and_unpack(file, index_sha256)


def _fetch_and_unpack(file: RemoteFile, index_sha256: str | None) -> Path:
    archive = file.target
    expected = f"sha256:{index_sha256}" if index_sha256 else downloads.recorded_digest(file, "index_sha256")
    folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
    prefix = folder / "checkpoint" / "ckpt-0"
    if folder.exists():
        try:
            _check(prefix, expected)
        except _RefusedError as why:
            file.report(f"{folder}: {why}; it will be unpacked again.")
        else:
            return prefix

    by_hand = archive.exists()
    if not by_hand:
        downloads.download_file(file, None)
    try:
        with replacing_folder(folder) as beside:
            _unpack(archive, beside)
            _check(beside / "checkpoint" / "ckpt-0", expected)
    except _RefusedError as why:
        if by_hand:
            raise UserError(f"{archive}: {why}. Put the file from {file.address} there, or remove it.") from None
        archive.unlink()
        raise UserError(f"{file.address}: {why}. The download was removed; run again, {WITHOUT_NETWORK}.") from None
    if expected is None:
        downloads.record_digest(file, "index_sha256", sha256(prefix.with_name("ckpt-0.index")))
    return prefix


def _archive_name(address: str, loopback: bool) -> str:
    name = downloads.file_name(address, loopback)
    if not re.fullmatch(r"\w[\w.-]*\.tar\.gz", name, re.ASCII):
        raise UserError(f"{address}: does not end in the name of an archive (<name>.tar.gz).")
    return name


# --- unpacking and checking ----------------------------------------------------------------------------------------


class _Bounded:
    """Reads from a stream, and raises `_RefusedError` after more bytes than an archive may unpack to."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._left = _LARGEST

    def read(self, size: int) -> bytes:
        block = self._read(size)
        self._left -= len(block)
        if self._left < 0:
            raise _RefusedError(f"unpacks to more than {downloads.format_megabytes(_LARGEST)}")
        return block


def _unpack(archive: Path, folder: Path) -> None:
    """Write the checkpoint's files to `folder/checkpoint/` and pipeline.config to `folder`.

    Only the last part of a member's name is used, and it must be a name of a checkpoint's file. So no member is written
    outside the folder (not every Python 3.10 has tarfile's own filter). An archive is refused if a member's path leads
    out of the folder, if it contains links, devices or sparse files, too many members, or too many bytes.

    Raises:
        _RefusedError: The archive is damaged or hostile, or contains no checkpoint.
        OSError: A file cannot be read or written.
    """
    written: set[str] = set()
    try:
        # A forward-only stream through `_Bounded`, so that skipped members and headers count too.
        with gzip.open(archive) as plain, tarfile.open(fileobj=_Bounded(plain.read), mode="r|", bufsize=1 << 20) as tar:  # type: ignore[call-overload]
            for number, member in enumerate(tar, start=1):
                path = PurePosixPath(member.name)
                if number > _MOST_MEMBERS:
                    raise _RefusedError(f"holds more than {_MOST_MEMBERS} files")
                if path.is_absolute() or ".." in path.parts:
                    raise _RefusedError(f"holds {member.name!r}, a path that leads out of the folder")
                if not (member.isfile() or member.isdir()) or member.issparse():
                    raise _RefusedError(f"holds {member.name!r}, which is not a plain file")
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
        raise _RefusedError(f"is not a complete tar archive packed with gzip ({error})") from None
    if not any(name.endswith(".index") for name in written):
        raise _RefusedError("holds no checkpoint of TensorFlow 2 (ckpt-<number>.index)")


def _unpacked_once(archive: Path, into: Path) -> Path:
    """Unpack the user's archive into a folder named after its digest, unless that exists, and find its checkpoint."""
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
        raise UserError(f"{folder}: contains no checkpoint any more. Remove the folder and run again.")
    _check(prefix, None)
    return prefix


def _find_prefix(given: Path) -> Path | None:
    """The prefix of the checkpoint at `given`, which is a prefix, an index or a folder; None if there is none."""
    if given.name.endswith(".index") and given.is_file():
        return given.with_name(given.name.removesuffix(".index"))
    if Path(f"{given}.index").is_file():
        return given
    for folder in (given, given / "checkpoint"):
        names = sorted(index.name.removesuffix(".index") for index in folder.glob("*.index"))
        if len(names) > 1:
            names = [name for name in names if name == _latest(folder / "checkpoint")] or names
        if len(names) > 1:
            raise UserError(
                f"{folder}: contains several checkpoints ({', '.join(names)}). Choose one: CHECKPOINT=<prefix>."
            )
        if names:
            return folder / names[0]
    return None


def _latest(state: Path) -> str | None:
    """The name of the latest checkpoint according to TensorFlow's `checkpoint` file, which is a text protobuf."""
    if not state.is_file():
        return None
    found = re.search(r'^model_checkpoint_path: "(.*)"$', state.read_text(encoding="utf-8", errors="replace"), re.M)
    return PurePosixPath(found[1]).name if found else None


def _check(prefix: Path, digest: str | None) -> None:
    """Compare a checkpoint's index with its digest, and every tensor with its checksum in the index.

    Raises:
        _RefusedError: A file is missing or differs, or this is not an object-based checkpoint of a detection model.
    """
    index = prefix.with_name(f"{prefix.name}.index")
    if not index.is_file():
        raise _RefusedError(f"holds no {index.name}")
    if digest is not None and (found := f"sha256:{sha256(index)}") != digest:
        raise _RefusedError(f"its {index.name} has the digest {found}; expected was {digest}")

    from facemask.tfod import compat

    compat.install()  # must be called before the first import of TensorFlow
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
