"""Compare the settings of a run in its folder with those of now, because a run continues with the same ones only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each setting that has another value now.

    Example:
        >>> changed_settings({"batch": 8, "seed": 0}, {"batch": 4, "seed": 0})
        ['BATCH: 8 -> 4']
    """
    return [
        f"{name.upper()}: {before.get(name)} -> {value}" for name, value in now.items() if before.get(name) != value
    ]


def refuse_to_continue(folder: Path, changes: Sequence[str]) -> None:
    """Raise a UserError that lists what has changed since a run began, if anything has."""
    if changes:
        raise UserError(
            f"{folder}: was trained with other settings, so it cannot continue. FRESH=1 starts over, RUN=<new> keeps "
            "it:\n" + "\n".join(f"  {line}" for line in changes)
        )
