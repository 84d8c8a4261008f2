"""Measure how well the model's anchors cover the boxes of a data set.

If no anchor overlaps a box at IoU 0.5, the box is learned from its best anchor only: the API's matcher forces that
one match. A data set should have few such boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

MATCHED_IOU = 0.5
"""`matched_threshold` of the argmax matcher in the zoo's configs of SSD with FPN."""

SCALES = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""The anchor scales that `make check` compares; the zoo's configs use 4."""


@dataclass(frozen=True)
class Anchors:
    """The API's `multiscale_anchor_generator` on a square input; the defaults are those of SSD ResNet50 V1 FPN.

    Attributes:
        size: The input's side in pixels.
        scale: Side of the smallest square anchor, in strides of its level (8 pixels at level 3).
        min_level: The finest feature map's level; its stride is 2**level pixels.
        max_level: The coarsest feature map's level.
        aspect_ratios: Width divided by height.
        scales_per_octave: Number of anchor sizes from one level to the next.
    """

    size: int = 640
    scale: float = 4.0
    min_level: int = 3
    max_level: int = 7
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    scales_per_octave: int = 2


def best_iou(boxes: np.ndarray, anchors: Anchors) -> np.ndarray:
    """The IoU of each box with the anchor that overlaps it most.

    Anchors of one shape differ only in their place on a grid, and the overlap falls with the distance along each axis.
    So the nearest anchor on the grid is the best of its shape.

    Args:
        boxes: (n, 4), xyxy normalised to 0..1, n from 0 up.
        anchors: The anchors.

    Returns:
        (n,) float64 in 0..1.
    """
    low, high = boxes[:, :2] * anchors.size, boxes[:, 2:] * anchors.size
    centres, area = (low + high) / 2, np.prod(high - low, axis=1)
    best = np.zeros(len(boxes))
    for level in range(anchors.min_level, anchors.max_level + 1):
        stride = 2**level
        cells = -(-anchors.size // stride)
        # The grid starts at half a stride only if the stride divides the input:
        # object_detection/anchor_generators/multiscale_grid_anchor_generator.py.
        offset = stride / 2 if anchors.size % stride == 0 else 0.0
        nearest = np.clip(np.round((centres - offset) / stride), 0, cells - 1) * stride + offset
        for octave in range(anchors.scales_per_octave):
            side = stride * anchors.scale * 2 ** (octave / anchors.scales_per_octave)
            for ratio in anchors.aspect_ratios:
                half = np.array([side * ratio**0.5, side / ratio**0.5]) / 2
                shared = np.minimum(high, nearest + half) - np.maximum(low, nearest - half)
                overlap = np.prod(np.clip(shared, 0, None), axis=1)
                best = np.maximum(best, overlap / (area + 4 * half.prod() - overlap))
    return best


def anchor_coverage(boxes: np.ndarray, anchors: Anchors) -> float:
    """The share of the boxes, 0..1, that some anchor overlaps at `MATCHED_IOU` or more; 1 without boxes."""
    return float(np.mean(best_iou(boxes, anchors) >= MATCHED_IOU)) if len(boxes) else 1.0


def coverage_by_scale(boxes: np.ndarray, anchors: Anchors, scales: Sequence[float] = SCALES) -> dict[float, float]:
    """`anchor_coverage` by anchor scale, ascending: for each of `scales`, and for the anchors' own scale."""
    return {scale: anchor_coverage(boxes, replace(anchors, scale=scale)) for scale in sorted({*scales, anchors.scale})}
