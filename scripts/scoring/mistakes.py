"""The mistakes themselves, worst first: missed faces, false alarms, wrong classes, bad boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scripts.dataset.truth import Truth
from scripts.scoring.confusion import IOU, Pairing

if TYPE_CHECKING:
    import supervision as sv

KINDS = ("missed face", "false alarm", "wrong class", "bad box")

NEAR = 0.1
"""Least IoU of a bad box with the face that it meant; below it, it is a false alarm (TIDE, Bolya et al., 2020)."""


@dataclass(frozen=True)
class Mistake:
    """One mistake on one image.

    Attributes:
        kind: One of `KINDS`.
        image_id: The image.
        weight: How bad it is among its kind: the score of what was detected; of a missed face the box's area in
            pixels, for the large ones are seen by everybody; of a bad box the score times what its IoU lacks.
        truth_box: xyxy pixels of the face, or None for a false alarm.
        truth_id: Its class id.
        box: xyxy pixels of the detection, or None for a missed face.
        class_id: Its class id.
        score: Its score.
        iou: IoU of the two, the best with any face for a false alarm; 0 for a missed face.
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


def mistakes(
    truths: Sequence[Truth], detections: Sequence["sv.Detections"], pairings: Sequence[Pairing]
) -> tuple[Mistake, ...]:
    """All mistakes, by kind, the worst of each first.

    A face that only a bad box found is told once, as the bad box. A second box on a face that another one found is a
    false alarm.
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
            near = np.flatnonzero(missed & (ious >= NEAR))
            if near.size:
                meant = int(near[np.argmax(ious[near])])
                missed[meant] = False
                made.append(_mistake("bad box", truth, meant, found, detection, ious[meant]))
            else:
                made.append(_mistake("false alarm", truth, None, found, detection, ious.max(initial=0)))
        made.extend(_mistake("missed face", truth, index, found, None, 0) for index in np.flatnonzero(missed).tolist())
    return tuple(sorted(made, key=lambda mistake: (KINDS.index(mistake.kind), -mistake.weight, mistake.image_id)))


def _mistake(
    kind: str, truth: Truth, face: int | None, found: "sv.Detections", detection: int | None, iou: float
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
