"""Read and write a Pascal VOC file in labelImg's form. The reader does not trust the file.

The format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html, "Annotation files". Coordinates are
kept as the file has them. Like labelImg, most other tools and the API, this project takes them as the edges of the box,
counted from 0 at the image's upper left corner. (The VOC challenge itself counted pixels from 1.)
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from lxml import etree

from facemask.core.errors import UserError
from facemask.core.files import read_plain_file, replacing_file

MAX_BYTES = 8 << 20
"""Larger XML files are refused. labelImg needs some 350 bytes a box, so more than 20,000 boxes fit."""

_YES = {"1", "true", "yes"}


class VocError(UserError):
    """An XML file that is not the annotation of an image. The message names the file and what is wrong in it."""


@dataclass(frozen=True)
class Box:
    """A labelled box, in the pixels of the image as its author saw it (EXIF orientation applied)."""

    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False
    truncated: bool = False
    pose: str = "Unspecified"

    @property
    def width(self) -> float:
        """Pixels from the left to the right edge; negative where the edges are swapped."""
        return self.xmax - self.xmin

    @property
    def height(self) -> float:
        """Pixels from the upper to the lower edge; negative where the edges are swapped."""
        return self.ymax - self.ymin

    def clipped(self, width: int, height: int) -> "Box":
        """The part of the box that is inside of an image of this size in pixels."""
        return replace(
            self,
            xmin=min(max(self.xmin, 0.0), float(width)),
            ymin=min(max(self.ymin, 0.0), float(height)),
            xmax=min(max(self.xmax, 0.0), float(width)),
            ymax=min(max(self.ymax, 0.0), float(height)),
        )


@dataclass(frozen=True)
class Annotation:
    """The contents of one XML file, not checked against the image.

    Attributes:
        path: The XML file.
        filename: The image's name according to the XML. It may be any text, so it is never used as a path.
        width: The image's width in pixels according to the XML; 0 if it is missing.
        height: The image's height in pixels according to the XML; 0 if it is missing.
        boxes: The objects, in the file's order.
        source: The origin of the labels according to the XML; labelImg writes "Unknown".
        verified: Whether a person verified the picture: labelImg's key Space. `write_voc` does not write it.
    """

    path: Path
    filename: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    source: str = "Unknown"
    verified: bool = False


def read_voc(path: Path) -> Annotation:
    """Read a Pascal VOC file.

    The file may come from an untrusted source: entities are not resolved, a document type is refused, nothing is
    fetched, and a file of more than `MAX_BYTES` is not opened.

    Raises:
        VocError: The file cannot be read, is not XML, or is not a complete annotation.
    """
    return parse_voc(path, read_bytes(path))


def parse_voc(path: Path, data: bytes) -> Annotation:
    """Parse the bytes of a Pascal VOC file like `read_voc`. `path` appears in the result and in messages."""
    root = parse_untrusted_xml(path, data)
    if root.tag != "annotation":
        raise VocError(f"{path}: not a Pascal VOC file (its root is <{root.tag}>). In labelImg choose PascalVOC.")
    size = root.find("size")
    return Annotation(
        path=path,
        filename=_text(root, "filename"),
        width=_pixels(path, size, "width"),
        height=_pixels(path, size, "height"),
        boxes=tuple(_box(path, number, node) for number, node in enumerate(root.iterfind("object"), start=1)),
        source=_text(root, "source/database") or "Unknown",
        verified=root.get("verified", "").lower() in _YES,
    )


def read_bytes(path: Path) -> bytes:
    """The XML file's bytes. Raises VocError where it cannot be read, is not a plain file, or is too large."""
    try:
        return read_plain_file(path, MAX_BYTES)
    except OSError as error:
        raise VocError(f"{path}: cannot be read ({error.strerror}).") from None


def write_voc(path: Path, annotation: Annotation) -> None:
    """Write a Pascal VOC file like labelImg's.

    `<folder>` is the name of the folder of `annotation.path`. `path` may differ, for a file that is moved later.

    Raises:
        VocError: A name holds a character that XML cannot represent.

    Example:
        >>> write_voc(Path("a.xml"), Annotation(Path("a.xml"), "a.jpg", 640, 480, (Box("with_mask", 10, 20, 50, 70),)))
    """
    root = etree.Element("annotation")
    try:
        _add(root, "folder", annotation.path.parent.name)
        _add(root, "filename", annotation.filename)
        _add(_add(root, "source"), "database", annotation.source)
        size = _add(root, "size")
        for name, value in (("width", annotation.width), ("height", annotation.height), ("depth", 3)):
            _add(size, name, str(value))
        _add(root, "segmented", "0")
        for box in annotation.boxes:
            node = _add(root, "object")
            _add(node, "name", box.label)
            _add(node, "pose", box.pose)
            _add(node, "truncated", str(int(box.truncated)))
            _add(node, "difficult", str(int(box.difficult)))
            corners = _add(node, "bndbox")
            for name in ("xmin", "ymin", "xmax", "ymax"):
                _add(corners, name, _number(getattr(box, name)))
    except ValueError as error:
        raise VocError(f"{path}: a name in it cannot be written as XML ({error}).") from None
    etree.indent(root, "\t")
    with replacing_file(path) as beside:
        beside.write_bytes(etree.tostring(root, encoding="utf-8", pretty_print=True))


def parse_untrusted_xml(path: Path, data: bytes) -> etree._Element:
    """The root element of an XML that may come from anybody: no entity is resolved, nothing is fetched.

    Raises:
        VocError: Not XML, or it has a document type. `path` stands in the message.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise VocError(f"{path}: not XML ({' '.join(str(error).split())}).") from None
    # No labelling tool writes a document type, and only a document type can declare entities.
    if root.getroottree().docinfo.internalDTD is not None:
        raise VocError(f"{path}: has a document type (<!DOCTYPE>), which no annotation needs. Remove it.")
    return root


def _box(path: Path, number: int, node: etree._Element) -> Box:
    where = f"{path}: object {number}"
    label = _text(node, "name")
    if not label:
        raise VocError(f"{where} has no <name>.")
    corners = node.find("bndbox")
    if corners is None:
        raise VocError(f"{where} ({label[:100]}) has no <bndbox>.")
    where = f"{where} ({label[:100]})"
    return Box(
        label,
        xmin=_coordinate(where, corners, "xmin"),
        ymin=_coordinate(where, corners, "ymin"),
        xmax=_coordinate(where, corners, "xmax"),
        ymax=_coordinate(where, corners, "ymax"),
        difficult=_flag(node, "difficult"),
        truncated=_flag(node, "truncated"),
        pose=_text(node, "pose") or "Unspecified",
    )


def _coordinate(where: str, corners: etree._Element, name: str) -> float:
    text = _text(corners, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise VocError(f"{where}: <{name}> is {text[:40]!r}, not a number of pixels.")
    return value


def _pixels(path: Path, size: etree._Element | None, name: str) -> int:
    text = "" if size is None else _text(size, name)
    try:
        # float first: some tools write 640.0.
        return int(float(text)) if text else 0
    except (ValueError, OverflowError):
        raise VocError(f"{path}: <size>'s <{name}> is {text[:40]!r}, not a number of pixels.") from None


def _text(node: etree._Element, name: str) -> str:
    return (node.findtext(name) or "").strip()


def _flag(node: etree._Element, name: str) -> bool:
    # labelImg writes 0 and 1; other tools also write true and Unspecified.
    return _text(node, name).lower() in _YES


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    node = etree.SubElement(parent, name)
    node.text = text
    return node
