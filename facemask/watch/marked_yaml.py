"""Read YAML and keep the line number of each value."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from facemask.core.errors import UserError

MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class MarkedYaml:
    """A YAML file's content.

    Attributes:
        path: The file.
        value: Dictionaries, lists, texts, numbers, booleans and None. An empty file is an empty dictionary.
        root: PyYAML's node of the whole, with the lines; None for an empty file.
    """

    path: Path
    value: Any
    root: Any

    def locate(self, keys: Sequence[str | int]) -> str:
        """Where a value stands, as `file:line: cameras[0].name`.

        Args:
            keys: The keys and indices from the top. The line is that of the deepest one that the file has.
        """
        node, line, names = self.root, 1, ""
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == key), None)
                if pair is None and not isinstance(key, int) and keys[-1] is not key:
                    continue  # pydantic names the kind of an action on the way; no key of the file
                line, node = (pair[0].start_mark.line + 1, pair[1]) if pair else (node.start_mark.line + 1, None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line + 1
            else:
                node = None
            names += f"[{key}]" if isinstance(key, int) else f".{key}"
        return f"{self.path}:{line}: {names.lstrip('.')}"


def read_yaml(path: Path) -> MarkedYaml:
    """Read a YAML file. The errors name the line, and show nothing of what stands there: it may be a secret.

    Raises:
        UserError: The file cannot be read, is too large, is not YAML, holds an alias, or has a key twice.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{path}: cannot be read ({reason}).") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES:,} bytes. That is no configuration.")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        _refuse_doubles(path, root, set())
        value = {} if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not YAML ({_without_quotes(error.problem or error.context)}).") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({type(error).__name__}).") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply.") from None
    except (ValueError, OverflowError):
        raise UserError(f"{path}: holds a date or a number that does not exist.") from None
    return MarkedYaml(path, value, root)


def _refuse_doubles(path: Path, node: Any, seen: set[int]) -> None:
    if node is None:
        return
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise UserError(f"{path}:{line}: holds an alias (*name) to this line. Write the value out.")
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_doubles(path, item, seen)
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"{path}:{line}: a key must be a word.")
            if key.value in keys:
                raise UserError(f"{path}:{line}: {key.value}: stands here twice.")
            keys.add(key.value)
            _refuse_doubles(path, value, seen)


def _without_quotes(problem: str | None) -> str:
    """PyYAML's reason without what it quotes from the file. Punctuation marks and PyYAML's own tokens are shown."""
    if problem and r"'\t'" in problem:
        return "this line is indented with a tab: use spaces"
    shown = re.split(r" '(?![^\w\s]'|<[a-z ]+>')", problem or "it cannot be parsed")[0]
    if shown.startswith("expected <block end>"):
        return "this line is not indented as the ones before it"
    return shown
