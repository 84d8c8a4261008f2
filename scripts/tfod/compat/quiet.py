"""TensorFlow and the API log hundreds of lines that a user can do nothing about; these, and only these, are dropped."""

import os


def repair() -> None:
    """Drop what is known to be harmless, by module and text."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
