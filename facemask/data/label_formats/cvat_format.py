"""CVAT for images 1.1: https://docs.cvat.ai/docs/manual/advanced/xml_format/."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.core.errors import UserError
from facemask.data.label_formats.foreign_labels import (
    ForeignLabels,
    ForeignPicture,
    envelope,
    finite_number,
    one_line,
    pixel_count,
)
from facemask.data.label_formats.label_source import (
    MAX_LABEL_BYTES,
    LabelSource,
    PictureFinder,
    PictureNotFoundError,
)
from facemask.data.label_formats.voc_format import xml_files
from facemask.data.voc import Box, VocError, parse_untrusted_xml

if TYPE_CHECKING:
    from lxml import etree


def cvat_files(source: LabelSource) -> list[str]:
    """The XML files whose root is `<annotations>`."""
    return xml_files(source, "annotations")


def read_cvat(source: LabelSource, files: list[str], finder: PictureFinder) -> ForeignLabels:
    """Read CVAT's files: boxes, and the upright boxes around rotated boxes and polygons.

    Raises:
        UserError: A file is not XML, or is of "CVAT for video".
    """
    pictures: list[ForeignPicture] = []
    problems: list[str] = []
    for file in files:
        root = parse_untrusted_xml(Path(file), source.read(file, MAX_LABEL_BYTES))
        if root.find("track") is not None:
            raise UserError(f'{file}: holds tracks of a video. Export it from CVAT as "CVAT for images 1.1".')
        task = one_line(root.findtext("meta/task/name") or root.findtext("meta/job/name") or "")
        for node in root.iterfind("image"):
            named = node.get("name") or ""
            boxes, before = [], len(problems)
            for number, shape in enumerate(_shapes(node), start=1):
                try:
                    boxes.append(_box(shape))
                except (ValueError, VocError) as error:
                    problems.append(f"{file}: shape {number} of {named[:200]}: {error}")
            try:
                image = finder.find(named, near=file)
            except PictureNotFoundError as error:
                problems.append(f"{file}: {error}")
            if len(problems) > before:
                continue
            pictures.append(
                ForeignPicture(
                    image=image,
                    labelled_in=file,
                    boxes=tuple(boxes),
                    width=pixel_count(node.get("width")),
                    height=pixel_count(node.get("height")),
                    origin=f"CVAT task {task}" if task else "",
                )
            )
    return ForeignLabels(tuple(pictures), tuple(problems))


def _shapes(node: "etree._Element") -> list["etree._Element"]:
    # A tag says something of the whole picture, and is no shape.
    return [child for child in node if child.tag != "tag"]


def _box(node: "etree._Element") -> Box:
    """The box of a shape. Raises ValueError with the reason if the shape is wrong."""
    label = node.get("label") or ""
    if not label:
        raise ValueError("it has no label")
    flags = {
        one_line(child.get("name")): (child.text or "").strip().lower() == "true"
        for child in node.iterfind("attribute")
    }
    difficult, truncated = flags.get("difficult", False), flags.get("truncated", False)
    if node.tag == "polygon":
        numbers = [finite_number(part) for pair in (node.get("points") or "").split(";") for part in pair.split(",")]
        points = [number for number in numbers if number is not None]
        if len(points) != len(numbers) or len(points) < 6 or len(points) % 2:
            raise ValueError("its points are not pairs of numbers")
        return envelope(label, points[::2], points[1::2], difficult, truncated)
    if node.tag != "box":
        raise ValueError(f"a <{one_line(node.tag, 40)}> is no box. Remove it in CVAT")
    corners = [finite_number(node.get(name)) for name in ("xtl", "ytl", "xbr", "ybr")]
    turn = finite_number(node.get("rotation") or 0)
    left, top, right, bottom = corners
    if left is None or top is None or right is None or bottom is None or turn is None:
        raise ValueError("its corners are not numbers")
    if not turn:
        return Box(label, left, top, right, bottom, difficult, truncated)
    # CVAT turns a box around its centre, by degrees.
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    middle, level, half, high = (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2
    offsets = [(x, y) for x in (-half, half) for y in (-high, high)]
    xs, ys = [middle + x * cos - y * sin for x, y in offsets], [level + x * sin + y * cos for x, y in offsets]
    return envelope(label, xs, ys, difficult, truncated)
