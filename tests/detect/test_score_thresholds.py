import json
from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.detect.score_thresholds import above_thresholds, parse_thresholds, read_best_thresholds
from facemask.evaluation import confusion

CLASSES = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))


def test_the_best_thresholds_of_an_evaluation_are_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"classes": CLASSES.names, "thresholds": {"with_mask": 0.25}}))
    assert read_best_thresholds(path, CLASSES) == {"with_mask": 0.25}
    assert parse_thresholds(str(path), CLASSES) == (0.25, 0.5, 0.5)
    assert parse_thresholds("best", CLASSES, metrics=path) == (0.25, 0.5, 0.5)
    with pytest.raises(UserError, match="with_mask"):
        read_best_thresholds(path, LabelMap(("a",)))
    path.write_text("[]")
    with pytest.raises(UserError, match=r"metrics\.json"):
        read_best_thresholds(path, CLASSES)
    with pytest.raises(UserError, match="make eval"):
        read_best_thresholds(tmp_path / "none.json", CLASSES)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 0.9])
def test_a_score_that_equals_its_threshold_counts_in_inference_and_in_evaluation(threshold: float) -> None:
    at = np.array([threshold, np.nextafter(np.float32(threshold), np.float32(0))], np.float32)
    found = sv.Detections(np.zeros((2, 4), np.float32), confidence=at, class_id=np.array([2, 2]))
    assert above_thresholds(found, (1.0, threshold, 1.0)).confidence.tolist() == [at[0]]
    assert confusion.indices_above_thresholds(found, (1.0, threshold, 1.0)).tolist() == [0]
    assert len(above_thresholds(sv.Detections.empty(), (1.0, threshold, 1.0))) == 0


def test_what_a_user_writes_is_a_threshold_for_each_class() -> None:
    assert parse_thresholds("0.4", CLASSES) == (0.4, 0.4, 0.4)
    for text in ("1.5", "-0.1", "nan", "high", "best"):
        with pytest.raises(UserError):
            parse_thresholds(text, CLASSES)
