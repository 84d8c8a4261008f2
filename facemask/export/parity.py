"""Compare the boxes that two formats of one model find."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

SCORE = 0.3
"""Boxes from this score on must be the same in both."""

PIXELS = 1.0
SCORES = 0.01
BEST = 20


@dataclass(frozen=True)
class Parity:
    """The differences between the boxes that two detectors find in the same pictures.

    Attributes:
        images: Number of pictures compared.
        boxes: Number of boxes of the reference that score at least `SCORE`.
        unmatched: Number of boxes of either that score at least `SCORE` and have no partner in the other.
        pixels: Largest difference of an edge between partners.
        scores: Largest difference of scores between partners.
        best_scores: Largest difference between the `BEST` highest scores of a picture, in their order. It also compares
            models without a box that reaches `SCORE`.
    """

    images: int
    boxes: int
    unmatched: int
    pixels: float
    scores: float
    best_scores: float

    @property
    def good(self) -> bool:
        """Whether all boxes match one to one, within `PIXELS` and `SCORES`."""
        return self.unmatched == 0 and self.pixels <= PIXELS and max(self.scores, self.best_scores) <= SCORES

    def __str__(self) -> str:
        """One line of text."""
        return (
            f"{self.boxes} boxes on {self.images} pictures, {self.unmatched} unmatched, at most {self.pixels:.2f} px "
            f"and {max(self.scores, self.best_scores):.4f} apart"
        )


def compare_detections(reference: Sequence[sv.Detections], other: Sequence[sv.Detections]) -> Parity:
    """Compare what two detectors find in the same pictures.

    Partners are matched one to one. Each box, in the order of the scores, gets the nearest free box of its class. A box
    that scores just below `SCORE` in one detector may be the partner of a box just above it in the other.
    """
    boxes = unmatched = 0
    pixels = scores = best_scores = 0.0
    for one, two in zip(reference, other, strict=True):
        boxes += int((one.confidence >= SCORE).sum())
        for a, b in ((one, two), (two, one)):
            alone, apart, off = _match(a[a.confidence >= SCORE], b[b.confidence >= SCORE - SCORES])
            unmatched, pixels, scores = unmatched + alone, max(pixels, apart), max(scores, off)
        best = [np.sort(d.confidence)[::-1][:BEST] for d in (one, two)]
        count = min(map(len, best))
        best_scores = max(best_scores, float(np.abs(best[0][:count] - best[1][:count]).max(initial=0)))
    return Parity(len(reference), boxes, unmatched, pixels, scores, best_scores)


def _match(these: sv.Detections, those: sv.Detections) -> tuple[int, float, float]:
    """Count these boxes without a partner among those. Also returns the largest differences in pixels and scores."""
    free = np.ones(len(those), dtype=bool)
    alone, pixels, scores = 0, 0.0, 0.0
    for box, score, class_id in zip(these.xyxy, these.confidence, these.class_id, strict=True):
        apart = np.abs(those.xyxy - box).max(axis=1, initial=0)
        apart[~free | (those.class_id != class_id)] = np.inf
        # A box that is far away is not the same box.
        if not len(apart) or apart.min() > 10 * PIXELS:
            alone += 1
            continue
        partner = int(apart.argmin())
        free[partner] = False
        pixels = max(pixels, float(apart[partner]))
        scores = max(scores, abs(float(those.confidence[partner] - score)))
    return alone, pixels, scores
