"""The folders that `make labels` writes: what marks one, and whether it still is as it was written."""

import json
from pathlib import Path

NOTE = "labels.json"
"""The file in the folder that says what made it. It is written last."""


def what_is_not_ours(folder: Path) -> str:
    """Say what in a folder `make labels` did not write, as a sentence; empty if it may be replaced or removed.

    A file that is newer than the note is a user's: a label that was corrected, or a file that was added. The caches
    that Ultralytics writes beside the labels are not.
    """
    try:
        written = (folder / NOTE).stat().st_mtime_ns
        if json.loads((folder / NOTE).read_text(encoding="utf-8"))["made"]["step"] == "labels":
            files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".cache")
            newer = next((path for path in files if path.stat().st_mtime_ns > written), None)
            return f"{newer.relative_to(folder)} in it is newer than what make labels wrote." if newer else ""
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return "make labels did not write it."
