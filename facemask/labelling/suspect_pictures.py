"""The pictures of suspicious labels, for labelImg."""

from pathlib import Path

from facemask.core.errors import UserError
from facemask.evaluation.suspects_report import read_suspect_pictures


def find_suspect_pictures(images: Path, report: Path) -> tuple[list[Path], dict[Path, str]]:
    """Find the pictures that `make suspects` listed.

    Args:
        images: The folder of images.
        report: `workspace/reports/<RUN>`.

    Returns:
        Their paths, the most suspicious first; and by path what to look for.

    Raises:
        UserError: Nothing was listed, the list names a file outside of `images`, or none of its pictures is there.
    """
    listed = read_suspect_pictures(report)
    path_of = {name: images / name for name in listed.pictures}
    for name, path in path_of.items():
        if not path.resolve().is_relative_to(images.resolve()):
            raise UserError(f"{report}: names {name}, which leads out of {images}. Run `make suspects` again.")
    there = {name: path for name, path in path_of.items() if path.is_file()}
    if not there:
        raise UserError(f"{images}: none of the {len(path_of)} suspicious pictures of {report} is there. Name IMAGES=.")
    return list(there.values()), {path: listed.notes.get(name, "") for name, path in there.items()}
