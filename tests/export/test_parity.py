import numpy as np
import pytest
import supervision as sv

from facemask.export.parity import compare_detections


def detections(*rows: tuple[float, float, float, float, float, int]) -> sv.Detections:
    values = np.array(rows, dtype=np.float32).reshape(-1, 6)
    return sv.Detections(xyxy=values[:, :4], confidence=values[:, 4], class_id=values[:, 5].astype(int))


TWO = detections((10, 10, 50, 50, 0.9, 1), (60, 10, 90, 50, 0.4, 2))


def test_the_same_is_the_same() -> None:
    result = compare_detections([TWO, detections()], [TWO, detections()])
    assert result.good and (result.images, result.boxes, result.unmatched) == (2, 2, 0)
    assert result.pixels == result.scores == result.best_scores == 0


def test_small_differences_are_measured_whatever_the_order() -> None:
    other = detections((60, 10.5, 90, 50, 0.395, 2), (10, 10, 50, 50, 0.9, 1))
    result = compare_detections([TWO], [other])
    assert result.good and result.pixels == pytest.approx(0.5) and result.scores == pytest.approx(0.005, abs=1e-6)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (detections((10, 10, 50, 50, 0.9, 1)), "unmatched"),  # one missed
        (detections((10, 10, 50, 50, 0.9, 1), (60, 10, 90, 50, 0.4, 1)), "unmatched"),  # of another class
        (detections((10, 10, 50, 50, 0.9, 1), (60, 30, 90, 70, 0.4, 2)), "unmatched"),  # elsewhere
        (detections(*[(10, 10, 50, 50, 0.9, 1)] * 2, (60, 10, 90, 50, 0.4, 2)), "unmatched"),  # doubled
        (detections((10, 10, 50, 50, 0.9, 1), (60, 10, 90, 52, 0.4, 2)), "pixels"),
        (detections((10, 10, 50, 50, 0.88, 1), (60, 10, 90, 50, 0.4, 2)), "scores"),
    ],
)
def test_differences_are_seen_from_either_side(other: sv.Detections, what: str) -> None:
    for result in (compare_detections([TWO], [other]), compare_detections([other], [TWO])):
        assert not result.good and getattr(result, what) > {"unmatched": 0, "pixels": 1, "scores": 0.01}[what]


def test_a_box_at_the_limit_may_fall_on_either_side_of_it() -> None:
    one, two = detections((10, 10, 50, 50, 0.3001, 1)), detections((10, 10, 50, 50, 0.2999, 1))
    assert compare_detections([one], [two]).good and compare_detections([two], [one]).good


def test_low_scores_count_too() -> None:
    one, two = detections((10, 10, 50, 50, 0.2, 1)), detections((10, 10, 50, 50, 0.1, 1))
    result = compare_detections([one], [two])
    assert result.boxes == 0 and not result.good
