"""Boxes drawn by a model, as Pascal VOC files for a person to correct in labelImg.

A better model may replace a file that was written here, until a person changes it: see `marked_voc`.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facemask.core.errors import UserError
from facemask.data.images import read_image
from facemask.data.marked_voc import belongs_to_a_person, write_marked_voc
from facemask.data.voc import Annotation, Box
from facemask.detect.detector import Detector
from facemask.detect.score_thresholds import above_thresholds
from facemask.media.picture_files import Picture

if TYPE_CHECKING:
    import supervision as sv

MARK = "prelabel"
"""The mark of `make prelabel` in the files, and of `make next`."""


@dataclass(frozen=True)
class PrelabelSummary:
    """The result of prelabelling.

    Attributes:
        written: The number of pictures with boxes, whose XML a person must check now.
        boxes: The number of boxes by class, every class included.
        nothing: The number of pictures in which the model found nothing. They get no XML: an empty one would mean that
            a person saw no face.
        kept: The number of pictures whose XML belongs to a person.
        failed: Files that could not be read or written.
    """

    written: int
    boxes: dict[str, int]
    nothing: int
    kept: int
    failed: tuple[Path, ...]

    def text(self, images: Path) -> str:
        """The summary for people, a few lines. `images` is the folder that was prelabelled."""
        counts = ", ".join(f"{count} {name}" for name, count in self.boxes.items())
        lines = []
        if self.written:
            correct = f"Correct them now: make label IMAGES={images}"
            lines.append(f"prelabelled {_pictures(self.written)}: {counts}. {correct}")
        if self.nothing:
            lines.append(f"{_pictures(self.nothing)} with nothing found: no XML written, label them by hand")
        if self.kept:
            lines.append(f"{_pictures(self.kept)} labelled by a person: left as they are")
        if self.failed:
            lines.append(f"{_pictures(len(self.failed))} failed and were left out; each is named above")
        return "\n".join(lines)


def prelabel_pictures(detector: Detector, pictures: Sequence[Picture], thresholds: Sequence[float]) -> PrelabelSummary:
    """Write an XML beside each picture that has none, or whose XML is untouched (see `marked_voc`).

    A file that cannot be read is named on stderr and counted, and the other pictures are processed.

    Args:
        detector: The detector.
        pictures: The pictures.
        thresholds: The least score of a box of each class, in the order of the ids.
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
            if belongs_to_a_person(path, MARK):
                kept += 1
                continue
            image = read_image(picture.path)
            [detections] = detector.detect([image])
            boxes = boxes_in_pixels(above_thresholds(detections, thresholds), image.shape[1], image.shape[0])
            # Checked again, because labelImg may be open on the same folder.
            if belongs_to_a_person(path, MARK):
                kept += 1
                continue
            if boxes:
                made = Annotation(path, picture.path.name, image.shape[1], image.shape[0], boxes)
                write_marked_voc(path, made, MARK)
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
    return PrelabelSummary(written, dict(counts), nothing, kept, tuple(failed))


def _shared(pictures: Iterable[Picture]) -> set[Path]:
    counts = Counter(picture.path.with_suffix(".xml") for picture in pictures)
    return {path for path, count in counts.items() if count > 1}


def boxes_in_pixels(detections: "sv.Detections", width: int, height: int) -> tuple[Box, ...]:
    """The detections of one picture in whole pixels of it, as labelImg writes them. Empty boxes are left out."""
    sides = np.clip(np.rint(np.asarray(detections.xyxy, dtype=float)), 0, [width, height, width, height]).tolist()
    return tuple(
        Box(str(name), xmin, ymin, xmax, ymax, truncated=xmin == 0 or ymin == 0 or xmax == width or ymax == height)
        for (xmin, ymin, xmax, ymax), name in zip(sides, detections.data["class_name"], strict=True)
        if xmin < xmax and ymin < ymax
    )


def _pictures(count: int) -> str:
    return f"{count} picture{'s' * (count != 1)}"
