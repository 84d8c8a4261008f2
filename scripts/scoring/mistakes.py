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
        open_truth = ~truth.difficult.astype(bool)
        open_truth[pairing.partners[pairing.partners >= 0]] = False
        for detection, partner, ious in zip(pairing.kept, pairing.partners, pairing.ious, strict=True):
            score = float(found.confidence[detection])
            class_id = int(found.class_id[detection])
            seen = {
                "image_id": truth.image_id,
                "box": _tuple(found.xyxy[detection]),
                "class_id": class_id,
                "score": score,
            }
            if partner >= 0:
                if class_id != truth.class_ids[partner] and not truth.difficult[partner]:
                    made.append(
                        Mistake(kind="wrong class", weight=score, **_face(truth, partner), iou=ious[partner], **seen)
                    )
                continue
            near = np.flatnonzero(open_truth & (ious >= NEAR))
            if near.size:
                meant = int(near[np.argmax(ious[near])])
                open_truth[meant] = False
                weight = score * (IOU - ious[meant])
                made.append(Mistake(kind="bad box", weight=weight, **_face(truth, meant), iou=ious[meant], **seen))
            else:
                best = float(ious.max(initial=0))
                made.append(Mistake(kind="false alarm", weight=score, truth_box=None, truth_id=None, iou=best, **seen))
        for index in np.flatnonzero(open_truth):
            xmin, ymin, xmax, ymax = truth.boxes[index]
            made.append(
                Mistake(
                    kind="missed face",
                    image_id=truth.image_id,
                    weight=float((xmax - xmin) * (ymax - ymin)),
                    **_face(truth, index),
                    box=None,
                    class_id=None,
                    score=None,
                    iou=0.0,
                )
            )
    return tuple(sorted(made, key=lambda mistake: (KINDS.index(mistake.kind), -mistake.weight, mistake.image_id)))


def _face(truth: Truth, index: int) -> dict:
    return {"truth_box": _tuple(truth.boxes[index]), "truth_id": int(truth.class_ids[index])}


def _tuple(box: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in box)
