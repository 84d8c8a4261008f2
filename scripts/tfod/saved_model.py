"""TensorFlow's SavedModel, loaded in a process that may use the API too."""

from pathlib import Path
from typing import Any

from scripts.support.errors import UserError
from scripts.tfod import compat


def load(folder: Path, again: str) -> Any:
    """Load a SavedModel.

    Args:
        folder: Its folder.
        again: What the user can do where it is missing or damaged, a sentence.

    Raises:
        UserError: There is none, or it cannot be loaded.
    """
    # A SavedModel needs nothing of it, but a process in which TensorFlow was imported without it is closed to the API.
    compat.install()
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(f"TensorFlow cannot be loaded ({error}). `make setup` installs it.") from None
    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{folder}: cannot be loaded ({str(error).splitlines()[0]}). {again}") from None
