"""YuNet's loss: how far the outputs for a batch of views are from their faces."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from facemask.face_training.face_assignment import assign_cells
from facemask.face_training.face_views import View

BOX_WEIGHT = 5.0
"""The weight of the boxes' loss: that of YuNet's training (ShiqiYu/libfacedetection.train, configs/yunet_n.py)."""


def decode_boxes(cells: Any, outputs: Any) -> Any:
    """The boxes that the cells predict, as `facemask.detect.faces.yunet.decode_grid` decodes them.

    Args:
        cells: (c, 3) tensor, see `face_assignment.grid_cells`.
        outputs: (..., c, 4) tensor, in sides of a cell: the centre relative to the cell, and the logarithms of the
            sides.

    Returns:
        (..., c, 4) xyxy in pixels.
    """
    import tensorflow as tf

    sides = cells[:, 2:]
    centres = cells[:, :2] + outputs[..., :2] * sides
    halves = tf.exp(tf.minimum(outputs[..., 2:], 8.0)) * sides / 2
    return tf.concat([centres - halves, centres + halves], axis=-1)


def face_loss(logits: Mapping[str, Any], cells: np.ndarray, targets: Sequence[Any]) -> Any:
    """The loss of a batch.

    Args:
        logits: The outputs of all grids joined: `cls` and `obj` (batch, c), `bbox` (batch, c, 4).
        cells: (c, 3), see `face_assignment.grid_cells`.
        targets: `assigned` (batch, c, 4) boxes, `learns` (batch, c) 1 where a cell has a face, `counts` (batch, c) 0
            where a cell lies on an ignored face; see `choose_targets`.

    Returns:
        A scalar: for each cell with a face YuNet's losses of score and box, and for every cell that of `obj`, divided
        by the number of cells with a face.
    """
    import tensorflow as tf

    assigned, learns, counts = targets
    predicted = decode_boxes(tf.constant(cells), logits["bbox"])
    iou, distance = _overlap_and_distance(predicted, assigned)
    number = tf.maximum(tf.reduce_sum(learns), 1.0)
    score = tf.nn.sigmoid_cross_entropy_with_logits(tf.stop_gradient(iou), logits["cls"]) * learns
    present = tf.nn.sigmoid_cross_entropy_with_logits(learns, logits["obj"]) * counts
    box = BOX_WEIGHT * (1 - iou + distance) * learns
    return tf.reduce_sum(score + present + box) / number


def choose_targets(
    cells: np.ndarray, boxes: np.ndarray, scores: np.ndarray, views: Sequence[View]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose what each cell learns, from what the network predicts now.

    Args:
        cells: (c, 3), see `face_assignment.grid_cells`.
        boxes: (batch, c, 4) predicted boxes in pixels.
        scores: (batch, c) predicted scores.
        views: The batch.

    Returns:
        The last three arguments of `face_loss`, float32.
    """
    assigned = boxes.astype(np.float32).copy()
    learns = np.zeros(scores.shape, np.float32)
    counts = np.ones(scores.shape, np.float32)
    middles = cells[:, :2] + cells[:, 2:] / 2
    for number, view in enumerate(views):
        owners = assign_cells(cells, view.faces, boxes[number], scores[number])
        learning = owners >= 0
        assigned[number, learning] = view.faces[owners[learning]]
        learns[number] = learning
        for box in view.ignored:
            on_it = ((middles > box[:2]) & (middles < box[2:])).all(axis=1)
            counts[number, on_it & ~learning] = 0
    return assigned, learns, counts


def _overlap_and_distance(one: Any, other: Any) -> tuple[Any, Any]:
    """The IoU of boxes and the penalties that EIoU subtracts from it (Zhang et al. 2021, arXiv:2101.08158)."""
    import tensorflow as tf

    sides_one, sides_other = one[..., 2:] - one[..., :2], other[..., 2:] - other[..., :2]
    common = tf.maximum(tf.minimum(one[..., 2:], other[..., 2:]) - tf.maximum(one[..., :2], other[..., :2]), 0.0)
    intersection = common[..., 0] * common[..., 1]
    union = tf.reduce_prod(sides_one, axis=-1) + tf.reduce_prod(sides_other, axis=-1) - intersection
    hull = tf.maximum(one[..., 2:], other[..., 2:]) - tf.minimum(one[..., :2], other[..., :2])
    squares = hull**2 + 1e-6
    offset = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    centre = tf.reduce_sum(offset**2, axis=-1) / tf.reduce_sum(squares, axis=-1)
    shape = tf.reduce_sum((sides_one - sides_other) ** 2 / squares, axis=-1)
    return intersection / (union + 1e-6), centre + shape
