"""The folders that `make labels` writes: what marks one, and whether it still is as it was written."""

import json
from pathlib import Path

NOTE = "labels.json"
"""The file in the folder that says what made it and lists the other files. It is written last."""


def files_in(folder: Path) -> list[Path]:
    """The files and links in a folder and below, sorted."""
    return [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]


def what_is_not_ours(folder: Path) -> str:
    """Say what in a folder `make labels` did not write, as a sentence; empty if it may be replaced or removed.

    A file that the note does not list is a user's, and so is one that is newer than the note: a label that was
    corrected. The caches that Ultralytics writes beside the labels are not.
    """
    try:
        written = (folder / NOTE).stat().st_mtime_ns
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if note["made"]["step"] == "labels":
            if "files" not in note:
                return f"its {NOTE}, which an earlier version wrote, does not list the files of make labels."
            ours = {NOTE, *note["files"]}
            for path in files_in(folder):
                if path.suffix != ".cache":
                    name = path.relative_to(folder).as_posix()
                    if name not in ours:
                        return f"make labels did not write {name} in it."
                    if path.lstat().st_mtime_ns > written:
                        return f"{name} in it is newer than what make labels wrote."
            return ""
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return "make labels did not write it."
