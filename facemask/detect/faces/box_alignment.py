"""Align a face detector's boxes with the labels: learn the constant difference from labelled pictures, then apply it.

A face detector draws its boxes in the style of the data set that it learned from. YuNet's begin higher and are taller
than those of the public mask data set, which costs it much of its AP at high IoU there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.data import ground_truth
from facemask.detect.faces.face_finder import FaceFinder

MIN_FACES = 20
"""Least number of labelled faces that the detector must find before the difference is learned."""
_SAME_FACE = 0.3


@dataclass(frozen=True)
class BoxAlignment:
    """How a face detector's box is moved and resized.

    Attributes:
        shift_x: Shift of its centre to the right, in widths of the box.
        shift_y: Shift of its centre down, in heights of the box.
        scale_x: Factor for its width.
        scale_y: Factor for its height.
        faces: Number of faces that this was learned from.
    """

    shift_x: float
    shift_y: float
    scale_x: float
    scale_y: float
    faces: int

    def apply(self, xyxy: np.ndarray) -> np.ndarray:
        """Move and resize (n, 4) boxes in pixels.

        Example:
            >>> BoxAlignment(0.0, 0.1, 1.0, 0.9, 50).apply(np.array([[10.0, 10.0, 50.0, 60.0]]))
            array([[10. , 17.5, 50. , 62.5]], dtype=float32)
        """
        centre, side = _centres_and_sides(xyxy)
        centre = centre + side * (self.shift_x, self.shift_y)
        half = side * (self.scale_x, self.scale_y) / 2
        return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)

    def as_json(self) -> dict[str, Any]:
        """As JSON values; `BoxAlignment(**value)` reads them."""
        return asdict(self)


@dataclass(frozen=True)
class AlignedFaces:
    """A `FaceFinder` whose boxes are aligned, then clipped to the picture."""

    finder: FaceFinder
    alignment: BoxAlignment

    @property
    def name(self) -> str:
        """See `FaceFinder.name`."""
        return self.finder.name

    def find(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `FaceFinder.find`."""
        aligned = []
        for image, faces in zip(images, self.finder.find(images), strict=True):
            height, width = image.shape[:2]
            xyxy = np.clip(self.alignment.apply(faces.xyxy), 0, [width, height, width, height]).astype(np.float32)
            faces = sv.Detections(xyxy=xyxy, confidence=faces.confidence)
            aligned.append(faces[((xyxy[:, 2:] - xyxy[:, :2]) > 0).all(axis=1)])
        return aligned


def learn_alignment(pictures: Iterable[tuple[np.ndarray, np.ndarray]]) -> BoxAlignment | None:
    """Learn the alignment from the boxes of several pictures, as the median over the faces that both have.

    Args:
        pictures: For each picture the face detector's boxes (n, 4) and the labelled ones (m, 4), in pixels.

    Returns:
        The alignment, or None where fewer than `MIN_FACES` labelled faces were found.
    """
    rows = [np.zeros((0, 4))]
    for found, labelled in pictures:
        if not len(found) or not len(labelled):
            continue
        iou = sv.box_iou_batch(np.asarray(labelled, np.float32), np.asarray(found, np.float32))
        # A labelled face and a box are a pair if each is the other's best overlap.
        places = [
            (row, column)
            for row, column in enumerate(iou.argmax(axis=1))
            if iou[row, column] >= _SAME_FACE and iou[:, column].argmax() == row
        ]
        if places:
            true, boxes = labelled[[row for row, _ in places]], found[[column for _, column in places]]
            (true_centre, true_side), (centre, side) = _centres_and_sides(true), _centres_and_sides(boxes)
            rows.append(np.concatenate([(true_centre - centre) / side, true_side / side], axis=1))
    measured = np.concatenate(rows)
    if len(measured) < MIN_FACES:
        return None
    shift_x, shift_y, scale_x, scale_y = (round(float(value), 4) for value in np.median(measured, axis=0))
    return BoxAlignment(shift_x, shift_y, scale_x, scale_y, len(measured))


def learn_alignment_from_records(finder: FaceFinder, annotations: Path) -> BoxAlignment | None:
    """Learn a face detector's alignment from the train split of the records. See `learn_alignment`."""
    return learn_alignment(
        (finder.find([image])[0].xyxy, true.boxes[~true.difficult])
        for image, true in ground_truth.read_records(annotations, "train")
    )


def _centres_and_sides(xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centres and the sides of (n, 4) boxes, each (n, 2)."""
    boxes = np.asarray(xyxy, np.float64).reshape(-1, 4)
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
