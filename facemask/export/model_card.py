"""The model card of the detector that comes with facemask, from the content of its `ready.json`."""

import base64
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.export import threshold_choice
from facemask.ready import shipped_detector

NAME = "README.md"
"""The model card's file in the folder of the shipped detector."""
MISTAKES = "mistakes.jpg"
"""The picture beside it with the worst mistakes."""
RECIPE = "recipe.sh"
"""The file beside it with the commands that made weights and figures, which the card quotes. A person writes it."""


def model_card(recipe: Path, ready: Mapping[str, Any]) -> str:
    """The model card of the shipped detector, as Markdown.

    Args:
        recipe: The file `RECIPE` in its folder.
        ready: The content of `ready.json`.

    Raises:
        UserError: There is no recipe.
    """
    if not recipe.is_file():
        raise UserError(f"{recipe}: no such file. Write the commands that made the weights into it.")
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["hundredths"] = _hundredths
    template = resources.files("facemask.export").joinpath("model_card.md.j2").read_text(encoding="utf-8")
    count = len(shipped_detector.unpack_hashes(base64.b64decode(ready["training_pictures"])))
    commands = recipe.read_text(encoding="utf-8").strip()
    values = {"recipe": commands, "training_count": count, "min_faces": threshold_choice.MIN_FACES}
    return environment.from_string(template).render(ready, **values)


def _hundredths(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
