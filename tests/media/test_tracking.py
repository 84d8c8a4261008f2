import numpy as np
import pytest
import supervision as sv

from facemask.core.label_map import LabelMap
from facemask.media.tracking import HOLD, Tracked, Tracking

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


def test_a_track_that_ended_before_a_long_pause_counts_as_what_it_was() -> None:
    track = tracking()
    for i in range(3):
        track.update(seen((50, 2, 0.9)), i / 25)
    track.update(seen(), 1200.0)
    assert track.faces == {"with_mask": 0, "without_mask": 1, "mask_weared_incorrect": 0}


@pytest.mark.parametrize("rate", [2, 60])
def test_any_rate_of_frames_will_do(rate: int) -> None:
    track = tracking()
    numbers = [track.update(seen((50, 1, 0.9)), i / rate).found.tracker_id.tolist() for i in range(6)]
    assert numbers == [[-1], *[[1]] * 5]


def test_frames_without_any_face() -> None:
    track = tracking()
    tracked = track.update(seen(), 0.0)
    assert len(tracked.all) == 0 and tracked.all["class_name"].tolist() == []


def test_between_detections_a_face_moves_on_at_its_speed_and_its_track_stays_as_it_was() -> None:
    every_frame, every_fourth = tracking(), tracking()
    for i in range(60):
        face = seen((10 + 3 * i, 1, 0.9))
        sharp = every_frame.update(face, i / 25)
        moved = every_fourth.update(face, i / 25) if i % 4 == 0 else every_fourth.predict(i / 25)
        assert moved.detected is (i % 4 == 0)
        if i > 16:
            assert moved.all.xyxy[0] == pytest.approx(sharp.all.xyxy[0], abs=1.5)
            assert moved.all.tracker_id.tolist() == [1] and names(moved) == ["with_mask"]
    assert every_fourth.faces == every_frame.faces


def test_between_detections_a_new_face_stays_and_a_missed_one_is_held_no_longer_than_else() -> None:
    track = tracking()
    for i in range(20):
        track.update(seen((50, 1, 0.9)), i / 25)
    assert len(track.update(seen((200, 2, 0.9)), 20 / 25).held) == 1
    times = [20 / 25 + i / 100 for i in range(1, 40)]
    shown = [track.predict(time) for time in times]
    assert all(one.found.xyxy[0, 0] == 200 and one.found.tracker_id.tolist() == [-1] for one in shown)
    assert sum(len(one.held) for one in shown) / 100 == pytest.approx(HOLD - 1 / 25, abs=0.02)
    assert len(track.predict(5.0).found) == 1, "the pace sees to it that no such time passes"


def test_nothing_is_predicted_before_the_first_frame() -> None:
    assert len(tracking().predict(0.0).all) == 0
