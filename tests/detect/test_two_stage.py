"""Two stages with faces and classes that are known beforehand: the class of a face is its colour."""

import numpy as np
import pytest
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.detect.two_stage import MIN_SCORE, WEIGHT, RescoredDetector, TwoStageDetector

LABELS = LabelMap(("red", "green", "blue"))
RED, GREEN, BLUE = [0, 0, 20, 20], [40, 0, 60, 20], [70, 40, 90, 60]


class Faces:
    name = "known places"

    def __init__(self, *found: tuple[list[list[int]], list[float]]) -> None:
        self.found = found

    def find(self, images: list[np.ndarray]) -> list[sv.Detections]:
        return [
            sv.Detections(np.array(xyxy, np.float32).reshape(-1, 4), confidence=np.array(scores, np.float32))
            for xyxy, scores in self.found
        ]


class Colours:
    """Half of what it believes in is the colour in the middle of the crop, the rest is shared by the others."""

    name, label_map, size, margin = "colours", LABELS, 8, 0.25

    def __init__(self) -> None:
        self.calls: list[list[np.ndarray]] = []

    def classify(self, crops: list[np.ndarray]) -> np.ndarray:
        self.calls.append(list(crops))
        result = np.full((len(crops), 3), 0.1, np.float32)
        for row, crop in zip(result, crops, strict=True):
            row[crop[crop.shape[0] // 2, crop.shape[1] // 2].argmax()] = 0.8
        return result


@pytest.fixture
def picture() -> np.ndarray:
    image = np.zeros((80, 100, 3), np.uint8)
    for channel, (xmin, ymin, xmax, ymax) in enumerate((RED, GREEN, BLUE)):
        image[ymin:ymax, xmin:xmax, channel] = 255
    return image


def test_a_face_scores_its_score_times_the_probability_of_each_class(picture: np.ndarray) -> None:
    colours = Colours()
    detector = TwoStageDetector(Faces(([BLUE, RED], [0.5, 1.0])), colours)
    [found] = detector.detect_all([picture])
    np.testing.assert_allclose(found.confidence, [0.8, 0.4, 0.1, 0.1, 0.05, 0.05], rtol=1e-6)
    assert found.class_id.tolist()[:2] == [1, 3]
    assert found["class_name"].tolist()[:2] == ["red", "blue"]
    assert found.xyxy[:2].tolist() == [RED, BLUE]
    assert sorted(found.class_id[(found.xyxy == BLUE).all(axis=1)]) == [1, 2, 3]
    [[blue, red]] = colours.calls
    assert blue.shape == red.shape == (8, 8, 3)
    assert blue.mean() == pytest.approx(255 / 3 * (20 / 30) ** 2, rel=0.05)  # cut with the classifier's margin
    assert (detector.name, detector.label_map) == ("known places + colours", LABELS)


def test_the_faces_of_all_pictures_are_classified_together_and_go_back_to_theirs(picture: np.ndarray) -> None:
    colours = Colours()
    faces = Faces(([GREEN], [0.9]), ([], []), ([RED, GREEN, BLUE], [0.9, 0.8, 0.7]))
    found = TwoStageDetector(faces, colours).detect_all([picture, picture, picture])
    assert [len(calls) for calls in colours.calls] == [4]
    assert [len(one) for one in found] == [3, 0, 9]
    assert [one["class_name"][0] if len(one) else None for one in found] == ["green", None, "red"]
    assert found[2]["class_name"][:3].tolist() == ["red", "green", "blue"]
    assert found[1].xyxy.shape == (0, 4)
    assert len(found[1]["class_name"]) == 0
    kept = found[2][np.asarray(found[2].confidence) >= 0.5]
    assert len({tuple(box) for box in kept.xyxy.tolist()}) == len(kept)  # from 0.5 on each face has one box at most


def test_pictures_without_faces_and_no_pictures() -> None:
    nothing = np.zeros((10, 10, 3), np.uint8)
    [found] = TwoStageDetector(Faces(([], [])), Colours()).detect_all([nothing])
    assert len(found) == 0
    assert TwoStageDetector(Faces(), Colours()).detect_all([]) == []


class Known:
    name, label_map = "known", LABELS

    def __init__(self, rows: list[tuple[list[int], float, int]]) -> None:
        self.rows = rows

    def detect_all(self, images: list[np.ndarray]) -> list[sv.Detections]:
        boxes, scores, ids = zip(*self.rows, strict=True) if self.rows else ([], [], [])
        return [
            sv.Detections(
                np.array(boxes, np.float32).reshape(-1, 4),
                confidence=np.array(scores, np.float32),
                class_id=np.array(ids, int),
                data={"class_name": np.array([LABELS.name_of(i) for i in ids], dtype=str)},
            )
            for _ in images
        ]


def test_boxes_keep_their_class_and_are_scored_again(picture: np.ndarray) -> None:
    # The red face is taken for a green one first; the last box is not worth a look.
    rows = [(RED, 0.6, 2), (RED, 0.5, 1), (GREEN, 0.4, 2), (BLUE, MIN_SCORE / 2, 3)]
    colours = Colours()
    detector = RescoredDetector(Known(rows), colours)
    found, again = detector.detect_all([picture, picture])
    expected = [
        score ** (1 - WEIGHT) * probability**WEIGHT for score, probability in ((0.5, 0.8), (0.4, 0.8), (0.6, 0.1))
    ]
    assert [len(calls) for calls in colours.calls] == [4]  # a box that two classes share is cut once a picture
    assert found["class_name"].tolist() == ["red", "green", "green"]
    np.testing.assert_allclose(found.confidence, expected, rtol=1e-5)
    assert found.xyxy.tolist() == [RED, GREEN, RED]
    np.testing.assert_array_equal(again.confidence, found.confidence)
    assert "known" in detector.name
    assert "colours" in detector.name


def test_no_boxes_stay_none(picture: np.ndarray) -> None:
    assert [len(one) for one in RescoredDetector(Known([]), Colours()).detect_all([picture])] == [0]
    assert RescoredDetector(Known([]), Colours()).detect_all([]) == []
