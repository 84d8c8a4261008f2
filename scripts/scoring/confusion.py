"""Which face was taken for what: pairs of truth and detection, and the confusion matrix with its background.

supervision's ConfusionMatrix pairs by IoU alone, so a low score with a snug box takes a face from a high one. Here the
highest score chooses first, as in COCO's matching, but whatever the class: a wrong class is then seen as what it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scripts.dataset.truth import Truth

if TYPE_CHECKING:
    import supervision as sv

IOU = 0.5
BACKGROUND = "background"


@dataclass(frozen=True)
class Pairing:
    """How one image's detections and truth belong together.

    Attributes:
        kept: (D,) indices of the detections that reach their class's threshold, highest score first.
        partners: (D,) index of the truth box that each of them found, -1 for none.
        ious: (D, n) IoU of each of them with each truth box.
    """

    kept: np.ndarray
    partners: np.ndarray
    ious: np.ndarray


def kept(detections: "sv.Detections", thresholds: Sequence[float]) -> np.ndarray:
    """Indices of the detections that reach the threshold of their class, highest score first."""
    if len(detections) == 0:
        return np.zeros(0, int)
    # float32 on both sides: 0.3 as it is typed and 0.3 as a model gives it are the same score.
    scores = np.asarray(detections.confidence, np.float32)
    least = np.array([np.inf, *thresholds], np.float32)[detections.class_id]
    order = np.argsort(-scores, kind="stable")
    return order[scores[order] >= least[order]]


def pair(truth: Truth, detections: "sv.Detections", thresholds: Sequence[float]) -> Pairing:
    """Pair one image's detections with its truth: IoU 0.5 and more, irrespective of class, highest score first.

    Args:
        truth: The image's truth; a difficult box is taken only by a detection that fits no other free one, and by any
            number of them.
        detections: The image's detections.
        thresholds: The least score of each class, in the order of the label map.
    """
    import supervision as sv

    chosen = kept(detections, thresholds)
    ious = np.zeros((len(chosen), len(truth.boxes)))
    if ious.size:
        ious = sv.box_iou_batch(truth.boxes.astype(float), detections.xyxy[chosen].astype(float)).T
    partners = np.full(len(chosen), -1)
    free = np.ones(len(truth.boxes), bool)
    for index, row in enumerate(ious):
        for candidates in (free & ~truth.difficult, truth.difficult):
            fits = np.flatnonzero(candidates & (row >= IOU))
            if fits.size:
                partners[index] = fits[np.argmax(row[fits])]
                free[partners[index]] = False
                break
    return Pairing(chosen, partners, ious)


def matrix(
    truths: Sequence[Truth], detections: Sequence["sv.Detections"], pairings: Sequence[Pairing], classes: int
) -> np.ndarray:
    """Count pairs: rows are the truth, columns what was detected, the last of each is the background.

    Returns:
        (classes + 1, classes + 1) int. The background's row holds false alarms, its column missed faces; difficult
        truth and what lies on it are not counted. The corner, nothing taken for nothing, is 0.
    """
    counts = np.zeros((classes + 1, classes + 1), int)
    for truth, found, pairing in zip(truths, detections, pairings, strict=True):
        missed = ~truth.difficult.astype(bool)
        for detection, partner in zip(pairing.kept, pairing.partners, strict=True):
            column = int(found.class_id[detection]) - 1
            if partner < 0:
                counts[-1, column] += 1
            elif not truth.difficult[partner]:
                counts[int(truth.class_ids[partner]) - 1, column] += 1
                missed[partner] = False
        np.add.at(counts, (truth.class_ids[missed].astype(int) - 1, -1), 1)
    return counts
