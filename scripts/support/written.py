"""What a step wrote as JSON, read back: any file that does not fit is an error that says how to make it again."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.support.errors import UserError


@contextlib.contextmanager
def reading(path: Path, version: int, *, step: str, absent: str, again: str) -> Iterator[Any]:
    """Give the content of `path`, whose `format` is `version`; take its values inside the block.

    Args:
        path: A JSON file that holds an object.
        version: The only `format` that is read.
        step: The make target that writes such a file.
        absent: The error if there is no such file.
        again: What to do if the file does not fit; a sentence that ends the error.

    Raises:
        UserError: The file is not there, cannot be read, is of another format, or does not hold what the block takes
            from it (the block raised an OSError, KeyError, TypeError, ValueError or AttributeError).

    Example:
        >>> with reading(folder / "run.json", 1, step="train", absent="no such run.", again="Train it again.") as value:
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
