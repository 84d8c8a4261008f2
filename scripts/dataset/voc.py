"""One Pascal VOC file, as labelImg writes it: read without trusting it, and written.

The format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html, "Annotation files". Coordinates stay
as they stand in the file. labelImg, most other tools and the API take them as the edges of the box, counted from 0 at
the image's upper left corner, and so does everything here (the VOC challenge itself counted pixels from 1).
"""

import math
import stat
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from scripts.support.errors import UserError
from scripts.support.files import replacing

MAX_BYTES = 8 << 20
"""The largest XML that is read. labelImg needs some 350 bytes a box: more than 20,000 boxes fit."""


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


@dataclass(frozen=True)
class Annotation:
    """What one XML says, unchecked against the image.

    Attributes:
        path: The XML file.
        filename: The image's name as the XML has it: any text, so never used as a path.
        width: The image's width in pixels as the XML has it; 0 where it does not say.
        height: The image's height, likewise.
        boxes: The objects, in the file's order.
        source: Where the labels come from, as the XML has it; labelImg writes "Unknown".
    """

    path: Path
    filename: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    source: str = "Unknown"


def read(path: Path) -> Annotation:
    """Read a Pascal VOC file.

    The file may come from anybody: entities are not resolved, a document type is refused, nothing is fetched, and a
    file of more than `MAX_BYTES` is not opened.

    Raises:
        VocError: The file cannot be read, is not XML, or is not a complete annotation.
    """
    return parse(path, read_bytes(path))


def parse(path: Path, data: bytes) -> Annotation:
    """`read` for bytes that are in memory already; `path` stands in the messages and the result."""
    root = _root(path, data)
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
    )


def read_bytes(path: Path) -> bytes:
    """The XML file's bytes. Raises VocError where it cannot be read, is not a plain file, or is too large."""
    try:
        # Asked before it is opened: opening a named pipe would wait for a writer for ever.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise VocError(f"{path}: not a file.")
        if status.st_size > MAX_BYTES:
            raise VocError(f"{path}: {status.st_size >> 20} MB, more than any annotation needs. Is it one?")
        return path.read_bytes()
    except OSError as error:
        raise VocError(f"{path}: cannot be read ({error.strerror}).") from None


def write(path: Path, annotation: Annotation) -> None:
    """Write a Pascal VOC file as labelImg would.

    `<folder>` is the name of `annotation.path`'s folder, wherever `path` is: files may be written beside their place.

    Raises:
        VocError: A name holds a character that XML cannot.

    Example:
        >>> write(Path("a.xml"), Annotation(Path("a.xml"), "a.jpg", 640, 480, (Box("with_mask", 10, 20, 50, 70),)))
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
    with replacing(path) as beside:
        beside.write_bytes(etree.tostring(root, encoding="utf-8", pretty_print=True))


def _root(path: Path, data: bytes) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise VocError(f"{path}: not XML ({' '.join(str(error).split())}).") from None
    # No labelling tool writes a document type; it is where entities are declared.
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
    # labelImg writes 0 and 1; other tools also true and Unspecified.
    return _text(node, name).lower() in {"1", "true", "yes"}


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    node = etree.SubElement(parent, name)
    node.text = text
    return node
