"""Boxes drawn by a model, as Pascal VOC files for a person to correct in labelImg.

A file written here says so in its <source><database>: `prelabel` and a digest of what it holds. As long as both agree
nobody has changed it, and a better model may write it anew. labelImg leaves the mark out when it saves, and whoever
changes the boxes by other means makes the digest wrong: such a file is a person's, and is never touched again.
"""

import glob
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scripts.dataset import voc
from scripts.dataset.voc import Annotation, Box
from scripts.detect.detector import Detector
from scripts.media import images
from scripts.media.images import Picture
from scripts.support.errors import UserError

if TYPE_CHECKING:
    import supervision as sv

MARK = "prelabel"

SAME_FACE = 0.6
"""The IoU from which two boxes are about one face: that of the zoo's configs for boxes of one class."""


@dataclass(frozen=True)
class Summary:
    """What came of it.

    Attributes:
        written: Pictures with boxes, whose XML is to be corrected now.
        boxes: Boxes per class, every class in it.
        nothing: Pictures in which the model found nothing. They have no XML: an empty one would say that a person
            looked and saw no face.
        kept: Pictures whose XML is a person's.
        failed: Files that could not be read or written.
    """

    written: int
    boxes: dict[str, int]
    nothing: int
    kept: int
    failed: tuple[Path, ...]

    def text(self) -> str:
        """The summary for people, a few lines."""
        counts = ", ".join(f"{count} {name}" for name, count in self.boxes.items())
        lines = [f"prelabelled {_pictures(self.written)}: {counts}. Correct them now: make label"]
        if self.nothing:
            lines.append(f"{_pictures(self.nothing)} with nothing found: no XML written, label them by hand")
        if self.kept:
            lines.append(f"{_pictures(self.kept)} labelled by a person: left as they are")
        if self.failed:
            lines.append(f"{_pictures(len(self.failed))} failed and were left out; each is named above")
        return "\n".join(lines)


def is_untouched(annotation: Annotation) -> bool:
    """Whether an annotation is as `on_pictures` wrote it: no person has corrected it yet."""
    return annotation.source == f"{MARK} {_digest(annotation)}"


def on_pictures(detector: Detector, pictures: Sequence[Picture], threshold: float) -> Summary:
    """Write an XML beside each picture that has none, or whose XML is an untouched one from here.

    A file that cannot be read is named on stderr and counted, and the rest goes on.

    Args:
        detector: What draws the boxes.
        pictures: The pictures.
        threshold: The score from which a box is written.
    """
    counts = Counter(dict.fromkeys(detector.label_map.names, 0))
    written = nothing = kept = 0
    failed: list[Path] = []
    shared = _shared(pictures)
    for picture in pictures:
        path = picture.path.with_suffix(".xml")
        try:
            if path in shared:
                raise UserError(f"{picture.path}: another picture has the same XML, {path.name}. Rename one of them.")
            if _belongs_to_a_person(path):
                kept += 1
                continue
            image = images.read(picture.path)
            [detections] = detector.detect([image])
            boxes = _boxes(detections, image.shape[1], image.shape[0], threshold)
            # Asked again: labelImg may be open on the same folder.
            if _belongs_to_a_person(path):
                kept += 1
                continue
            if boxes:
                _write(path, Annotation(path, picture.path.name, image.shape[1], image.shape[0], boxes))
                written += 1
                counts.update(box.label for box in boxes)
            else:
                path.unlink(missing_ok=True)
                nothing += 1
        except OSError as error:
            print(f"{path}: cannot be written ({error.strerror or error}).", file=sys.stderr)
            failed.append(picture.path)
        except UserError as error:
            print(error, file=sys.stderr)
            failed.append(picture.path)
    return Summary(written, dict(counts), nothing, kept, tuple(failed))


def _shared(pictures: Iterable[Picture]) -> set[Path]:
    counts = Counter(picture.path.with_suffix(".xml") for picture in pictures)
    return {path for path, count in counts.items() if count > 1}


def _belongs_to_a_person(path: Path) -> bool:
    others = [file for file in path.parent.glob(f"{glob.escape(path.stem)}.*") if file.suffix.lower() == ".xml"]
    if not others:
        return False
    if others != [path] or path.is_symlink():
        return True
    try:
        return not is_untouched(voc.read(path))
    except UserError:
        # Nothing that was written here.
        return True


def _boxes(detections: "sv.Detections", width: int, height: int, threshold: float) -> tuple[Box, ...]:
    """The detections from the threshold on, in whole pixels of the picture as in labelImg.

    Of boxes of different classes on one face the best one is taken; boxes that are empty drop out.
    """
    best = detections.with_nms(SAME_FACE, class_agnostic=True)
    sides = np.clip(np.rint(np.asarray(best.xyxy, dtype=float)), 0, [width, height, width, height]).tolist()
    scores = np.asarray(best.confidence)
    names = np.asarray(best.data["class_name"])
    return tuple(
        Box(str(name), xmin, ymin, xmax, ymax, truncated=xmin == 0 or ymin == 0 or xmax == width or ymax == height)
        for (xmin, ymin, xmax, ymax), score, name in zip(sides, scores, names, strict=True)
        if score >= threshold and xmin < xmax and ymin < ymax
    )


def _write(path: Path, annotation: Annotation) -> None:
    voc.write(path, replace(annotation, source=f"{MARK} {_digest(annotation)}"))


def _digest(annotation: Annotation) -> str:
    # Reading takes the spaces off.
    content = (annotation.filename.strip(), annotation.width, annotation.height, annotation.boxes)
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _pictures(count: int) -> str:
    return f"{count} picture{'s' * (count != 1)}"
