"""The classes: their names, their ids, and the label map that the Object Detection API reads."""

import json
from dataclasses import dataclass
from pathlib import Path

from facemask.core.config_files import find_config
from facemask.core.errors import UserError


@dataclass(frozen=True)
class LabelMap:
    """The classes in the order of their ids, which run from 1 (0 is the API's background).

    Example:
        >>> label_map = LabelMap(("with_mask", "without_mask"))
        >>> label_map.id_of("without_mask"), label_map.name_of(1)
        (2, 'with_mask')
    """

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def id_of(self, name: str) -> int:
        """The class's id, from 1. Raises ValueError for a name that is not a class."""
        return self.names.index(name) + 1

    def name_of(self, class_id: int) -> str:
        """The class's name. Raises IndexError for an id outside 1..len(self)."""
        if not 1 <= class_id <= len(self.names):
            raise IndexError(f"class id {class_id} is not in 1..{len(self.names)}")
        return self.names[class_id - 1]

    def to_pbtxt(self) -> str:
        """The label map as the text form of the API's `StringIntLabelMap`."""
        # json.dumps quotes a string as protobuf's text format reads it, but for the pairs of surrogates of an emoji.
        quoted = (json.dumps(name, ensure_ascii=False) for name in self.names)
        items = (f"item {{\n  id: {i}\n  name: {name}\n}}\n" for i, name in enumerate(quoted, start=1))
        return "\n".join(items)


def read_classes(path: Path | None = None) -> LabelMap:
    """Read a class list: one name a line. The ids follow the lines, from 1. Empty lines and `#` comments are skipped.

    Args:
        path: The file; None for the `classes.txt` of the configs.

    Raises:
        UserError: The file is missing, is not UTF-8 text, names no class, or names one twice.
    """
    path = path or find_config("classes.txt")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows' editors put a byte order mark first
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. It lists the classes, one name a line.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error}).") from None
    names = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not names:
        raise UserError(f"{path}: names no class. Write one name a line.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: names {', '.join(twice)} more than once. Each class stands on one line.")
    return LabelMap(names)
