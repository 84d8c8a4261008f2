"""Which cameras' frames are detected in slices."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
from painted_footage import PaintedFaces

from facemask.watch.slice_choice import SlicedCameras
from facemask.watch.watch_config import Camera, Text

FRAME = np.zeros((1080, 1920, 3), np.uint8)


class Timed(PaintedFaces):
    """Finds nothing, and each call takes some seconds of its own clock."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.now, self.calls = seconds, 0.0, 0

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        self.calls += 1
        self.now += self.seconds if self.calls > 1 else 9.0  # the first call is slow
        return [sv.Detections.empty() for _ in images]


def calls_of_ten_frames(
    seconds: float, *cameras: Camera, frame: np.ndarray = FRAME, at_once: int = 1
) -> tuple[int, int, list[str]]:
    """The calls of the whole and of the sliced detector, and what was printed, after ten frames of the first camera."""
    whole, sliced, said = Timed(0.02), Timed(seconds), list[str]()
    detection = SlicedCameras(
        whole, sliced, cameras, said.append, clock=lambda: whole.now + sliced.now, at_once=at_once
    )
    for _ in range(10):
        detection.detect(cameras[0].name, frame)
    return whole.calls, sliced.calls, said


DOOR, YARD = Camera("door", Text("0")), Camera("yard", Text("1"))


def test_slices_are_chosen_where_they_leave_time_for_all_cameras() -> None:
    assert calls_of_ten_frames(0.15, DOOR) == (
        3,
        10,
        ["door: looks for small faces too, 0.15 s a frame instead of 0.02 s (slices: false does not)"],
    )
    whole, sliced, [said] = calls_of_ten_frames(0.15, DOOR, YARD)
    assert (whole, sliced) == (10, 3)
    assert said.startswith("door: detects in the frame as a whole, 0.02 s a frame; looking for small faces too takes")
    assert "takes 0.15 s, which leaves 2 cameras less than 5 frames a second (slices: true does it)" in said


def test_frames_that_are_detected_at_the_same_time_share_it() -> None:
    whole, sliced, [said] = calls_of_ten_frames(0.15, DOOR, YARD, at_once=2)
    assert (whole, sliced) == (3, 10) and "0.07 s a frame instead of 0.01 s" in said
    assert calls_of_ten_frames(0.25, DOOR, YARD, at_once=2)[:2] == (10, 3)


@pytest.mark.parametrize(("slices", "calls"), [(True, (0, 10, [])), (False, (10, 0, []))])
def test_the_user_decides(slices: bool, calls: tuple[int, int, list[str]]) -> None:
    assert calls_of_ten_frames(5.0 if slices else 0.0, replace(DOOR, slices=slices)) == calls


def test_a_small_frame_or_region_has_no_slices() -> None:
    assert calls_of_ten_frames(0.0, DOOR, frame=FRAME[:720, :1280]) == (10, 0, [])
    assert calls_of_ten_frames(0.0, replace(DOOR, region=(0.2, 0.0, 0.8, 1.0))) == (10, 0, [])
