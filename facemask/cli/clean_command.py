"""Remove files that can be made again; keep images, runs and downloads."""

from pathlib import Path
from typing import Annotated

import typer


def main(
    dry: Annotated[bool, typer.Option("--dry", help="Only list what would be removed.")] = False,
) -> None:
    """Remove records, exports, predictions, labels for other tools, reports, the demo and caches.

    Images, runs, cross-validations, downloads, recordings of cameras and streams, corrected labels, and .venv are kept.
    """
    from facemask.core import cleaning
    from facemask.data.marked_voc import INFERRED, belongs_to_a_person

    root = Path.cwd()  # the defaults of all steps' folders are below it
    items = cleaning.find_made_files(root, lambda path: belongs_to_a_person(path, INFERRED))
    for item in items:
        what = f"kept, {item.kept}" if item.kept else "would be removed" if dry else "removed"
        print(f"{item.path.relative_to(root)} ({item.size / 1e6:.1f} MB): {what}")
    freed = sum(item.size for item in items if not item.kept) if dry else cleaning.remove_items(items)
    done = "would be freed" if dry else "freed"
    print(f"clean: {freed / 1e6:.1f} MB {done}; kept: images, runs, cross-validations, downloads, .venv")
