"""Find and remove what `make clean` may remove: files that a target can make again from the files that stay."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from facemask.core import exported_model
from facemask.core.files import sha256
from facemask.core.label_folders import what_is_not_ours

CACHES = (".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")
_EXPORT_NOTES = (exported_model.NAME, "classifier.json", "faces.json")
"""The file in an export that says what it is: of a detector, a classifier, a face detector. It is written last."""


@dataclass(frozen=True)
class Item:
    """A file or folder that a step made.

    Attributes:
        path: Its path.
        size: Bytes, with the contents of a folder.
        kept: The reason to keep it; None if it may be removed.
    """

    path: Path
    size: int
    kept: str | None = None


def find_made_files(root: Path, is_a_persons: Callable[[Path], bool] = lambda path: False) -> list[Item]:
    """List the files that steps made below the project's folder, each with the reason to keep it or None.

    Removable are records, exports, predictions, labels for other tools, reports, the demo and caches. Listed with a
    reason to keep them are an export whose run no longer has the checkpoint it was made from, recordings of cameras and
    streams, labels that changed after `make labels` or `make infer` wrote them, cross-validations, the records of folds
    that cross-validations use, and symbolic links, whose targets others may share.

    Not listed are images, runs, downloads, the events and snapshots of `make watch`, and what assigns images to splits
    and folds: `boxes.csv`, `inputs.json` (the proportions that `boxes.csv` was made with) and `folds.json`.

    Args:
        root: The project's folder.
        is_a_persons: Whether a person has changed an XML since `make infer` wrote it.
    """

    def why_unique(path: Path) -> str | None:
        if _is_recording(path):
            return "the recording of a camera or stream"
        return "not as `make infer` wrote it" if path.suffix.lower() == ".xml" and is_a_persons(path) else None

    return [
        Item(path, _size(path), _reason_to_keep(path, root, why_unique))
        for path in dict.fromkeys(_made(root, why_unique))
        if path.is_symlink() or path.exists()
    ]


def remove_items(items: list[Item]) -> int:
    """Remove the items without a reason to keep them. Returns the number of bytes freed."""
    freed = 0
    for item in items:
        if item.kept is None:
            if item.path.is_dir():
                shutil.rmtree(item.path)
            else:
                item.path.unlink()
            freed += item.size
    return freed


def _made(root: Path, why_unique: Callable[[Path], str | None]) -> Iterator[Path]:
    annotations, workspace = root / "annotations", root / "workspace"
    for pattern in ("label_map.pbtxt", "records.json", "*.record", "*.record-*-of-*"):
        yield from sorted(annotations.glob(pattern))
    yield annotations / "folds"
    yield workspace / "demo"
    for folder in ("reports", "predictions", "exported", "labels", "crossval"):
        inside = workspace / folder
        for path in [inside] if inside.is_symlink() else sorted(inside.glob("*")):
            yield from _around_unique(path, why_unique) if folder == "predictions" else [path]
    yield from (root / cache for cache in CACHES)
    for folder in ("facemask", "scripts", "tests", "benchmarks"):
        yield from sorted((root / folder).rglob("__pycache__"))


def _around_unique(path: Path, why_unique: Callable[[Path], str | None]) -> Iterator[Path]:
    """Yield the path; for a folder that holds what cannot be made again, yield its contents instead."""
    if path.is_symlink() or not any(map(why_unique, path.rglob("*"))):
        yield path
    else:
        for inside in sorted(path.iterdir()):
            yield from _around_unique(inside, why_unique)


def _is_recording(path: Path) -> bool:
    """Whether `make infer` wrote the file from a camera or a stream: an MP4, its table, or its JSON.

    The JSON names the source and is written last. A film or table without a JSON, or a hidden one that was not renamed,
    was left by a killed process. Its source is unknown, so it counts as a recording. `boxes.csv` is the table of
    pictures.
    """
    if path.suffix not in (".mp4", ".csv", ".json") or not path.is_file():
        return False
    try:
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return "source" in note and note["source"]["live"] is not False
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return path.suffix != ".json" and path.name != "boxes.csv" and not path.name.startswith(".boxes.csv.")


def _reason_to_keep(path: Path, root: Path, why_unique: Callable[[Path], str | None]) -> str | None:
    if path.is_symlink():
        return "a symbolic link"
    if root / "workspace" / "predictions" in path.parents and (reason := why_unique(path)):
        return reason
    if path.parent == root / "workspace" / "labels" and what_is_not_ours(path):
        return "not as `make labels` wrote it"
    crossval = root / "workspace" / "crossval"
    if path.parent == crossval:
        return "a cross-validation, whose training takes hours to repeat" if path.is_dir() else "a lock"
    if path == root / "annotations" / "folds" and any(crossval.glob("*/crossval.json")):
        return f"cross-validations in {crossval.relative_to(root)} use these records"
    if path.parent == root / "workspace" / "exported":
        run = root / "workspace" / "models" / path.name
        if not any(run.rglob("ckpt-*.index")):
            return f"its run {run.relative_to(root)} has no checkpoint to export again"
        if not _has_what_was_exported(run, path):
            return f"nothing shows that its run {run.relative_to(root)} still has the checkpoint it was made from"
    return None


def _has_what_was_exported(run: Path, export: Path) -> bool:
    """Whether a run still has the checkpoint and the configuration that an export was made from.

    A detector's export names both. The exports of classifiers and face detectors do not, so all checkpoints count. A
    checkpoint that is newer than the export holds other weights, even under the same name (FRESH=1).
    """
    try:
        [note] = (export / name for name in _EXPORT_NOTES if (export / name).is_file())
        checkpoints = "ckpt-*.index"
        if note.name == exported_model.NAME:
            value = json.loads(note.read_text(encoding="utf-8"))
            if value["config_sha256"] != sha256(run / "pipeline.config"):
                return False
            checkpoints = f"ckpt-{int(value['steps'])}.index"
        found = [*run.glob(checkpoints), *run.glob(f"best/{checkpoints}")]
        written = note.stat().st_mtime_ns
        return bool(found) and all(path.stat().st_mtime_ns <= written for path in found)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _size(path: Path) -> int:
    files = [path] if path.is_symlink() or path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
