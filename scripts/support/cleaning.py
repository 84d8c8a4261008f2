"""What `make clean` may remove: all that a target makes again from what stays."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CACHES = (".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")


@dataclass(frozen=True)
class Item:
    """A file or folder that was made.

    Attributes:
        path: Where it is.
        size: Bytes, what is in it included.
        kept: Why it stays after all, None if it may go.
    """

    path: Path
    size: int
    kept: str | None = None


def find(root: Path) -> list[Item]:
    """List what can be made again below the project's folder: records, exports, predictions, reports, the demo, caches.

    Images, runs and downloads are not in it, nor `annotations/boxes.csv`, which remembers each image's split. An export
    stays where the run that it was made from is gone, and so does what a symbolic link stands for, which may be shared.
    """
    return [
        Item(path, _size(path), _reason_to_keep(path, root))
        for path in dict.fromkeys(_made(root))
        if path.is_symlink() or path.exists()
    ]


def remove(items: list[Item]) -> int:
    """Remove the items that need not be kept. Returns the bytes that this freed."""
    freed = 0
    for item in items:
        if item.kept is None:
            if item.path.is_dir():
                shutil.rmtree(item.path)
            else:
                item.path.unlink()
            freed += item.size
    return freed


def _made(root: Path) -> Iterator[Path]:
    annotations, workspace = root / "annotations", root / "workspace"
    for pattern in ("label_map.pbtxt", "records.json", "*.record", "*.record-*-of-*"):
        yield from sorted(annotations.glob(pattern))
    yield workspace / "demo"
    for folder in ("reports", "predictions", "exported"):
        inside = workspace / folder
        yield from [inside] if inside.is_symlink() else sorted(inside.glob("*"))
    yield from (root / cache for cache in CACHES)
    for folder in ("scripts", "tests", "benchmarks"):
        yield from sorted((root / folder).rglob("__pycache__"))


def _reason_to_keep(path: Path, root: Path) -> str | None:
    if path.is_symlink():
        return "a symbolic link"
    if path.parent == root / "workspace" / "exported":
        run = root / "workspace" / "models" / path.name
        if not any(run.rglob("ckpt-*.index")):
            return f"its run {run.relative_to(root)} has no checkpoint to export again"
    return None


def _size(path: Path) -> int:
    files = [path] if path.is_symlink() or path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
