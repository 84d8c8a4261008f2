"""How far the figures can be trusted: bootstrap confidence intervals over images.

The images are drawn anew, with replacement, some thousand times; each draw has its own AP, and the middle 95% of them
is the interval (percentile bootstrap; Efron and Tibshirani, 1993). Faces of one image share their light and camera, so
whole images are drawn, not faces. Several detectors are measured on the same draws: what a hard image costs one it
costs the others too, and their difference is known better than either figure (a paired test).

Matching does not depend on the draw. It is done once by pycocotools; a draw only says how often each image counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scripts.scoring.coco import Matches

DRAWS = 1000
LEVEL = 0.95
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
"""COCO reads precision at these recalls (pycocotools, `Params.recThrs`)."""


@dataclass(frozen=True)
class Interval:
    """A figure with its confidence interval; all None where there is no truth to measure."""

    estimate: float | None
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is more than chance."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Sampled:
    """AP on the images as they are and on each draw; NaN where a class has no truth.

    Attributes:
        ap50: (1 + draws, K) AP at IoU 0.5 of each class; the first row is the full sample.
        ap: (1 + draws, K) AP over IoU 0.50 ... 0.95.
    """

    ap50: np.ndarray
    ap: np.ndarray

    @property
    def map50(self) -> np.ndarray:
        """(1 + draws,) mean over the classes that the draw holds."""
        return _mean_over_classes(self.ap50)

    @property
    def map(self) -> np.ndarray:
        """(1 + draws,) the same over IoU 0.50 ... 0.95."""
        return _mean_over_classes(self.ap)


def draw(images: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each image counts: (1 + draws, images) int; the first row is the full sample, once each."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(images, np.full(images, 1 / images), size=draws)
    return np.concatenate([np.ones((1, images), int), counts])


def sample(matches: Sequence[Matches], counts: np.ndarray) -> Sampled:
    """AP of every class on every draw.

    Args:
        matches: One for each class, as `coco.match` gives them.
        counts: (draws, images) how often each image counts.
    """
    ap = np.stack([_average_precision(one, counts) for one in matches], axis=1)  # (draws, K, T)
    return Sampled(ap50=ap[:, :, 0], ap=ap.mean(axis=2))


def interval(values: np.ndarray, level: float = LEVEL) -> Interval:
    """The estimate (first value) and the middle `level` of the draws that could be measured (the rest)."""
    estimate, drawn = values[0], values[1:]
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(estimate) or drawn.size == 0:
        return Interval(None, None, None)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high))


def _average_precision(matches: Matches, counts: np.ndarray) -> np.ndarray:
    """(draws, T) AP of one class. A draw's AP is COCO's AP of the images repeated as often as they count.

    Only hits can raise recall, and precision is highest right at a hit, so COCO's interpolated precision is the
    running maximum, from the right, of the precision at the hits.
    """
    boxes = counts @ matches.truths  # (draws,)
    found = np.full((len(counts), len(matches.ious)), np.nan)
    found[boxes > 0] = 0.0
    for level, (hits, ignored) in enumerate(zip(matches.hits, matches.ignored, strict=True)):
        places = np.flatnonzero(hits)
        if places.size == 0:
            continue
        # Nothing after the last hit matters.
        images, counted = matches.images[: places[-1] + 1], ~ignored[: places[-1] + 1]
        for index, count in enumerate(counts):
            if boxes[index] == 0:
                continue
            weights = count[images]
            hit = np.cumsum(weights[places])
            seen = np.cumsum(weights * counted)[places]
            # np.spacing(1), as pycocotools has it, stands in for 0 / 0 before the first image that counts.
            precision = np.maximum.accumulate((hit / (seen + np.spacing(1)))[::-1])[::-1]
            reached = np.searchsorted(hit / boxes[index], RECALL_POINTS, side="left")
            found[index, level] = precision[reached[reached < len(precision)]].sum() / len(RECALL_POINTS)
    return found


def _mean_over_classes(values: np.ndarray) -> np.ndarray:
    measured = ~np.isnan(values)
    total = np.where(measured, values, 0).sum(axis=1)
    return np.divide(total, measured.sum(axis=1), out=np.full(len(values), np.nan), where=measured.any(axis=1))
