"""The files of the page, and `page.json`, which describes the detector to it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from facemask.core.colours import contrasting_text_colour, picture_colour
from facemask.core.label_map import LabelMap

FOLDER = Path(__file__).with_name("page")

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
"""The files of the page, by the end of their names. The others are npm's."""


def page_files() -> Iterator[Path]:
    """The files of the page."""
    return (path for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES)


def page_settings(
    engine: str, privacy: str, model: Mapping[str, Any], label_map: LabelMap, thresholds: Sequence[float], **more: Any
) -> dict[str, Any]:
    """What `page.json` holds.

    Args:
        engine: `browser` or `server`: where the detector runs.
        privacy: A sentence on who can see the pictures.
        model: The description of the model, as it is in the results.
        label_map: The classes.
        thresholds: The least score of a box of each class, in the order of the ids.
        more: What the engine needs besides.
    """
    classes = [
        {
            "name": name,
            "threshold": round(float(least), 4),
            "colour": picture_colour(class_id),
            "text": contrasting_text_colour(picture_colour(class_id)),
        }
        for class_id, (name, least) in enumerate(zip(label_map.names, thresholds, strict=True), 1)
    ]
    return {"engine": engine, "privacy": privacy, "model": dict(model), "classes": classes, **more}
