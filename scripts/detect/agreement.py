"""Do two detectors find the same? For forms of one model that should."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv

SCORE = 0.3
"""Boxes from this score on have to be the same in both."""

PIXELS = 1.0
SCORES = 0.01
BEST = 20


@dataclass(frozen=True)
class Agreement:
    """How far two detectors' answers for the same pictures are apart.

    Attributes:
        images: Pictures compared.
        boxes: Boxes of the reference that score at least `SCORE`.
        unmatched: Boxes of either that score at least `SCORE` and have none of their class in the other.
        pixels: Largest distance of a side between boxes that belong together.
        scores: Largest difference of their scores.
        best_scores: Largest difference of the `BEST` highest scores of a picture, box by box, whatever they are: it
            means something too where no box reaches `SCORE`.
    """

    images: int
    boxes: int
    unmatched: int
    pixels: float
    scores: float
    best_scores: float

    @property
    def good(self) -> bool:
        """One to one, within a pixel and a hundredth of score."""
        return self.unmatched == 0 and self.pixels <= PIXELS and max(self.scores, self.best_scores) <= SCORES

    def __str__(self) -> str:
        """For people."""
        return (
            f"{self.boxes} boxes on {self.images} pictures, {self.unmatched} unmatched, at most {self.pixels:.2f} px "
            f"and {max(self.scores, self.best_scores):.4f} apart"
        )


def compare(reference: Sequence[sv.Detections], other: Sequence[sv.Detections]) -> Agreement:
    """Compare two detectors' answers for the same pictures.

    Boxes belong together one to one: of the same class, and the nearest of those that are left, the best first. A box
    that scores just below `SCORE` in one of them counts as the partner of one just above it in the other.
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
    return Agreement(len(reference), boxes, unmatched, pixels, scores, best_scores)


def _match(these: sv.Detections, those: sv.Detections) -> tuple[int, float, float]:
    """How many of these have no partner among those; how far in pixels and in score the others are from theirs."""
    free = np.ones(len(those), dtype=bool)
    alone, pixels, scores = 0, 0.0, 0.0
    for box, score, class_id in zip(these.xyxy, these.confidence, these.class_id, strict=True):
        apart = np.abs(those.xyxy - box).max(axis=1, initial=0)
        apart[~free | (those.class_id != class_id)] = np.inf
        # A box that is far off is another one.
        if not len(apart) or apart.min() > 10 * PIXELS:
            alone += 1
            continue
        partner = int(apart.argmin())
        free[partner] = False
        pixels = max(pixels, float(apart[partner]))
        scores = max(scores, abs(float(those.confidence[partner] - score)))
    return alone, pixels, scores
