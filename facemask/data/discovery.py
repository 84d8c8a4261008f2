"""Find the labelled images of a folder, and match each XML with its image."""

import itertools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemask.core.errors import UserError
from facemask.core.files import is_utf8
from facemask.data import images, voc
from facemask.data.data_rules import RULES, Finding, printable
from facemask.data.splits import SPLITS


@dataclass(frozen=True, slots=True)
class DiscoveredPicture:
    """An image with its XML. Paths are relative to the data set, with slashes.

    Attributes:
        name: The image's path, which is also its name in the records.
        xml_suffix: The suffix of the XML's path, without the dot: `xml` or `XML`.
    """

    name: str
    xml_suffix: str

    @property
    def xml(self) -> str:
        """The XML's path: the image's path with the other suffix."""
        return f"{self.name.rpartition('.')[0]}.{self.xml_suffix}"

    @property
    def folder_split(self) -> str | None:
        """The split that its folder determines (`train/`, `val/`, `test/`), or None."""
        folder, inside, _ = self.name.partition("/")
        return folder if inside and folder in SPLITS else None


def path_below(root: Path, name: str) -> Path:
    """Join the paths without pathlib's `/`, which interns the parts of `name` in a table that never shrinks."""
    return Path(f"{root}/{name}")


def last_part(path: str) -> str:
    """The file name at the end of a path. It also splits Windows paths, since an XML may have been written there."""
    return re.split(r"[/\\]", path)[-1]


def discover_pictures(root: Path) -> tuple[list[DiscoveredPicture], list[Finding]]:
    """Find the labelled images in a folder and its sub-folders. Hidden files and folders are left out.

    Nothing outside the folder is read. Links that leave it are reported as findings, and `<filename>` is only used to
    choose between images beside the XML.

    Returns:
        The labelled images, and the findings about other files, both in the order of their paths.

    Raises:
        UserError: `root` is not a folder, cannot be read, or holds no XML.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder. It should hold images, each with its Pascal VOC XML beside it.")
    findings: list[Finding] = []
    labelled: list[DiscoveredPicture] = []
    # Plain strings, so that a data set of millions of files fits into memory.
    paths = sorted(path for path in _files(root, findings) if _suffix(path) in _SUFFIXES)
    paths.sort(key=_stem)
    for _, group in itertools.groupby(paths, key=_stem):
        files = list(group)
        xmls = [path for path in files if _suffix(path) == _XML]
        pictures = [path for path in files if _suffix(path) in images.SUFFIXES]
        unread = [path for path in files if _suffix(path) in images.UNREAD_SUFFIXES]
        findings += [Finding("unread_format", path) for path in unread]
        if len(xmls) > 1:
            findings.append(Finding("several_xmls", xmls[0], ", ".join(last_part(xml) for xml in xmls)))
            continue
        for xml in xmls:
            name = _image_of(root, xml, pictures)
            if name is None:
                many = ", ".join(last_part(picture) for picture in pictures or unread)
                if unread and not pictures:
                    many = f"the format of {many} is not read; convert it to JPEG or PNG"
                findings.append(Finding("several_images" if pictures else "xml_without_image", xml, many))
            else:
                labelled.append(DiscoveredPicture(name, sys.intern(xml.rpartition(".")[2])))
                why = f"{last_part(xml)} is that of {last_part(name)}; rename this image before you label it"
                findings += [Finding("image_without_xml", other, why) for other in pictures if other != name]
        if not xmls:
            findings += [Finding("image_without_xml", picture) for picture in pictures]
    if not labelled and not any(RULES[finding.rule].stops for finding in findings):
        unread = [printable(finding.path) for finding in findings if finding.rule == "unread_format"]
        advice = f"{images.about_unread(unread)} Label its images first: make label IMAGES={root}".lstrip()
        raise UserError(f"{root}: no Pascal VOC XML in it. {advice}")
    return labelled, sorted(findings, key=lambda finding: finding.path)


_XML = ".xml"
_SUFFIXES = images.SUFFIXES | images.UNREAD_SUFFIXES | {_XML}


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 (see `path_below`)


def _files(root: Path, findings: list[Finding]) -> Iterator[str]:
    """Yield the relative paths of all files below `root` that are not hidden."""
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
                    elif not is_utf8(path):
                        findings.append(Finding("unusable_name", path))
                    elif entry.is_file():
                        yield path
        except OSError as error:
            raise UserError(f"{root / folder}: cannot be read ({error.strerror}).") from None


def _image_of(root: Path, xml: str, pictures: Sequence[str]) -> str | None:
    """The image that an XML belongs to: the image of the same name. If there are several, `<filename>` decides."""
    if len(pictures) == 1:
        return pictures[0]
    if not pictures:
        return None
    try:
        named = last_part(voc.read_voc(path_below(root, xml)).filename)
    except voc.VocError:
        return pictures[0]
    return next((picture for picture in pictures if last_part(picture) == named), None)
