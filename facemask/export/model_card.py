"""Write the model card of the detector that comes with facemask, from the content of its `ready.json`."""

import base64
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from facemask.core.errors import UserError
from facemask.core.files import write_bytes
from facemask.ready import shipped_detector

NAME = "README.md"
"""The model card's file in the folder of the shipped detector."""
MISTAKES = "mistakes.jpg"
"""The picture beside it with the worst mistakes."""
RECIPE = "recipe.sh"
"""The file beside it with the commands that made weights and figures, which the card quotes. A person writes it."""


def write_model_card(folder: Path, ready: Mapping[str, Any]) -> None:
    """Write the model card into the folder of the shipped detector.

    Args:
        folder: The folder, with `RECIPE` in it.
        ready: The content of `ready.json`.

    Raises:
        UserError: There is no recipe.
    """
    if not (folder / RECIPE).is_file():
        raise UserError(f"{folder / RECIPE}: no such file. Write the commands that made the weights into it.")
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["hundredths"] = _hundredths
    template = resources.files("facemask.export").joinpath("model_card.md.j2").read_text(encoding="utf-8")
    count = len(shipped_detector.unpack_hashes(base64.b64decode(ready["training_pictures"])))
    recipe = (folder / RECIPE).read_text(encoding="utf-8").strip()
    write_bytes(
        folder / NAME, environment.from_string(template).render(ready, recipe=recipe, training_count=count).encode()
    )


def _hundredths(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
