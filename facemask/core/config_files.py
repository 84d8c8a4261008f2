"""Find a config file: in the user's `configs/`, or else in the `configs/` of the project."""

from importlib import resources
from pathlib import Path

from facemask.core.errors import UserError

OWN = Path("configs")
"""The user's folder, below the current one. Its files take precedence."""


def config_folders() -> list[Path]:
    """The folders that are searched for config files, in order: the user's, then the project's.

    The project's is `facemask/configs/` in an installed package, and the `configs/` beside `facemask/` in a checkout.
    """
    package = Path(str(resources.files("facemask")))
    installed = package / "configs"
    return [OWN, installed if installed.is_dir() else package.parent / "configs"]


def search_path(folder: Path) -> list[Path]:
    """The folders to search for a file that a file in `folder` names: `folder` first, then `config_folders()`."""
    folders = config_folders()
    return folders if folder in folders else [folder, *folders]


def find_config(name: str) -> Path:
    """Find a config file, such as `classes.txt` or `augmentations/light.config.j2`.

    Raises:
        UserError: Neither folder has it.
    """
    for folder in config_folders():
        if (folder / name).exists():
            return folder / name
    raise UserError(f"{OWN / name}: no such file, and the project has no default of that name.")
