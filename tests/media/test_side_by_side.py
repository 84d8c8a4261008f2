from collections.abc import Sequence

import numpy as np
import pytest
import supervision as sv

from facemask.core.colours import picture_colour
from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth
from facemask.media import side_by_side

LABEL_MAP = LabelMap(("with_mask", "without_mask"))


class Finds:
    """A detector that finds one box of each score."""

    name = "fake"
    label_map = LABEL_MAP

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        boxes = [[100.0 + 200 * i, 100.0, 200.0 + 200 * i, 200.0] for i in range(len(self.scores))]
        return [
            sv.Detections(
                xyxy=np.array(boxes),
                confidence=np.array(self.scores),
                class_id=np.ones(len(boxes), int),
                data={"class_name": np.array(["with_mask"] * len(boxes))},
            )
            for _ in images
        ]


def truth(name: str, boxes: list[list[float]], class_ids: list[int] | None = None) -> GroundTruth:
    count = len(boxes)
    ids = np.full(count, 2) if class_ids is None else np.array(class_ids, int)
    array = np.array(boxes, float).reshape(-1, 4)
    return GroundTruth(1, name, 1200, 900, array, ids, np.zeros(count, bool))


def has_colour_of(class_id: int, picture: np.ndarray) -> bool:
    return bool((picture == list(bytes.fromhex(picture_colour(class_id)[1:]))).all(axis=2).any())


def test_the_first_picture_of_most_classes_is_taken() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    box = [0.0, 0.0, 1.0, 1.0]
    classes = {"a": [], "b": [1, 1, 1], "c": [1, 2], "d": [2, 1]}
    pictures = [(image, truth(name, [box] * len(ids), ids)) for name, ids in classes.items()]
    assert side_by_side.most_varied(pictures)[1].name == "c"


def test_prediction_stands_left_and_truth_right() -> None:
    image = np.full((900, 1200, 3), 128, np.uint8)
    drawn = side_by_side.draw_side_by_side(image, truth("a", [[500, 500, 700, 700]]), Finds(0.9), (0.5, 0.5))
    assert drawn.shape[0] == 900
    left, right = drawn[:, :1200], drawn[:, -1200:]
    assert has_colour_of(1, left) and not has_colour_of(2, left)
    assert has_colour_of(2, right) and not has_colour_of(1, right)


@pytest.mark.parametrize(("threshold", "shown"), [(0.3, True), (0.5, False)])
def test_scores_under_the_threshold_are_not_drawn(threshold: float, shown: bool) -> None:
    image = np.full((900, 1200, 3), 128, np.uint8)
    drawn = side_by_side.draw_side_by_side(image, truth("a", []), Finds(0.4), (threshold, 0.0))
    assert has_colour_of(1, drawn) == shown
