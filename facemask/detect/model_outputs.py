"""Convert the arrays that models return to supervision's `Detections`."""

from collections.abc import Mapping

import numpy as np
import supervision as sv

from facemask.core.label_map import LabelMap

NAMES = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
"""The outputs of the API's models that `detections_from_outputs` reads."""


def detections_from_outputs(outputs: Mapping[str, np.ndarray], image: np.ndarray, label_map: LabelMap) -> sv.Detections:
    """Make the `Detections` of the first, and only, picture of a batch.

    Args:
        outputs: The model's outputs by name, including `NAMES`, each with the batch as its first axis. The arrays may
            be longer than `num_detections`, the number of detections.
        image: The picture, of shape (height, width, 3).
        label_map: The classes.
    """
    count = int(outputs["num_detections"][0])
    boxes, scores, class_ids = (np.asarray(outputs[name][0])[:count] for name in NAMES[:3])
    return to_detections(boxes, scores, class_ids, image.shape[0], image.shape[1], label_map)


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
