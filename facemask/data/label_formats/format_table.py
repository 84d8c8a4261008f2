"""The table of formats. A new one is a file beside this one, and a row here."""

from collections.abc import Callable
from dataclasses import dataclass

from facemask.core.errors import UserError
from facemask.data.label_formats.coco_format import coco_files, read_coco
from facemask.data.label_formats.cvat_format import cvat_files, read_cvat
from facemask.data.label_formats.foreign_labels import ForeignLabels
from facemask.data.label_formats.label_source import LabelSource, PictureFinder
from facemask.data.label_formats.label_studio_format import label_studio_files, read_label_studio
from facemask.data.label_formats.voc_format import read_foreign_voc, unreadable_xml, voc_files
from facemask.data.label_formats.yolo_format import read_yolo, yolo_files


@dataclass(frozen=True)
class LabelFormat:
    """A format that can be imported.

    Attributes:
        name: What FORMAT= takes.
        title: Its name for people.
        find: Gives the files in a source that are of this format.
        read: Reads these files; the pictures that they name are looked up with the finder.
    """

    name: str
    title: str
    find: Callable[[LabelSource], list[str]]
    read: Callable[[LabelSource, list[str], PictureFinder], ForeignLabels]


FORMATS = (
    LabelFormat("coco", "COCO", coco_files, read_coco),
    LabelFormat("yolo", "YOLO", yolo_files, read_yolo),
    LabelFormat("cvat", "CVAT for images", cvat_files, read_cvat),
    LabelFormat("label_studio", "Label Studio", label_studio_files, read_label_studio),
    LabelFormat("voc", "Pascal VOC", voc_files, read_foreign_voc),
)


def recognise_format(source: LabelSource, name: str = "") -> tuple[LabelFormat, list[str]]:
    """The format of a source, and its files.

    Args:
        source: Where to look.
        name: Look for this format only; empty for all.

    Raises:
        UserError: No format, or more than one, is recognised; or there is none of that name.
    """
    known = ", ".join(row.name for row in FORMATS)
    rows = [row for row in FORMATS if name in ("", row.name)]
    if not rows:
        raise UserError(f"FORMAT={name}: no such format. Known are {known}.")
    found = [(row, files) for row in rows if (files := row.find(source))]
    if len(found) > 1:
        both = " and ".join(f"{row.title} ({files[0]})" for row, files in found)
        names = " or ".join(f"FORMAT={row.name}" for row, _ in found)
        raise UserError(f"{source.path}: holds labels in {both}. Choose one: {names}.")
    if not found:
        for file in source.with_suffix(".json"):
            source.read_json(file)  # a file that is not JSON is the likeliest cause, and its error says so
        for line in unreadable_xml(source):
            raise UserError(line)
        wanted = rows[0].title if name else f"any known format ({known})"
        inner = next((f" It holds {file}; unpack that first." for file in source.with_suffix(".zip")), "")
        raise UserError(f"{source.path}: no labels in {wanted} in it.{inner}")
    return found[0]
