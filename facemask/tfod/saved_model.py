"""Load a SavedModel in a process that may also use the API."""

from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.tfod import compat


def load_saved_model(folder: Path, again: str) -> Any:
    """Load a SavedModel.

    Args:
        folder: The SavedModel's folder.
        again: A sentence that tells the user how to make it again if it is missing or damaged.

    Raises:
        UserError: TensorFlow is not installed, or the SavedModel is missing or damaged.
    """
    # A SavedModel does not need it, but the API can only be used if it was called before TensorFlow's import.
    compat.install()
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(f"TensorFlow cannot be loaded ({error}). `make setup` installs it.") from None
    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"{folder}: cannot be loaded ({str(error).splitlines()[0]}). {again}") from None
