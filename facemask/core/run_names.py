"""Run names. A run's name is also the name of its folders for checkpoints, the exported model and the report."""

from pathlib import Path

from facemask.core.errors import UserError


def run_folder(parent: Path, name: str, variable: str = "RUN") -> Path:
    """The folder of the run, or of the report, that a variable names.

    Args:
        parent: The folder of all runs, such as `workspace/models`.
        name: Its name.
        variable: The variable that holds the name, for the message.

    Raises:
        UserError: The name would lead to a place outside `parent`.

    Example:
        >>> run_folder(Path("workspace/exported"), "default")
        PosixPath('workspace/exported/default')
    """
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise UserError(f"{variable}={name}: must be a name without folders, such as default or masks-2.")
    return parent / name


_NO_DETECTORS = {
    "classifier.json": "a classifier, which `make classifier` exports and DETECTOR=two_stage CLASSIFIER={name} uses.",
    "faces.json": "a face detector, which `make faces` exports and DETECTOR=two_stage FACES_MODEL=<its .onnx> uses.",
}
"""What a folder is that holds a run or an export of another kind than a detector, by the file by which it is known."""


def no_detector(folder: Path) -> str | None:
    """A line for the user who takes a classifier or a face detector for a detector; None for every other folder."""
    for file, what in _NO_DETECTORS.items():
        if (folder / file).is_file():
            return f"{folder}: is {what.format(name=folder.name)}"
    return None


def refuse_another_kind(folder: Path, file: str, rename: str) -> None:
    """Refuse to write a run, or an export, over one of another kind.

    Args:
        folder: Its folder.
        file: The file by which the kind is known, such as classifier.json.
        rename: What gets another name by which variable, for the message: "the classifier another name: RUN=".

    Raises:
        UserError: Something is in `folder`, but not this file.
    """
    if folder.exists() and not (folder / file).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: something else is there (no {file} in it). Give {rename}<name>.")
