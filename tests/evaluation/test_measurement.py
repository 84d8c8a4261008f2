import numpy as np
import pytest
from made_detections import found, truth

from facemask.evaluation.measurement import measure_detector


class Counting:
    name = "counting"

    def __init__(self, clock):
        self.clock = clock
        self.sizes = []

    def detect_all(self, images):
        self.sizes.append(len(images))
        self.clock[0] += 10.0 if len(self.sizes) == 1 else 0.1 * len(images)  # the first call builds the graph
        return [found() for _ in images]


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("facemask.evaluation.measurement.time.perf_counter", lambda: now[0])
    return now


def test_speed_leaves_out_the_first_call_and_counts_reading(clock):
    def pictures():
        for image_id in range(1, 6):
            clock[0] += 0.4  # reading
            yield np.zeros((2, 2, 3), np.uint8), truth(image_id)

    detector, done = Counting(clock), []
    measured = measure_detector(detector, pictures(), batch=2, hardware="a machine", report_progress=done.append)
    assert detector.sizes == [2, 2, 2, 1]  # the first batch twice
    # Batches take 0.2, 0.2 and 0.1 s; in all 5 images take 0.5 s, and 2.0 s to read.
    assert measured.speed.latency_ms == pytest.approx(200)
    assert measured.speed.images_per_second == pytest.approx(5 / 2.5)
    assert (measured.speed.images, measured.speed.batch, measured.speed.hardware) == (5, 2, "a machine")
    assert done == [2, 4, 5]
    assert [one.image_id for one in measured.truths] == [1, 2, 3, 4, 5]
    assert len(measured.detections) == 5


def test_images_are_not_kept(clock):
    import weakref

    alive = []

    def pictures():
        for image_id in range(1, 9):
            image = np.zeros((4, 4, 3), np.uint8)
            alive.append(weakref.ref(image))
            yield image, truth(image_id)
            del image
            assert sum(ref() is not None for ref in alive) <= 3

    measured = measure_detector(Counting(clock), pictures(), batch=2)
    assert len(measured.truths) == 8
    assert all(ref() is None for ref in alive)


def test_no_pictures(clock):
    with pytest.raises(ValueError):
        measure_detector(Counting(clock), [])


def test_names_of_classes_are_not_kept(painted):
    images = [(np.full((90, 120, 3), (255, 0, 0), np.uint8), truth(image_id)) for image_id in (1, 2)]
    measured = measure_detector(painted, images)
    assert [len(one) for one in measured.detections] == [1, 1]
    assert not any(one.data for one in measured.detections)
