"""Choose the cells of YuNet's grids that learn each face: SimOTA, by which YuNet's authors trained it.

A face's cells are those that predict it best already, among those near its centre (Ge et al. 2021, arXiv:2107.08430;
the constants are those of YuNet's training, ShiqiYu/libfacedetection.train, configs/yunet_n.py).
"""

from collections.abc import Sequence

import numpy as np
import supervision as sv

CENTRE_RADIUS = 2.5
"""Cells this near to a face's centre, in sides of a cell, may learn it."""
CANDIDATES = 10
"""A face gets as many cells as the IoUs of its best cells sum up to; this many are summed."""
IOU_WEIGHT = 3.0
"""The weight of the IoU's cost beside that of the score."""
_FAR = 1e5


def grid_cells(height: int, width: int, strides: Sequence[int]) -> np.ndarray:
    """The cells of all grids, one grid after the other, in rows.

    Args:
        height: Of the network's input in pixels, as `width` a multiple of the largest stride.
        width: Of the network's input in pixels.
        strides: The side of a cell in each grid.

    Returns:
        (cells, 3) float32: left and upper edge and side of each cell, in pixels.

    Example:
        >>> grid_cells(8, 16, [8])
        array([[0., 0., 8.],
               [8., 0., 8.]], dtype=float32)
    """
    grids = []
    for stride in strides:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        sides = np.full(rows.size, stride)
        grids.append(np.stack([columns.ravel() * stride, rows.ravel() * stride, sides], axis=1))
    return np.concatenate(grids).astype(np.float32)


def assign_cells(cells: np.ndarray, faces: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Choose the cells that learn each face of one picture.

    Args:
        cells: (c, 3), see `grid_cells`.
        faces: (n, 4) labelled boxes, xyxy in pixels of the input.
        boxes: (c, 4) the boxes that the network predicts now.
        scores: (c,) their scores, 0..1.

    Returns:
        (c,) int, the face of each cell, -1 where the cell has none.
    """
    chosen = np.full(len(cells), -1)
    if not len(faces):
        return chosen
    middles = cells[:, :2] + cells[:, 2:] / 2
    centres = (faces[:, :2] + faces[:, 2:]) / 2
    offsets = np.abs(middles[:, np.newaxis] - centres).max(axis=2)
    near = offsets < CENTRE_RADIUS * cells[:, 2:]
    inside = ((middles[:, np.newaxis] > faces[:, :2]) & (middles[:, np.newaxis] < faces[:, 2:])).all(axis=2)
    [usable] = np.nonzero((near | inside).any(axis=1))
    if not len(usable):
        return chosen
    iou = sv.box_iou_batch(boxes[usable].astype(np.float32), faces.astype(np.float32))
    score_cost = -np.log(np.clip(scores[usable], 1e-7, 1))[:, np.newaxis]
    cost = score_cost - IOU_WEIGHT * np.log(iou + 1e-8) + _FAR * ~(near & inside)[usable]
    best = np.sort(iou, axis=0)[-CANDIDATES:]
    counts = np.maximum(best.sum(axis=0).astype(int), 1)
    taken = np.zeros(cost.shape, bool)
    for face, count in enumerate(counts):
        taken[np.argsort(cost[:, face], kind="stable")[:count], face] = True
    # A cell that several faces want learns the one that it predicts best.
    owners = np.where(taken, cost, np.inf).argmin(axis=1)
    chosen[usable] = np.where(taken.any(axis=1), owners, -1)
    return chosen
