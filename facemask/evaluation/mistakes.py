"""List a detector's mistakes: missed faces, false alarms, wrong classes and bad boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facemask.data.labelled_picture import GroundTruth
from facemask.evaluation.confusion import IOU, Pairing

if TYPE_CHECKING:
    import supervision as sv

KINDS = ("missed face", "false alarm", "wrong class", "bad box")

MIN_BAD_BOX_IOU = 0.1
"""A detection with an IoU from this to 0.5 is a bad box, with a lower one a false alarm (TIDE, Bolya et al., 2020)."""


@dataclass(frozen=True)
class Mistake:
    """One mistake on one image.

    Attributes:
        kind: One of `KINDS`.
        image_id: The image.
        weight: How bad it is among those of its kind. It is the detection's score; for a missed face, the area of its
            box in pixels; for a bad box, the score times (0.5 - IoU).
        truth_box: xyxy pixels of the face, or None for a false alarm.
        truth_id: Its class id.
        box: xyxy pixels of the detection, or None for a missed face.
        class_id: Its class id.
        score: Its score.
        iou: IoU of the two boxes; for a false alarm, the highest IoU with any face; for a missed face, 0.
    """

    kind: str
    image_id: int
    weight: float
    truth_box: tuple[float, ...] | None
    truth_id: int | None
    box: tuple[float, ...] | None
    class_id: int | None
    score: float | None
    iou: float


def find_mistakes(
    truths: Sequence[GroundTruth], detections: Sequence["sv.Detections"], pairings: Sequence[Pairing]
) -> tuple[Mistake, ...]:
    """All mistakes, by kind, the worst of each first.

    A face that only has a bad box counts once, as a bad box. A second box on a face is a false alarm.
    """
    made: list[Mistake] = []
    for truth, found, pairing in zip(truths, detections, pairings, strict=True):
        missed = ~truth.difficult.astype(bool)
        missed[pairing.partners[pairing.partners >= 0]] = False
        kept, partners = pairing.kept.tolist(), pairing.partners.tolist()
        for detection, partner, ious in zip(kept, partners, pairing.ious, strict=True):
            if partner >= 0:
                if found.class_id[detection] != truth.class_ids[partner] and not truth.difficult[partner]:
                    made.append(_mistake("wrong class", truth, partner, found, detection, ious[partner]))
                continue
            near = np.flatnonzero(missed & (ious >= MIN_BAD_BOX_IOU))
            if near.size:
                meant = int(near[np.argmax(ious[near])])
                missed[meant] = False
                made.append(_mistake("bad box", truth, meant, found, detection, ious[meant]))
            else:
                made.append(_mistake("false alarm", truth, None, found, detection, ious.max(initial=0)))
        made.extend(_mistake("missed face", truth, index, found, None, 0) for index in np.flatnonzero(missed).tolist())
    return tuple(sorted(made, key=lambda mistake: (KINDS.index(mistake.kind), -mistake.weight, mistake.image_id)))


def _mistake(
    kind: str, truth: GroundTruth, face: int | None, found: "sv.Detections", detection: int | None, iou: float
) -> Mistake:
    truth_box = None if face is None else _tuple(truth.boxes[face])
    score = None if detection is None else float(found.confidence[detection])
    if score is None:
        xmin, ymin, xmax, ymax = truth.boxes[face]
        weight = float((xmax - xmin) * (ymax - ymin))
    else:
        weight = score * (IOU - float(iou)) if kind == "bad box" else score
    return Mistake(
        kind=kind,
        image_id=truth.image_id,
        weight=weight,
        truth_box=truth_box,
        truth_id=None if face is None else int(truth.class_ids[face]),
        box=None if detection is None else _tuple(found.xyxy[detection]),
        class_id=None if detection is None else int(found.class_id[detection]),
        score=score,
        iou=float(iou),
    )


def _tuple(box: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in box)
