"""Run names. A run's name is also the name of its folders for checkpoints, the exported model and the report."""

from pathlib import Path

from facemask.core.errors import UserError


def run_folder(parent: Path, name: str) -> Path:
    """The folder of the run that `RUN=` names.

    Args:
        parent: The folder of all runs, such as `workspace/models`.
        name: The run's name.

    Raises:
        UserError: The name would lead to a place outside `parent`.

    Example:
        >>> run_folder(Path("workspace/exported"), "default")
        PosixPath('workspace/exported/default')
    """
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise UserError(f"RUN={name}: a run's name is the name of one folder, such as default or masks-2.")
    return parent / name
