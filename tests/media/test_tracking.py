import numpy as np
import pytest
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.media.tracking import HOLD, Tracked, Tracking

NAMES = ("with_mask", "without_mask", "mask_weared_incorrect")


def seen(*faces: tuple[float, int, float]) -> sv.Detections:
    """Detections of 40 pixels at x, of a class, with a score."""
    return sv.Detections(
        xyxy=np.array([(x, 50, x + 40, 90) for x, _, _ in faces], np.float32).reshape(-1, 4),
        confidence=np.array([score for _, _, score in faces], np.float32),
        class_id=np.array([class_id for _, class_id, _ in faces], int),
        data={"class_name": np.array([NAMES[class_id - 1] for _, class_id, _ in faces], dtype=str)},
    )


def tracking(*thresholds: float) -> Tracking:
    return Tracking(LabelMap(NAMES), list(thresholds or (0.5, 0.5, 0.5)))


def names(tracked: Tracked) -> list[str]:
    return [str(name) for name in tracked.found["class_name"]]


def test_a_moving_face_keeps_its_number_and_its_class_while_the_detector_wavers() -> None:
    track = tracking()
    shown, numbers = [], []
    for i in range(60):
        wrong = i > 10 and i % 4 == 0
        tracked = track.update(seen((10 + 3 * i, 3 if wrong else 1, 0.6 if wrong else 0.8)), i / 25)
        shown += names(tracked)
        numbers += map(int, tracked.found.tracker_id)
    assert shown == ["with_mask"] * 60
    assert numbers == [-1] + [1] * 59
    assert track.faces == {"with_mask": 1, "without_mask": 0, "mask_weared_incorrect": 0}


def test_a_face_that_takes_its_mask_off_changes_its_class_once_and_soon() -> None:
    track = tracking()
    shown = [names(track.update(seen((50, 1 if i < 50 else 2, 0.9)), i / 25))[0] for i in range(100)]
    change = shown.index("without_mask")
    assert 50 < change <= 50 + 30
    assert shown == ["with_mask"] * change + ["without_mask"] * (100 - change)


def test_weak_detections_go_on_with_a_face_but_begin_none() -> None:
    track = tracking()
    assert len(track.update(seen((200, 1, 0.3)), 0.0).found) == 0
    track.update(seen((50, 1, 0.9), (200, 1, 0.3)), 0.04)
    weak = track.update(seen((50, 1, 0.3), (200, 1, 0.3)), 0.08)
    assert weak.found.xyxy[:, 0].tolist() == [50] and weak.found.confidence == pytest.approx([0.3])


def test_each_class_has_its_threshold() -> None:
    track = tracking(0.8, 0.2, 0.5)
    found = track.update(seen((50, 1, 0.7), (150, 2, 0.25), (250, 3, 0.45)), 0.0).found
    assert names_of(found) == ["without_mask"]


def names_of(found: sv.Detections) -> list[str]:
    return [str(name) for name in found["class_name"]]


def test_a_face_that_two_classes_claim_is_one_face() -> None:
    track = tracking()
    for i in range(3):
        found = track.update(seen((50, 1, 0.7), (52, 3, 0.6)), i / 25).found
    assert names_of(found) == ["with_mask"]


def test_a_face_missed_for_a_moment_is_held_where_it_is_expected_and_then_gone() -> None:
    track = tracking()
    for i in range(20):
        track.update(seen((10 + 4 * i, 1, 0.9)), i / 25)
    held = track.update(seen(), 20 / 25)
    assert len(held.found) == 0 and held.held.tracker_id.tolist() == [1]
    assert held.held.xyxy[0, 0] == pytest.approx(90, abs=4)
    assert held.all["class_name"].tolist() == ["with_mask"]
    late = [len(track.update(seen(), i / 25).held) for i in range(21, 40)]
    assert late[-1] == 0 and sum(late) == pytest.approx(HOLD * 25, abs=1.5)
    back = track.update(seen((168, 1, 0.9)), 40 / 25)  # as far as it would have moved by then
    assert back.found.tracker_id.tolist() == [1]


def test_after_a_second_it_is_a_new_face_and_nothing_is_kept_of_the_old() -> None:
    track = tracking()
    for i in range(3):
        track.update(seen((50, 2, 0.9)), i / 25)
    for i in range(3, 60):
        track.update(seen(), i / 25)
    assert track._votes == {} and track._scores == {}
    for i in range(60, 63):
        found = track.update(seen((50, 1, 0.9)), i / 25).found
    assert found.tracker_id.tolist() == [2]
    assert track.faces == {"with_mask": 1, "without_mask": 1, "mask_weared_incorrect": 0}


@pytest.mark.parametrize("rate", [2, 60])
def test_any_rate_of_frames_will_do(rate: int) -> None:
    track = tracking()
    numbers = [track.update(seen((50, 1, 0.9)), i / rate).found.tracker_id.tolist() for i in range(6)]
    assert numbers == [[-1], *[[1]] * 5]


def test_frames_without_any_face() -> None:
    track = tracking()
    tracked = track.update(seen(), 0.0)
    assert len(tracked.all) == 0 and tracked.all["class_name"].tolist() == []
