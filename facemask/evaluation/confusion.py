"""Pairs of ground truth and detection, and the confusion matrix with a background class.

Detections are paired in order of falling score, as in COCO's matching, but regardless of class. A face that was
detected as another class is then one mistake, not two. supervision's ConfusionMatrix pairs by IoU alone, so that a
detection with a low score and a tighter box takes the face from one with a high score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facemask.data.labelled_picture import GroundTruth
from facemask.detect.score_thresholds import reach_thresholds

if TYPE_CHECKING:
    import supervision as sv

IOU = 0.5
BACKGROUND = "background"


@dataclass(frozen=True)
class Pairing:
    """Which detection found which face of one image.

    Attributes:
        kept: (D,) indices of the detections that reach their class's threshold, highest score first.
        partners: (D,) index of the ground-truth box that each of them found, or -1.
        ious: (D, n) IoU of each of them with each ground-truth box.
    """

    kept: np.ndarray
    partners: np.ndarray
    ious: np.ndarray


def indices_above_thresholds(detections: "sv.Detections", thresholds: Sequence[float]) -> np.ndarray:
    """Indices of the detections that reach the threshold of their class, highest score first."""
    order = np.argsort(-np.asarray(detections.confidence, np.float32), kind="stable")
    return np.asarray(order[reach_thresholds(detections, thresholds)[order]])


def pair_detections(truth: GroundTruth, detections: "sv.Detections", thresholds: Sequence[float]) -> Pairing:
    """Pair one image's detections with its faces at IoU 0.5 and more, regardless of class, highest score first.

    Args:
        truth: The image's ground truth. A detection takes a difficult box only where it fits no other free box; several
            detections may take the same difficult box.
        detections: The image's detections.
        thresholds: The lowest score of each class that counts, in the order of the label map.
    """
    import supervision as sv

    chosen = indices_above_thresholds(detections, thresholds)
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


def confusion_matrix(
    truths: Sequence[GroundTruth], detections: Sequence["sv.Detections"], pairings: Sequence[Pairing], classes: int
) -> np.ndarray:
    """Count pairs. Rows are the ground truth and columns the detected classes; the last row and column are background.

    Returns:
        (classes + 1, classes + 1) int. The last row counts false alarms, the last column missed faces. Difficult
        faces and the detections on them are not counted. The corner is 0.
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
