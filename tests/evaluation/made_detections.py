"""Truths and detections made by hand, for the tests of this room."""

import numpy as np
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth

CLASSES = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))


def truth(image_id, *boxes, size=(640, 480), name=None):
    """Boxes are (class id, xmin, ymin, xmax, ymax) or the same with True at the end for a difficult one."""
    return GroundTruth(
        image_id=image_id,
        name=name or f"{image_id}.jpg",
        width=size[0],
        height=size[1],
        boxes=np.array([box[1:5] for box in boxes], float).reshape(-1, 4),
        class_ids=np.array([box[0] for box in boxes], int),
        difficult=np.array([len(box) > 5 and box[5] for box in boxes], bool),
    )


def found(*boxes, label_map=CLASSES):
    """Boxes are (score, class id, xmin, ymin, xmax, ymax)."""
    ids = np.array([box[1] for box in boxes], int)
    return sv.Detections(
        xyxy=np.array([box[2:] for box in boxes], np.float32).reshape(-1, 4),
        confidence=np.array([box[0] for box in boxes], np.float32),
        class_id=ids,
        data={"class_name": np.array(["", *label_map.names])[ids]},
    )


def street(images=60, seed=0, rare=0.1, faces=6):
    """Plausible truths and detections: jittered, missed, doubled, invented, of the wrong class, with sane scores."""
    random = np.random.default_rng(seed)
    truths, detections = [], []
    for image_id in range(1, images + 1):
        boxes, seen = [], []
        for _ in range(random.integers(0, faces + 1)):
            side = float(np.exp(random.uniform(np.log(12), np.log(160))))
            x, y = random.uniform(0, 640 - side), random.uniform(0, 480 - side)
            class_id = int(random.choice([1, 2, 3], p=[0.9 - rare, 0.1, rare]))
            boxes.append((class_id, x, y, x + side, y + side))
            if random.random() < 0.15:
                continue
            label = class_id if random.random() < 0.85 else int(random.integers(1, 4))
            for score in [random.beta(4, 2)] + [random.beta(1, 4)] * (random.random() < 0.2):
                shift = random.normal(0, 0.08 * side, 4)
                seen.append((score, label, *(np.array([x, y, x + side, y + side]) + shift)))
        for _ in range(random.integers(0, 5)):
            x, y, side = random.uniform(0, 500), random.uniform(0, 380), random.uniform(10, 100)
            seen.append((random.beta(1, 6), int(random.integers(1, 4)), x, y, x + side, y + side))
        truths.append(truth(image_id, *boxes))
        detections.append(found(*seen))
    return truths, detections
