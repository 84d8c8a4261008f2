import numpy as np
import pytest

from facemask.evaluation.calibration import measure_calibration
from facemask.evaluation.coco import Matches


def matches(scores, hits, ignored=None):
    scores, hits = np.array(scores, float), np.array([hits], bool)
    ignored = np.zeros_like(hits) if ignored is None else np.array([ignored], bool)
    return Matches("face", np.array([0.5]), scores, np.zeros(len(scores), int), hits, ignored, np.array([9]))


def test_error_worked_out_by_hand():
    # Bin 0.8-0.9: mean score 0.85, 1 of 2 right, off by 0.35. Bin 0.2-0.3: 0.25, 0 of 1, off by 0.25. 0.01: left out.
    # Error = (2 * 0.35 + 1 * 0.25) / 3.
    got = measure_calibration([matches([0.88, 0.82, 0.25, 0.01], [True, False, False, False])])
    assert got.error == pytest.approx((2 * 0.35 + 0.25) / 3)
    assert [one.detections for one in got.bins] == [0, 0, 1, 0, 0, 0, 0, 0, 2, 0]
    assert (got.bins[8].precision, got.bins[8].score) == pytest.approx((0.5, 0.85))
    assert got.bins[0].precision is None


def test_honest_scores_have_little_error():
    random = np.random.default_rng(0)
    scores = random.uniform(0.05, 1, 20_000)
    honest = measure_calibration([matches(scores, random.random(20_000) < scores)])
    boastful = measure_calibration([matches(scores, random.random(20_000) < scores / 2)])
    assert honest.error < 0.02
    assert boastful.error == pytest.approx(np.mean(scores / 2), abs=0.02)


def test_ones_ignored_and_nothing():
    assert measure_calibration([matches([1.0], [True])]).bins[9].detections == 1
    assert measure_calibration([matches([0.9], [False], [True])]).error is None
    assert measure_calibration([matches([], [])]).error is None
