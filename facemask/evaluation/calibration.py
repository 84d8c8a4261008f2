"""Calibration: whether a score is the probability that the detection is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facemask.evaluation.coco import Matches

BINS = 10
MIN_SCORE = 0.05
"""Detections with lower scores are left out: an SSD reports a hundred per image, most with scores near 0."""


@dataclass(frozen=True)
class Bin:
    """The detections with scores in [low, high).

    Attributes:
        low: Lower end of the bin.
        high: Upper end of the bin.
        detections: Number of detections in it.
        score: Their mean score; None without detections.
        precision: The share of them that is right at IoU 0.5; None without detections.
    """

    low: float
    high: float
    detections: int
    score: float | None
    precision: float | None


@dataclass(frozen=True)
class Calibration:
    """How well scores and precision agree.

    Attributes:
        error: Expected calibration error: the mean distance of score and precision over the bins, weighted by
            detections (Naeini et al., 2015; for detections Kueppers et al., 2020). None if nothing was detected.
        min_score: Detections with lower scores are left out.
        bins: Ten bins of equal width over 0..1.
    """

    error: float | None
    min_score: float
    bins: tuple[Bin, ...]


def measure_calibration(matches: Sequence[Matches], min_score: float = MIN_SCORE) -> Calibration:
    """Measure the calibration over the detections of all given classes."""
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
