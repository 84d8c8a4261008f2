"""What Roboflow's exports say of their origin. Their labels are in one of the other formats."""

import re

from facemask.core.errors import UserError
from facemask.data.label_formats.foreign_labels import one_line
from facemask.data.label_formats.label_source import LabelSource

MAX_NOTE_BYTES = 1 << 20
_NOTES = ("readme.roboflow.txt", "readme.dataset.txt")


def roboflow_origin(source: LabelSource) -> tuple[str, str]:
    """The address and the licence in Roboflow's README files; empty where they are not there or do not say.

    Example of what is read: `https://universe.roboflow.com/a/masks`, `License: CC BY 4.0`.
    """
    address = licence = ""
    for name in source.names:
        if name.rpartition("/")[2].lower() not in _NOTES:
            continue
        try:
            text = source.read(name, MAX_NOTE_BYTES).decode("utf-8", "replace")
        except UserError:
            continue
        found = re.search(r"https://(?:universe|app)\.roboflow\.com/[^\s\"'<>)]{1,150}", text)
        address = address or (found[0] if found else "")
        # Without `\s`, which crosses lines: a megabyte of empty lines would take hours.
        found = re.search(r"^[ \t]*Licen[sc]e:[ \t]*(\S.{0,99})$", text, re.MULTILINE | re.IGNORECASE)
        licence = licence or (one_line(found[1]) if found else "")
    return address, licence
