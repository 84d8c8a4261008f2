"""Does a score of 0.8 mean right 8 times in 10? Reliability of the scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.scoring.coco import Matches

BINS = 10
MIN_SCORE = 0.05
"""Detections below it are left out: SSD gives a hundred an image, and the crowd of zeros would drown the rest."""


@dataclass(frozen=True)
class Bin:
    """Detections whose scores lie in [low, high); `score` is their mean, `precision` the share that hit at IoU 0.5."""

    low: float
    high: float
    detections: int
    score: float | None
    precision: float | None


@dataclass(frozen=True)
class Calibration:
    """Reliability of scores.

    Attributes:
        error: Expected calibration error: the mean distance of score and precision over the bins, weighted by
            detections (Naeini et al., 2015; for detections Kueppers et al., 2020). None where nothing was detected.
        min_score: Detections that score less are left out.
        bins: Ten of equal width over 0..1.
    """

    error: float | None
    min_score: float
    bins: tuple[Bin, ...]


def calibration(matches: Sequence[Matches], min_score: float = MIN_SCORE) -> Calibration:
    """Reliability of the scores of all the classes given, together."""
    scores = np.concatenate([one.scores[~one.ignored[0]] for one in matches] or [np.zeros(0)])
    hits = np.concatenate([one.hits[0][~one.ignored[0]] for one in matches] or [np.zeros(0, bool)])
    hits, scores = hits[scores >= min_score], scores[scores >= min_score]
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    bins = []
    for index in range(BINS):
        inside = place == index
        count = int(inside.sum())
        bins.append(
            Bin(
                low=index / BINS,
                high=(index + 1) / BINS,
                detections=count,
                score=float(scores[inside].mean()) if count else None,
                precision=float(hits[inside].mean()) if count else None,
            )
        )
    # The distance of a bin's mean score and precision, times its detections, is that of their sums.
    gaps = [abs(float(scores[place == index].sum() - hits[place == index].sum())) for index in range(BINS)]
    return Calibration(sum(gaps) / len(scores) if len(scores) else None, min_score, tuple(bins))
