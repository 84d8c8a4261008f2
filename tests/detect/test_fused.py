"""Two detectors with known boxes, joined; and a face detector's boxes brought to the labels' style."""

import numpy as np
import pytest
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.detect import fused
from facemask.detect.faces.box_alignment import MIN_FACES, AlignedFaces, BoxAlignment, learn_alignment
from facemask.detect.fused import FusedDetector

LABELS = LabelMap(("red", "green"))
PICTURE = np.zeros((100, 200, 3), np.uint8)


class Known:
    """A detector of the given (box, score, class) for every picture."""

    label_map = LABELS

    def __init__(self, name: str, *found: tuple[list[float], float, int]) -> None:
        self.name = name
        self.found = sv.Detections(
            np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
            confidence=np.array([score for _, score, _ in found], np.float32),
            class_id=np.array([number for _, _, number in found], int),
        )

    def detect_all(self, images: list[np.ndarray]) -> list[sv.Detections]:
        return [self.found for _ in images]

    def find(self, images: list[np.ndarray]) -> list[sv.Detections]:
        return self.detect_all(images)


def fuse(first: Known, second: Known) -> list[tuple[list[float], float, str]]:
    [found] = FusedDetector(first, second).detect_all([PICTURE])
    scores = [round(float(score), 4) for score in found.confidence]
    return list(zip(found.xyxy.tolist(), scores, found["class_name"].tolist(), strict=True))


A, A_NEAR, B, C = [10, 10, 50, 50], [12, 12, 52, 52], [100, 10, 140, 50], [60, 60, 90, 90]


def test_a_box_of_both_is_the_firsts_with_the_mean_score_and_a_lonely_one_counts_half() -> None:
    first = Known("a", (A, 0.8, 1), (B, 0.6, 1))
    second = Known("b", (A_NEAR, 0.6, 1), (C, 0.9, 2))
    assert fuse(first, second) == [(A, 0.7, "red"), (C, 0.45, "green"), (B, 0.3, "red")]
    assert FusedDetector(first, second).name == "a, fused with b"


def test_the_share_weighs_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "SHARE", 0.75)
    first, second = Known("a", (A, 0.8, 1)), Known("b", (A_NEAR, 0.4, 1), (C, 0.4, 1))
    assert fuse(first, second) == [(A, 0.7, "red"), (C, 0.1, "red")]


def test_other_classes_and_distant_boxes_are_not_joined() -> None:
    assert fuse(Known("a", (A, 0.8, 1)), Known("b", (A, 0.6, 2))) == [(A, 0.4, "red"), (A, 0.3, "green")]
    assert len(fuse(Known("a", (A, 0.8, 1)), Known("b", ([30, 10, 70, 50], 0.6, 1)))) == 2


def test_each_box_has_one_partner_and_the_best_box_chooses_first() -> None:
    first = Known("a", (A_NEAR, 0.2, 1), (A, 0.8, 1))
    assert fuse(first, Known("b", (A, 0.6, 1))) == [(A, 0.7, "red"), (A_NEAR, 0.1, "red")]


def test_one_without_boxes_and_none_at_all() -> None:
    nothing = Known("nothing")
    assert fuse(nothing, Known("b", (A, 0.6, 1))) == [(A, 0.3, "red")]
    assert fuse(Known("a", (A, 0.6, 1)), nothing) == [(A, 0.3, "red")]
    assert fuse(nothing, nothing) == []
    assert FusedDetector(nothing, nothing).detect_all([]) == []


# --- alignment -----------------------------------------------------------------------------------------------------


TRUE = BoxAlignment(0.025, 0.128, 1.04, 0.90, 0)


def faces(count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    corner, side = random.uniform(0, 900, (count, 2)), random.uniform(20, 60, (count, 2))
    return np.concatenate([corner, corner + side], axis=1)


def test_a_constant_difference_is_learned_in_spite_of_noise_strangers_and_misses() -> None:
    random = np.random.default_rng(1)
    pictures = []
    for _ in range(60):
        found = faces(1)
        labelled = TRUE.apply(found) + random.normal(0, 0.3, (1, 4))
        pictures.append((np.concatenate([found, found + 2000]), np.concatenate([labelled, labelled + 5000])))
    pictures += [(np.zeros((0, 4)), faces(2)), (faces(2), np.zeros((0, 4)))]
    learned = learn_alignment(pictures)
    assert learned is not None
    assert learned.faces == 60
    for name, tolerance in (("shift_x", 0.01), ("shift_y", 0.01), ("scale_x", 0.02), ("scale_y", 0.02)):
        assert getattr(learned, name) == pytest.approx(getattr(TRUE, name), abs=tolerance), name
    assert BoxAlignment(**learned.as_json()) == learned


def test_of_few_faces_nothing_is_learned() -> None:
    one = faces(1)
    assert learn_alignment([(one, one)] * (MIN_FACES - 1)) is None
    learned = learn_alignment([(one, one)] * MIN_FACES)
    assert learned == BoxAlignment(0.0, 0.0, 1.0, 1.0, MIN_FACES)


def test_aligned_faces_stay_inside_the_picture_and_keep_their_scores() -> None:
    finder = Known("finder", ([10, 10, 50, 50], 0.9, 1), ([150, 50, 198, 98], 0.8, 1), ([180, 96, 200, 100], 0.7, 1))
    [found] = AlignedFaces(finder, BoxAlignment(0.0, 0.5, 1.0, 1.0, 30)).find([PICTURE])
    np.testing.assert_allclose(found.xyxy, [[10, 30, 50, 70], [150, 74, 198, 100], [180, 98, 200, 100]])
    np.testing.assert_allclose(found.confidence, [0.9, 0.8, 0.7])
    [gone] = AlignedFaces(finder, BoxAlignment(0.0, 5.0, 1.0, 1.0, 30)).find([PICTURE])
    assert len(gone) == 0
