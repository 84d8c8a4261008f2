"""`make clean`: remove what can be made again."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.support import command


def main(
    dry: Annotated[bool, typer.Option("--dry", help="Only say what would be removed.")] = False,
) -> None:
    """Remove records, exports, predictions, reports, the demo and caches; images, runs, downloads and .venv stay."""
    from scripts.support import cleaning

    root = Path(__file__).resolve().parents[1]
    items = cleaning.find(root)
    for item in items:
        what = f"kept, {item.kept}" if item.kept else "would be removed" if dry else "removed"
        print(f"{item.path.relative_to(root)} ({item.size / 1e6:.1f} MB): {what}")
    freed = sum(item.size for item in items if not item.kept) if dry else cleaning.remove(items)
    print(f"clean: {freed / 1e6:.1f} MB {'would be freed' if dry else 'freed'}; images, runs, downloads and .venv stay")


if __name__ == "__main__":
    command.run(main)
