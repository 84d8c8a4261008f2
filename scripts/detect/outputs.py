"""From the arrays that models give to supervision's `Detections`."""

import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap


def to_detections(
    boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, height: int, width: int, label_map: LabelMap
) -> sv.Detections:
    """Make the `Detections` of one picture from one row a box, as the API's models give them.

    Args:
        boxes: (n, 4) normalised ymin, xmin, ymax, xmax.
        scores: (n,) in 0..1.
        class_ids: (n,) as in the label map, integers of any type.
        height: The picture's height in pixels.
        width: Its width.
        label_map: The classes.

    Returns:
        Best first, boxes as xyxy float32 pixels.
    """
    order = np.argsort(-scores, kind="stable")
    ids = class_ids[order].astype(int)
    scale = np.array([width, height, width, height], dtype=np.float32)
    return sv.Detections(
        xyxy=boxes[order][:, [1, 0, 3, 2]].astype(np.float32).reshape(-1, 4) * scale,
        confidence=scores[order].astype(np.float32),
        class_id=ids,
        data={"class_name": np.array([label_map.name_of(i) for i in ids], dtype=str)},
    )
