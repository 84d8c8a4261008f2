"""Bootstrap confidence intervals of AP, over images.

The images are resampled with replacement a thousand times. Each resample ("draw") has its own AP, and the middle 95% of
these APs are the interval (percentile bootstrap; Efron and Tibshirani, 1993). The faces of one image share light and
camera, so whole images are drawn, not faces. Several detectors are measured on the same draws (a paired test). A
difficult image costs all of them, so the interval of a difference is narrower than the intervals of the two values.

Matching does not depend on the draw. pycocotools matches once, and a draw only says how often each image counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facemask.evaluation.coco import Matches

DEFAULT_DRAWS = 1000
CONFIDENCE_LEVEL = 0.95
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
"""COCO reads precision at these recalls (pycocotools, `Params.recThrs`)."""


@dataclass(frozen=True)
class ConfidenceInterval:
    """A metric with its confidence interval; all None if there is no ground truth to measure on."""

    estimate: float | None
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference is beyond chance."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class BootstrapSamples:
    """AP on all images and on each draw; NaN where a class has no ground truth.

    Attributes:
        ap50: (1 + draws, K) AP at IoU 0.5 of each class. The first row is of all images, once each.
        ap: (1 + draws, K) AP over IoU 0.50 ... 0.95.
    """

    ap50: np.ndarray
    ap: np.ndarray

    @property
    def map50(self) -> np.ndarray:
        """(1 + draws,) mean over the classes that the draw contains."""
        return _mean_over_classes(self.ap50)

    @property
    def map(self) -> np.ndarray:
        """(1 + draws,) the same over IoU 0.50 ... 0.95."""
        return _mean_over_classes(self.ap)


@dataclass(frozen=True)
class ClassifierSamples:
    """A classifier's metrics on all images and on each draw; NaN where a draw has no face of the class.

    Attributes:
        accuracy: (1 + draws,) share of correctly classified faces.
        f1: (1 + draws, K) F1 of each class.
    """

    accuracy: np.ndarray
    f1: np.ndarray

    @property
    def macro_f1(self) -> np.ndarray:
        """(1 + draws,) mean over the classes that the draw contains."""
        return _mean_over_classes(self.f1)


def draw_images(images: int, draws: int = DEFAULT_DRAWS, seed: int = 0) -> np.ndarray:
    """Draw images with replacement: (1 + draws, images), how often each counts. The first row counts each once."""
    random = np.random.default_rng(seed)
    counts = np.ones((1 + draws, images), np.int16)
    share = np.full(images, 1 / images)
    for row in counts[1:]:  # one at a time: all at once would be 64 bits wide
        row[:] = random.multinomial(images, share)
    return counts


def bootstrap_ap(matches: Sequence[Matches], counts: np.ndarray) -> BootstrapSamples:
    """AP of every class on every draw.

    Args:
        matches: One for each class, from `coco.match_detections`.
        counts: (draws, images) how often each image counts.
    """
    ap = np.stack([_average_precision(one, counts) for one in matches], axis=1)  # (draws, K, T)
    return BootstrapSamples(ap50=ap[:, :, 0], ap=ap.mean(axis=2))


def bootstrap_f1(confusions: np.ndarray, counts: np.ndarray) -> ClassifierSamples:
    """Accuracy and F1 of a classifier on every draw.

    Args:
        confusions: (images, K, K) int, the confusion matrix of each image's faces: rows are the labels,
            columns the predicted classes.
        counts: (draws, images) how often each image counts.
    """
    drawn = np.tensordot(counts, confusions, axes=1)  # (draws, K, K)
    right = np.diagonal(drawn, axis1=1, axis2=2).astype(float)
    labelled, answered = drawn.sum(axis=2), drawn.sum(axis=1)
    total = labelled.sum(axis=1)
    accuracy = np.divide(right.sum(axis=1), total, out=np.full(len(drawn), np.nan), where=total > 0)
    f1 = np.divide(2 * right, labelled + answered, out=np.full(right.shape, np.nan), where=labelled > 0)
    return ClassifierSamples(accuracy, f1)


def percentile_interval(values: np.ndarray, level: float = CONFIDENCE_LEVEL) -> ConfidenceInterval:
    """The interval of a metric: the middle `level` of its values on the draws.

    Args:
        values: (1 + draws,) the estimate, then the value on each draw; NaN where there was nothing to measure.
        level: The share of the draws inside the interval.
    """
    estimate, drawn = values[0], values[1:]
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(estimate) or drawn.size == 0:
        return ConfidenceInterval(None, None, None)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return ConfidenceInterval(float(estimate), float(low), float(high))


def _average_precision(matches: Matches, counts: np.ndarray) -> np.ndarray:
    """Compute the AP of one class on each draw and at each IoU threshold: (draws, T).

    The AP of a draw is COCO's AP with each image repeated as often as it counts. Only hits raise recall, and precision
    has its local maxima at hits. COCO's interpolated precision is therefore the running maximum, from the right, of the
    precision at the hits.
    """
    found = np.full((len(counts), len(matches.ious)), np.nan)
    hits = [np.flatnonzero(level) for level in matches.hits]
    seen_until = max((int(places[-1]) + 1 for places in hits if places.size), default=0)  # nothing later matters
    images = matches.images[:seen_until]
    left_out = [np.flatnonzero(level[:seen_until]) for level in matches.ignored]
    left_out_before = [np.searchsorted(out, places) for out, places in zip(left_out, hits, strict=True)]
    for row, count in zip(found, counts, strict=True):
        boxes = int(count @ matches.truths)
        if boxes == 0:
            continue
        weights = count[images]
        seen_by = np.cumsum(weights)
        for level, (places, out, before) in enumerate(zip(hits, left_out, left_out_before, strict=True)):
            hit = np.cumsum(weights[places])
            seen = seen_by[places] - np.append(0, np.cumsum(weights[out]))[before]
            # np.spacing(1), as pycocotools has it, stands in for 0 / 0 before the first image that counts.
            precision = np.maximum.accumulate((hit / (seen + np.spacing(1)))[::-1])[::-1]
            reached = np.searchsorted(hit / boxes, RECALL_POINTS, side="left")
            row[level] = precision[reached[reached < len(precision)]].sum() / len(RECALL_POINTS)
    return found


def _mean_over_classes(values: np.ndarray) -> np.ndarray:
    measured = ~np.isnan(values)
    total = np.where(measured, values, 0).sum(axis=1)
    mean: np.ndarray = np.divide(
        total, measured.sum(axis=1), out=np.full(len(values), np.nan), where=measured.any(axis=1)
    )
    return mean
