"""Every rule about a data set, each with its message. `make check` prints them, `make records` obeys them."""

import difflib
import functools
import hashlib
import itertools
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.dataset import duplicates, images, voc, workers
from scripts.dataset.label_map import LabelMap
from scripts.dataset.splits import SPLITS, Candidate
from scripts.dataset.voc import Annotation, Box
from scripts.support.errors import UserError

ERROR, WARNING, NOTE = "error", "warning", "note"

MIN_SIDE = 1.0
"""Boxes that have less than this many pixels of width or height in their image hold nothing to learn."""

TINY_SIDE = 4.0
"""Pixels at the training size: half the stride of the model's finest feature map (level 3, stride 8)."""


@dataclass(frozen=True)
class Rule:
    """A rule about a data set.

    Attributes:
        level: `error`, `warning` or `note`.
        title: What was found, as a heading.
        advice: What to do about it, or what is done.
        stops: No records are made while it is broken.
    """

    level: str
    title: str
    advice: str
    stops: bool = False


RULES = {
    "bad_xml": Rule(ERROR, "XML that is no annotation", "Correct or remove it.", stops=True),
    "bad_image": Rule(ERROR, "image that cannot be decoded", "Replace it, or remove it and its XML.", stops=True),
    "unknown_label": Rule(
        ERROR,
        "label that is not in the label map",
        "Correct it in labelImg, or add the class to the class list.",
        stops=True,
    ),
    "xml_without_image": Rule(ERROR, "XML without its image", "Add the image or remove the XML.", stops=True),
    "several_images": Rule(
        ERROR,
        "XML that several images could belong to",
        "Keep one of the images, or name it in <filename>.",
        stops=True,
    ),
    "link_outside": Rule(
        ERROR, "symbolic link out of the folder", "Put the file itself there, or remove the link.", stops=True
    ),
    "unusable_name": Rule(ERROR, "file name that is not UTF-8", "Rename the file.", stops=True),
    "same_across_splits": Rule(
        ERROR,
        "the same picture in several splits",
        "An evaluation on it is a lie: keep one of them, or put them into one of the folders train/, val/, test/.",
    ),
    "same_picture": Rule(WARNING, "the same picture several times", "Keep one of them."),
    "image_without_xml": Rule(
        WARNING, "image without XML", "Not used. Label it; with nobody on it, save it without boxes."
    ),
    "link_not_followed": Rule(WARNING, "folder that is a symbolic link", "Not used. Put the folder itself there."),
    "box_clipped": Rule(WARNING, "box past the edge of the image", "Clipped to the image."),
    "box_outside": Rule(WARNING, "box outside the image", "Dropped."),
    "box_empty": Rule(WARNING, "box without area", "Dropped."),
    "box_inverted": Rule(WARNING, "box whose right or lower edge comes before the other", "Dropped."),
    "lost_all_boxes": Rule(
        WARNING, "image that lost all its boxes", "Not used: somebody is on it, so it is no negative."
    ),
    "box_duplicate": Rule(WARNING, "box that stands there twice", "Remove one of the two."),
    "size_differs": Rule(WARNING, "size in the XML that is not the image's", "The image's real size counts."),
    "labelled_sideways": Rule(
        WARNING,
        "XML with the size of the image before its EXIF orientation",
        "If the boxes were drawn on the image lying on its side, they are wrong: look at them in labelImg.",
    ),
    "animated": Rule(WARNING, "animated image", "The first frame counts."),
    "deep": Rule(
        WARNING, "image of more than 8 bits a channel", "The upper 8 bits count: look whether it is too dark."
    ),
    "patched": Rule(
        WARNING, "JPEG that is damaged but decodes", "Stored as it decodes: look at it, parts of it may be lost."
    ),
    "box_tiny": Rule(
        NOTE,
        "box that is tiny at the training size",
        f"Under {TINY_SIDE:g} pixels: train at a larger SIZE or leave it.",
    ),
    "oriented": Rule(NOTE, "image with an EXIF orientation", "Turned as labelImg shows it."),
    "other_filename": Rule(NOTE, "<filename> that is another file's name", "The XML's own name counts."),
}


@dataclass(frozen=True)
class Finding:
    """A rule that a file breaks.

    Attributes:
        rule: Its name in `RULES`.
        path: The file, relative to the data set.
        detail: What exactly; may be empty.
        count: How many of the file's boxes, where the rule is about boxes.
    """

    rule: str
    path: str
    detail: str = ""
    count: int = 1

    def __str__(self) -> str:
        rule = RULES[self.rule]
        return f"{printable(self.path)}: {rule.title}{': ' if self.detail else ''}{printable(self.detail)}"


@dataclass(frozen=True, slots=True)
class Item:
    """An image with its XML. Paths are relative to the data set, with slashes.

    Attributes:
        name: The image's path: its name in the records.
        xml_suffix: What the XML's path has after the dot: `xml`, or `XML`.
    """

    name: str
    xml_suffix: str

    @property
    def xml(self) -> str:
        """The XML's path, which is the image's but for the suffix."""
        return f"{self.name.rpartition('.')[0]}.{self.xml_suffix}"

    @property
    def folder_split(self) -> str | None:
        """The split that its folder stands for (`train/`, `val/`, `test/`), or None."""
        folder, inside, _ = self.name.partition("/")
        return folder if inside and folder in SPLITS else None


@dataclass(frozen=True)
class Examined:
    """What is left of an item once the rules were applied.

    Attributes:
        item: The item.
        usable: It can go into the records.
        boxes: Clean: of known classes, within the image, with an area.
        findings: What was found.
        image: The image; None where it cannot be decoded.
        xml_sha256: Of the XML, in hex; empty where it cannot be read.
    """

    item: Item
    usable: bool
    boxes: tuple[Box, ...]
    findings: tuple[Finding, ...]
    image: images.Prepared | None
    xml_sha256: str


def file(root: Path, name: str) -> Path:
    """`root / name`, without what pathlib does with it: it interns the parts of a path, a whole `name` among them, and
    the table of all interned strings never shrinks."""
    return Path(f"{root}/{name}")


def printable(text: str) -> str:
    """The text on one line of any terminal: control characters and what is not UTF-8 as escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)


def discover(root: Path) -> tuple[list[Item], list[Finding]]:
    """Find the labelled images in a folder and its sub-folders, hidden ones aside.

    Nothing outside of the folder is touched: links that leave it are findings, and `<filename>` only decides between
    images beside the XML.

    Returns:
        The items, and what is wrong with files that are none, both in the order of their paths.

    Raises:
        UserError: `root` is no folder, cannot be read, or holds no XML.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder. It should hold images, each with its Pascal VOC XML beside it.")
    findings: list[Finding] = []
    items: list[Item] = []
    # Of millions of files little more than their names is in memory.
    found = sorted(path for path in _files(root, findings) if _suffix(path) in _SUFFIXES)
    found.sort(key=_stem)
    for _, group in itertools.groupby(found, key=_stem):
        files = list(group)
        xmls = [path for path in files if _suffix(path) == _XML]
        pictures = [path for path in files if _suffix(path) != _XML]
        for xml in xmls:
            name = _image_of(root, xml, pictures)
            if name is None:
                many = ", ".join(_last_part(picture) for picture in pictures)
                findings.append(Finding("several_images" if pictures else "xml_without_image", xml, many))
            else:
                items.append(Item(name, sys.intern(xml.rpartition(".")[2])))
        if not xmls:
            findings += [Finding("image_without_xml", picture) for picture in pictures]
    if not items and not any(RULES[finding.rule].stops for finding in findings):
        raise UserError(f"{root}: no Pascal VOC XML in it. Label its images first (make label).")
    return items, sorted(findings, key=lambda finding: finding.path)


def labels(root: Path, item: Item) -> frozenset[str]:
    """The labels of the item's boxes as the XML has them; none where it cannot be read, which `examine` reports."""
    try:
        boxes = voc.read(file(root, item.xml)).boxes
    except voc.VocError:
        return frozenset()
    return frozenset(box.label for box in boxes if box.width >= MIN_SIDE and box.height >= MIN_SIDE)


def examine(root: Path, item: Item, label_map: LabelMap, size: int | None = None) -> Examined:
    """Apply the rules to one item: read both files, decode the image, clean the boxes.

    Args:
        root: The data set.
        item: As `discover` found it.
        label_map: The classes.
        size: The training size in pixels, for boxes that are tiny there; None not to look for them.
    """
    try:
        data = voc.read_bytes(file(root, item.xml))
        annotation = voc.parse(file(root, item.xml), data)
    except voc.VocError as error:
        detail = str(error).removeprefix(f"{file(root, item.xml)}: ")
        return Examined(item, False, (), (Finding("bad_xml", item.xml, detail),), None, "")
    xml_sha256 = hashlib.sha256(data).hexdigest()
    try:
        image = images.prepare(images.read_bytes(file(root, item.name)))
    except images.ImageError as error:
        return Examined(item, False, (), (Finding("bad_image", item.name, str(error)),), None, xml_sha256)
    findings = [*_about_image(item, annotation, image), *_about_labels(item, annotation, label_map)]
    boxes, about_boxes = _clean(item, annotation.boxes, image)
    findings += about_boxes
    if annotation.boxes and not boxes:
        findings.append(Finding("lost_all_boxes", item.name))
    if size is not None:
        tiny = sum(min(box.width * size / image.width, box.height * size / image.height) < TINY_SIDE for box in boxes)
        if tiny:
            findings.append(Finding("box_tiny", item.xml, f"{tiny} of {len(boxes)}", tiny))
    stopped = any(RULES[finding.rule].stops for finding in findings)
    usable = not stopped and (bool(boxes) or not annotation.boxes)
    return Examined(item, usable, boxes, tuple(findings), image, xml_sha256)


def candidates(
    root: Path, items: Sequence[Item], assigned: Mapping[str, str], ordered: workers.Ordered = map
) -> list[Candidate]:
    """The items as `splits.assign` wants them: fixed where a folder or earlier records say so."""
    read = ordered(functools.partial(labels, root), items)
    same: dict[frozenset[str], frozenset[str]] = {}  # a set of classes is in memory once
    return [
        Candidate(item.name, same.setdefault(found, found), item.folder_split or assigned.get(item.name))
        for item, found in zip(items, read, strict=True)
    ]


def same_pictures(names: Sequence[str], split_of: Sequence[str], looks: Sequence[int]) -> Iterator[Finding]:
    """The pictures that look the same, one finding for each group.

    Args:
        names: The pictures.
        split_of: Their splits.
        looks: Their perceptual hashes.
    """
    for group in duplicates.groups(looks):
        among = {split_of[place] for place in group}
        rule = "same_picture" if len(among) == 1 else "same_across_splits"
        first, *others = sorted(f"{names[place]} ({split_of[place]})" for place in group)
        yield Finding(rule, min(names[place] for place in group), f"{first} and {', '.join(others)}", len(group))


def stopping(findings: Iterable[Finding]) -> list[Finding]:
    """The findings for which no records are made."""
    return [finding for finding in findings if RULES[finding.rule].stops]


def refuse(root: Path, findings: Iterable[Finding], shown: int = 20) -> None:
    """Raise a UserError that lists the findings for which no records are made, if there are any."""
    bad = stopping(findings)
    if not bad:
        return
    lines = [f"  {finding}. {RULES[finding.rule].advice}" for finding in bad[:shown]]
    if len(bad) > shown:
        lines.append(f"  ... and {len(bad) - shown} more: make check lists all.")
    raise UserError("\n".join([f"{root}: {len(bad)} problem(s) to put right first:", *lines]))


_XML = ".xml"
_SUFFIXES = images.SUFFIXES | {_XML}


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 (see `file`)


def _files(root: Path, findings: list[Finding]) -> Iterator[str]:
    """The relative paths of all plain files below `root` that are not hidden."""
    inside = os.path.realpath(root)
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.is_symlink() and entry.is_dir():
                        findings.append(Finding("link_not_followed", path))
                    elif entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(inside):
                        findings.append(Finding("link_outside", path, os.path.realpath(entry.path)))
                    elif not _is_utf8(path):
                        findings.append(Finding("unusable_name", path))
                    elif entry.is_file():
                        yield path
        except OSError as error:
            raise UserError(f"{root / folder}: cannot be read ({error.strerror}).") from None


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _image_of(root: Path, xml: str, pictures: Iterable[str]) -> str | None:
    """The image that an XML belongs to: the one of its own name, and of several the one that it names."""
    pictures = list(pictures)
    if len(pictures) == 1:
        return pictures[0]
    if not pictures:
        return None
    try:
        named = _last_part(voc.read(file(root, xml)).filename)
    except voc.VocError:
        return pictures[0]
    return next((picture for picture in pictures if _last_part(picture) == named), None)


def _last_part(path: str) -> str:
    # Of a Windows path too: a name may have been written there.
    return re.split(r"[/\\]", path)[-1]


def _about_image(item: Item, annotation: Annotation, image: images.Prepared) -> Iterator[Finding]:
    real, said = (image.width, image.height), (annotation.width, annotation.height)
    if said != real and any(said):
        rule = "labelled_sideways" if image.oriented and said == image.stored_size else "size_differs"
        yield Finding(rule, item.xml, f"{said[0]} x {said[1]}, the image has {real[0]} x {real[1]}")
    if image.frames > 1:
        yield Finding("animated", item.name, f"{image.frames} frames")
    if image.bits > 8:
        yield Finding("deep", item.name, f"{image.bits} bits")
    if image.patched:
        yield Finding("patched", item.name)
    if image.oriented:
        yield Finding("oriented", item.name)
    if annotation.filename and _last_part(annotation.filename) != _last_part(item.name):
        yield Finding("other_filename", item.xml, annotation.filename[:200])


def _about_labels(item: Item, annotation: Annotation, label_map: LabelMap) -> Iterator[Finding]:
    unknown = [box.label for box in annotation.boxes if box.label not in label_map]
    for label in dict.fromkeys(unknown):
        yield Finding(
            "unknown_label", item.xml, f'"{label[:200]}"{_suggestion(label, label_map)}', unknown.count(label)
        )


def _suggestion(label: str, label_map: LabelMap) -> str:
    """The class that the label is most like, as a question; empty where none is."""

    def plain(name: str) -> str:
        return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")

    names = {plain(name): name for name in label_map.names}
    near = difflib.get_close_matches(plain(label[:200]), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""


def _clean(item: Item, boxes: tuple[Box, ...], image: images.Prepared) -> tuple[tuple[Box, ...], list[Finding]]:
    """Clip and drop."""
    clean: list[Box] = []
    broken: dict[str, list[str]] = defaultdict(list)
    for number, box in enumerate(boxes, start=1):
        rule, kept = _clipped(box, image.width, image.height)
        if rule is not None:
            corners = ", ".join(f"{value:g}" for value in (box.xmin, box.ymin, box.xmax, box.ymax))
            broken[rule].append(f"object {number} ({box.label[:100]}) [{corners}]")
        if kept is not None:
            clean.append(kept)
    of = f" of an image of {image.width} x {image.height}"
    found = [
        Finding(rule, item.xml, "; ".join(details[:5]) + ("; ..." if len(details) > 5 else "") + of, len(details))
        for rule, details in broken.items()
    ]
    same = len(boxes) - len({(box.label, box.xmin, box.ymin, box.xmax, box.ymax) for box in boxes})
    if same:
        found.append(Finding("box_duplicate", item.xml, f"{same} of {len(boxes)}", same))
    return tuple(clean), found


def _clipped(box: Box, width: int, height: int) -> tuple[str | None, Box | None]:
    """The rule that the box breaks, or None; and what is left of it, or None."""
    if box.width < 0 or box.height < 0:
        return "box_inverted", None
    if box.width < MIN_SIDE or box.height < MIN_SIDE:
        return "box_empty", None
    inside = replace(
        box,
        xmin=min(max(box.xmin, 0.0), float(width)),
        ymin=min(max(box.ymin, 0.0), float(height)),
        xmax=min(max(box.xmax, 0.0), float(width)),
        ymax=min(max(box.ymax, 0.0), float(height)),
    )
    if inside.width < MIN_SIDE or inside.height < MIN_SIDE:
        return "box_outside", None
    return (None if inside == box else "box_clipped"), inside
