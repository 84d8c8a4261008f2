"""Pair the boxes of two detections that are about the same face, or join detections of one picture."""

from collections.abc import Sequence

import numpy as np
import supervision as sv

SAME_BOX = 0.5
"""The IoU from which two boxes of one class, of two tiles or two input sizes, are one."""


def match_boxes(first: sv.Detections, second: sv.Detections, min_iou: float) -> np.ndarray:
    """Pair the boxes of two detections one to one, within each class if they have classes.

    The first's boxes choose in the order of their scores, each the free box that it overlaps most.

    Args:
        first: n boxes with scores.
        second: m boxes.
        min_iou: The least IoU of a pair.

    Returns:
        (n,) int, the place in `second` of each box's partner, -1 where it has none.
    """
    partner = np.full(len(first), -1)
    if not len(first) or not len(second):
        return partner
    iou = sv.box_iou_batch(first.xyxy, second.xyxy)
    if first.class_id is not None:
        iou[np.asarray(first.class_id)[:, np.newaxis] != np.asarray(second.class_id)] = 0
    for place in np.argsort(-np.asarray(first.confidence), kind="stable"):
        other = int(iou[place].argmax())
        if iou[place, other] >= min_iou:
            partner[place] = other
            iou[:, other] = 0
    return partner


def join_boxes(parts: Sequence[sv.Detections]) -> sv.Detections:
    """Join what one detector found in a picture at several places or sizes.

    Args:
        parts: The boxes of each, at least one, all in pixels of the picture, with scores and classes.

    Returns:
        Best first. A box that a better one of its class overlaps by an IoU of `SAME_BOX` is left out.
    """
    full = [part for part in parts if len(part)]
    if not full:
        return parts[0]  # supervision merges empty ones to one without classes
    merged = sv.Detections.merge(full)
    merged.xyxy = merged.xyxy.astype(np.float32)
    merged = merged.with_nms(SAME_BOX)
    return merged[np.argsort(-np.asarray(merged.confidence), kind="stable")]
