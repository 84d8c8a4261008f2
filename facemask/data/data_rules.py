"""Rules for a labelled data set, with messages. `make check` reports broken rules; `make records` applies the rules."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from facemask.core.errors import UserError

ERROR, WARNING, NOTE = "error", "warning", "note"

TINY_SIDE = 4.0
"""Pixels at the training size: half the stride of the model's finest feature map (level 3, stride 8)."""


@dataclass(frozen=True)
class Rule:
    """A rule about a data set.

    Attributes:
        level: `error`, `warning` or `note`.
        title: The problem, as a heading.
        advice: What the user should do, or what `make records` does.
        stops: Whether `make records` makes no records while the rule is broken.
    """

    level: str
    title: str
    advice: str
    stops: bool = False


RULES = {
    "bad_xml": Rule(ERROR, "XML that is not an annotation", "Correct or remove it.", stops=True),
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
    "several_xmls": Rule(ERROR, "several XML files of one name", "Keep one of them.", stops=True),
    "link_outside": Rule(
        ERROR, "symbolic link out of the folder", "Put the file itself there, or remove the link.", stops=True
    ),
    "unusable_name": Rule(ERROR, "file name that is not UTF-8", "Rename the file.", stops=True),
    "alike_in_split_folders": Rule(
        ERROR,
        "pictures that look alike in several of the folders train/, val/, test/",
        "Training would see pictures of the evaluation: put them into one folder, or keep only one "
        "(LOOK_ALIKES=apart makes the records anyway).",
        stops=True,
    ),
    "alike_in_several_splits": Rule(
        WARNING,
        "pictures that look alike in several splits",
        "Training sees pictures of the evaluation, since LOOK_ALIKES=apart allows it.",
    ),
    "alike": Rule(WARNING, "pictures that look alike", "They are in one split. Copies add nothing: keep one of them."),
    "image_without_xml": Rule(
        WARNING, "image without XML", "Not used. Label it; if it shows nobody, save it without boxes."
    ),
    "unread_format": Rule(WARNING, "image in a format that is not read", "Not used. Convert it to JPEG or PNG."),
    "link_not_followed": Rule(WARNING, "folder that is a symbolic link", "Not used. Copy the folder itself there."),
    "box_clipped": Rule(WARNING, "box past the edge of the image", "Clipped to the image."),
    "box_outside": Rule(WARNING, "box outside the image", "Dropped."),
    "box_empty": Rule(WARNING, "box without area", "Dropped."),
    "box_inverted": Rule(WARNING, "box whose right or lower edge comes before the other", "Dropped."),
    "lost_all_boxes": Rule(
        WARNING,
        "image that lost all its boxes",
        "Not used: according to its XML it shows somebody, so it is not an example without faces.",
    ),
    "box_duplicate": Rule(WARNING, "box that is in the XML twice", "Remove one of the two."),
    "size_differs": Rule(WARNING, "size in the XML that differs from the image's", "The image's own size is used."),
    "labelled_sideways": Rule(
        WARNING,
        "XML with the image's size before its EXIF orientation",
        "If the boxes were drawn on the image as it is stored, they are wrong: check them in labelImg.",
    ),
    "animated": Rule(WARNING, "animated image", "The first frame is used."),
    "deep": Rule(
        WARNING, "image of more than 8 bits a channel", "The upper 8 bits are used: check that it is not too dark."
    ),
    "patched": Rule(
        WARNING, "damaged JPEG that can be decoded", "Stored as decoded. Check it: parts of it may be lost."
    ),
    "box_tiny": Rule(
        NOTE,
        "box that is tiny at the training size",
        f"Under {TINY_SIDE:g} pixels: train at a larger SIZE, or leave it.",
    ),
    "oriented": Rule(NOTE, "image with an EXIF orientation", "Turned upright, as labelImg shows it."),
    "other_filename": Rule(NOTE, "<filename> that names another file", "The name of the XML file is used."),
}


@dataclass(frozen=True)
class Finding:
    """A rule that a file breaks.

    Attributes:
        rule: The rule's name in `RULES`.
        path: The file, relative to the data set.
        detail: Details for the message; may be empty.
        count: The number of boxes that break the rule, if it is about boxes.
    """

    rule: str
    path: str
    detail: str = ""
    count: int = 1

    def __str__(self) -> str:
        rule = RULES[self.rule]
        return f"{printable(self.path)}: {rule.title}{': ' if self.detail else ''}{printable(self.detail)}"


def printable(text: str) -> str:
    """The text as one line for any terminal: control characters and invalid UTF-8 become escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)


def stopping_findings(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that stop `make records`."""
    return [finding for finding in findings if RULES[finding.rule].stops]


def refuse_stopping_findings(root: Path, findings: Iterable[Finding], shown: int = 20) -> None:
    """Raise a UserError that lists the findings that stop `make records`, if there are any."""
    bad = stopping_findings(findings)
    if not bad:
        return
    lines = [f"  {str(finding).rstrip('.')}. {RULES[finding.rule].advice}" for finding in bad[:shown]]
    if len(bad) > shown:
        lines.append(f"  ... and {len(bad) - shown} more; `make check` lists all.")
    raise UserError("\n".join([f"{root}: {len(bad)} problem(s) to correct first:", *lines]))
