import itertools

import pytest

from facemask.core.errors import UserError
from facemask.media.detection_pace import MARGIN, DetectionPace, choose_slices, parse_detect_every, parse_slices

RATE = 25


def detected_frames(
    every: int | None, detection: float, other: float, frames: int = 250, ahead: bool = True, start: float = 0.0
) -> list[int]:
    """The frames in which a detector runs that takes so many seconds; the rest of the work on a frame takes `other`.

    The frames of a file are there `ahead` of time; those of a camera come at their times. The first comes
    after `start`.
    """
    now = 100.0 - start
    pace, found = DetectionPace(every, clock=lambda: now, ahead=ahead), []
    now = 100.0
    for number in range(frames):
        if not ahead:
            now = max(now, 100.0 + number / RATE)
        if pace.is_due(number / RATE):
            found.append(number)
            now += detection
        now += other
    return found


def test_a_number_detects_in_every_so_many_frames() -> None:
    assert detected_frames(4, 1.0, 1.0, 20) == [0, 4, 8, 12, 16]
    assert detected_frames(1, 1.0, 1.0, 5) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("ahead", [True, False])
def test_auto_detects_in_every_frame_where_the_machine_is_fast_enough(ahead: bool) -> None:
    assert detected_frames(None, 0.02, 0.01, ahead=ahead) == list(range(250))


@pytest.mark.parametrize(
    ("ahead", "start", "there_are"),
    [(True, 0.0, 10 * (1 - MARGIN)), (True, 2.0, 10 * (1 - MARGIN) - 2), (False, 2.0, 10)],
)
def test_auto_keeps_up_with_real_time_and_detects_as_often_as_that_allows(
    ahead: bool, start: float, there_are: float
) -> None:
    """A file is done early, and what it took to begin with it counts."""
    found = detected_frames(None, 0.1, 0.015, ahead=ahead, start=start)
    # 10 seconds of footage, of which the other work takes 3.75.
    assert len(found) * 0.1 + 250 * 0.015 <= there_are + 0.2
    assert len(found) >= 0.9 * (there_are - 3.75) / 0.1


def test_a_machine_that_is_far_too_slow_still_detects_now_and_then() -> None:
    for every in (None, 100):
        found = detected_frames(every, 1.0, 0.2)
        # The first frames may still be on time.
        assert {later - earlier for earlier, later in itertools.pairwise(found[1:])} <= {10, 11}


@pytest.mark.parametrize(("text", "every"), [("auto", None), ("AUTO", None), ("1", 1), (" 12 ", 12)])
def test_the_option(text: str, every: int | None) -> None:
    assert parse_detect_every(text) == every


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "", "often", "\N{SUPERSCRIPT TWO}"])
def test_a_wrong_option_is_named(text: str) -> None:
    with pytest.raises(UserError, match="DETECT_EVERY="):
        parse_detect_every(text)


@pytest.mark.parametrize(
    ("text", "sliced"), [("auto", None), ("yes", True), ("1", True), ("No", False), (" AUTO ", None)]
)
def test_the_option_of_slices(text: str, sliced: bool | None) -> None:
    assert parse_slices(text) is sliced


def test_wrong_slices_are_named() -> None:
    with pytest.raises(UserError, match="SLICES=many: must be auto, yes or no"):
        parse_slices("many")


@pytest.mark.parametrize(
    ("limit", "chosen", "words"),
    [
        (None, True, "a.mp4: looks for small faces too, 0.30 s a frame instead of 0.10 s (SLICES=no does not)"),
        (0.3, True, "a.mp4: looks for small faces too, 0.30 s a frame instead of 0.10 s (SLICES=no does not)"),
        (
            0.2,
            False,
            "a.mp4: detects in the frame as a whole, 0.10 s a frame; looking for small faces too takes 0.30 s, more "
            "than the 0.20 s that there are (SLICES=yes does it)",
        ),
    ],
)
def test_a_file_waits_for_slices_and_a_camera_does_not(limit: float | None, chosen: bool, words: str) -> None:
    said: list[str] = []
    assert choose_slices("a.mp4", 0.3, 0.1, limit, said.append) is chosen
    assert said == [words]
