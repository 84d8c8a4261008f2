"""Read the JSON files that steps write. The error for an unusable file names the step to run again."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError


@contextlib.contextmanager
def reading_json(path: Path, version: int, *, step: str, absent: str, again: str) -> Iterator[Any]:
    """Yield the content of `path`, whose `format` must be `version`. Convert its values inside the block.

    Args:
        path: A JSON file that holds an object.
        version: The only `format` that is read.
        step: The make target that writes such a file.
        absent: The error if there is no such file.
        again: The instruction at the end of the error if the file cannot be used; a sentence.

    Raises:
        UserError: The file is missing, cannot be read, has another format, or lacks a value that the block converts
            (the block raised an OSError, KeyError, TypeError, ValueError or AttributeError).

    Example:
        >>> with reading_json(path, 1, step="train", absent="no such run.", again="Train it again.") as value:
        ...     classes = tuple(value["classes"])
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(absent) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}). {again}") from None
    try:
        if value["format"] != version:
            raise UserError(f"{path}: format {value['format']}, this version reads {version}. {again}")
        yield value
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not what `make {step}` writes ({error!r}). {again}") from None
