"""Pascal VOC as other tools write it: the XML files in a folder of their own, or beside the pictures."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from facemask.core.errors import UserError
from facemask.data.discovery import last_part
from facemask.data.label_formats.foreign_labels import ForeignLabels, ForeignPicture, one_line
from facemask.data.label_formats.label_source import MAX_LABEL_BYTES, LabelSource, PictureFinder, PictureNotFoundError
from facemask.data.voc import MAX_BYTES, VocError, parse_untrusted_xml, parse_voc

_SAYS_NOTHING = {"unknown", "unspecified", ""}


def root_tag(source: LabelSource, name: str) -> str:
    """The name of an XML file's root element.

    Raises:
        UserError: The file cannot be read, or it is damaged before the root begins.
    """
    found = re.search(rb"<([A-Za-z_][\w.-]{0,80})", source.head(name))
    # Only the parser knows UTF-16, and what an empty file lacks.
    return found[1].decode() if found else parse_untrusted_xml(Path(name), source.read(name, MAX_LABEL_BYTES)).tag


def xml_files(source: LabelSource, root: str) -> list[str]:
    """The XML files with that root; none of those that `unreadable_xml` names."""
    found = []
    for name in source.with_suffix(".xml"):
        with contextlib.suppress(UserError):
            if root_tag(source, name) == root:
                found.append(name)
    return found


def unreadable_xml(source: LabelSource) -> Iterator[str]:
    """A line for each XML file whose root cannot be read: it may hold labels."""
    for name in source.with_suffix(".xml"):
        try:
            root_tag(source, name)
        except UserError as error:
            yield str(error)


def voc_files(source: LabelSource) -> list[str]:
    """The XML files whose root is `<annotation>`."""
    return xml_files(source, "annotation")


def read_foreign_voc(source: LabelSource, files: list[str], finder: PictureFinder) -> ForeignLabels:
    """Read the XML files. A picture beside the XML that has its name is the labelled one, as in `make records`.

    Where there is none, `<filename>` names the picture, else the XML's name does.
    """
    pictures: list[ForeignPicture] = []
    problems: list[str] = []
    for file in files:
        try:
            annotation = parse_voc(Path(file), source.read(file, MAX_BYTES))
            image = _picture(annotation.filename, file, finder)
        except VocError as error:
            problems.append(str(error))
        except PictureNotFoundError as error:
            problems.append(f"{file}: {error}")
        else:
            origin = "" if annotation.source.lower() in _SAYS_NOTHING else one_line(annotation.source)
            pictures.append(
                ForeignPicture(
                    image, file, annotation.boxes, width=annotation.width, height=annotation.height, origin=origin
                )
            )
    return ForeignLabels(tuple(pictures), tuple(problems))


def _picture(filename: str, file: str, finder: PictureFinder) -> str:
    stem = file.rpartition("/")[2].rpartition(".")[0]
    beside = finder.beside(file)
    if beside:
        named = last_part(filename)
        # Which of several it is only <filename> can say; a name beyond them would move the boxes to another picture.
        only = [name for name in beside if len(beside) == 1 or last_part(name) == named]
        return only[0] if only else finder.find(stem, near=file)
    try:
        return finder.find(filename or stem, near=file)
    except PictureNotFoundError:
        try:
            return finder.find(stem, near=file)
        except PictureNotFoundError:
            pass
        raise
