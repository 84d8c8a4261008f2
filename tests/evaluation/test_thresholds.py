import numpy as np
import pytest
from made_detections import CLASSES, found, street, truth

from facemask.evaluation import coco, thresholds

# Three faces of class 1, far apart, and by falling score: hit 0.9, false alarm 0.8, hit 0.6, false alarm 0.2.
TRUTHS = [truth(1, (1, 0, 0, 50, 50), (1, 100, 0, 150, 50), (1, 200, 0, 250, 50))]
FOUND = [found((0.9, 1, 0, 0, 50, 50), (0.8, 1, 300, 0, 350, 50), (0.6, 1, 100, 0, 150, 50), (0.2, 1, 400, 0, 450, 50))]


def one_class(truths=TRUTHS, detections=FOUND, index=0):
    return coco.match_detections(truths, detections, CLASSES)[index]


@pytest.mark.parametrize(
    ("threshold", "hits", "alarms", "precision", "recall", "f1"),
    [
        (0.95, 0, 0, None, 0, 0),  # nothing kept: no precision to speak of, F1 = 0 / (0 + 3)
        (0.9, 1, 0, 1, 1 / 3, 2 / 4),  # the threshold itself is kept; F1 = 2 * 1 / (1 detection + 3 faces)
        (0.7, 1, 1, 1 / 2, 1 / 3, 2 / 5),
        (0.5, 2, 1, 2 / 3, 2 / 3, 4 / 6),
        (0.1, 2, 2, 2 / 4, 2 / 3, 4 / 7),
    ],
)
def test_at_a_threshold(threshold, hits, alarms, precision, recall, f1):
    got = thresholds.operating_point_at(one_class(), threshold)
    assert (got.hits, got.false_alarms, got.missed) == (hits, alarms, 3 - hits)
    assert (got.recall, got.f1) == pytest.approx((recall, f1))
    assert got.precision == (None if precision is None else pytest.approx(precision))


def test_best_is_halfway_below_the_last_score_worth_keeping():
    best = thresholds.best_operating_point(one_class())
    assert best.f1 == pytest.approx(4 / 6)
    assert best.threshold == pytest.approx(0.4)  # half-way from 0.6 to 0.2


def test_best_is_best_of_all_thresholds():
    for one in coco.match_detections(*street(40, seed=2), CLASSES):
        best = thresholds.best_operating_point(one)
        assert (
            best.f1
            >= max(thresholds.operating_point_at(one, threshold).f1 for threshold in np.linspace(0, 1, 500)) - 1e-12
        )


def test_equal_scores_stand_or_fall_together():
    # Hit and false alarm of one score: no threshold keeps the one without the other.
    both = one_class(TRUTHS, [found((0.5, 1, 0, 0, 50, 50), (0.5, 1, 300, 0, 350, 50))])
    assert thresholds.best_operating_point(both).f1 == pytest.approx(2 / 5)
    assert thresholds.precision_recall_curve(both).precision.tolist() == [0.5]


def test_nothing_found_has_no_best_threshold():
    assert thresholds.best_operating_point(one_class(TRUTHS, [found((0.9, 1, 300, 0, 350, 50))])) is None
    assert thresholds.best_operating_point(one_class(TRUTHS, [found()])) is None
    assert thresholds.precision_recall_curve(one_class(index=2)).recall.size == 0


def test_difficult_faces_count_neither_way():
    truths = [truth(1, (1, 0, 0, 50, 50), (1, 100, 0, 150, 50, True))]
    got = thresholds.operating_point_at(
        one_class(truths, [found((0.9, 1, 0, 0, 50, 50), (0.8, 1, 100, 0, 150, 50))]), 0.5
    )
    assert (got.hits, got.false_alarms, got.missed, got.f1) == (1, 0, 0, 1)


def test_curve_follows_the_detections():
    curve = thresholds.precision_recall_curve(one_class())
    assert curve.thresholds == pytest.approx([0.9, 0.8, 0.6, 0.2])
    assert curve.precision == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4])
    assert curve.recall == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
