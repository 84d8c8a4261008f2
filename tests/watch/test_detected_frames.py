"""Frames of several cameras that are detected at the same time."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import supervision as sv
from event_receivers import wait_for
from painted_footage import footage, painted

from facemask.media.footage import Footage, Frame
from facemask.watch.camera_feeds import open_feeds
from facemask.watch.detected_frames import detect_frames

Detect = Callable[[str, Frame], sv.Detections]


def detected(sources: dict[str, Footage], detect: Detect, at_once: int, most: int = 10_000) -> list[tuple[str, int]]:
    """The camera and the number of each frame, in the order in which they came."""
    came: list[tuple[str, int]] = []
    with open_feeds(sources, print, lambda: False) as feeds:
        for one in detect_frames(feeds, detect, at_once, lambda: len(came) >= most):
            if one is not None:
                assert one.found is not None and len(one.found) == one.frame.number
                came.append((one.name, one.frame.number))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("detecting-")]
    return came


def faces(frame: Frame) -> sv.Detections:
    """As many boxes as the frame's number says."""
    return sv.Detections(xyxy=np.zeros((frame.number, 4)))


def film(count: int) -> Footage:
    return footage(lambda number: painted(), count)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_all_frames_come_each_with_its_own_faces(at_once: int) -> None:
    came = detected({"door": film(30), "yard": film(20)}, lambda name, frame: faces(frame), at_once)
    assert [number for name, number in came if name == "door"] == list(range(30))
    assert [number for name, number in came if name == "yard"] == list(range(20))


def test_two_are_detected_at_the_same_time() -> None:
    both = threading.Barrier(2)

    def detect(name: str, frame: Frame) -> sv.Detections:
        both.wait(20)  # fails if one waits for the other
        return faces(frame)

    assert len(detected({"door": film(10)}, detect, 2)) == 10


def test_a_cameras_frames_come_in_their_order_though_a_later_one_is_detected_first() -> None:
    later = [threading.Event() for _ in range(10)]

    def detect(name: str, frame: Frame) -> sv.Detections:
        if frame.number % 2 == 0:
            assert later[frame.number + 1].wait(20)
            time.sleep(0.1)  # the later one could come now
        else:
            later[frame.number].set()
        return faces(frame)

    assert detected({"door": film(10)}, detect, 2) == [("door", number) for number in range(10)]


def test_a_camera_does_not_wait_for_another() -> None:
    others = threading.Semaphore(0)

    def detect(name: str, frame: Frame) -> sv.Detections:
        if name == "slow":
            for _ in range(20):
                assert others.acquire(timeout=20)
        else:
            others.release()
        return faces(frame)

    came = detected({"slow": film(1), "fast": film(30)}, detect, 2)
    assert came.index(("slow", 0)) >= 10


def test_frames_do_not_pile_up_before_somebody_who_does_not_take_them() -> None:
    calls: list[int] = []

    def detect(name: str, frame: Frame) -> sv.Detections:
        calls.append(frame.number)
        return faces(frame)

    with open_feeds({"door": film(100)}, print, lambda: False) as feeds:
        coming = detect_frames(feeds, detect, 2, lambda: False)
        next(coming)
        wait_for(lambda: len(calls) >= 5)
        time.sleep(0.2)
        assert len(calls) == 5
        coming.close()


def test_an_error_reaches_the_caller() -> None:
    def detect(name: str, frame: Frame) -> sv.Detections:
        if frame.number == 5:
            raise KeyError("no more")
        return faces(frame)

    with pytest.raises(KeyError, match="no more"):
        detected({"door": film(100)}, detect, 2)


def test_it_stops_while_frames_are_still_coming() -> None:
    endless = footage(lambda number: painted(), live=True, pause=0.001)
    assert len(detected({"door": endless}, lambda name, frame: faces(frame), 2, 5)) == 5
