"""One exported network at several input sizes."""

from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from facemask.cli import export_command
from facemask.core import exported_model
from facemask.core.errors import UserError
from facemask.data import drawn_sample
from facemask.detect.box_matching import join_boxes
from facemask.detect.opened_detector import open_detector

pytest.importorskip("openvino")


def test_boxes_of_several_sizes_are_joined_and_kept_once() -> None:
    face, same, other = [10, 10, 50, 50], [12, 10, 52, 50], [60, 10, 90, 50]
    small = sv.Detections(np.array([face], np.float32), confidence=np.array([0.6], np.float32), class_id=np.array([1]))
    large = sv.Detections(
        np.array([same, other, face], np.float32),
        confidence=np.array([0.8, 0.7, 0.1], np.float32),
        class_id=np.array([1, 1, 2]),
    )
    joined = join_boxes([small, large])
    assert joined.xyxy.tolist() == [same, other, face]  # of one class, the better; of another class, both
    assert joined.class_id.tolist() == [1, 1, 2]
    assert len(join_boxes([small[:0], large[:0]])) == 0
    assert join_boxes([small[:0], large]).xyxy.tolist() == [same, other, face]


def test_an_export_of_two_sizes_detects_at_both(tiny_run: Path, tmp_path: Path) -> None:
    common = {"run": tiny_run.name, "models": tiny_run.parent, "annotations": tmp_path / "none", "ckpt": "latest"}
    export_command.main(**common, exported=tmp_path, size="160,192,160", formats="openvino")  # type: ignore[arg-type]
    folder = tmp_path / tiny_run.name
    assert [one.width for one in exported_model.read_input_sizes(folder)] == [160, 192]

    pictures = [drawn_sample.draw_picture(seed=0, index=number).image for number in range(2)]
    both = open_detector(folder, "openvino", "fp32")
    assert both.name == "openvino fp32 at 2 sizes"
    second = open_detector(folder / "sizes" / "192", "openvino", "fp32").detect_all(pictures)
    for found, larger in zip(both.detect_all(pictures), second, strict=True):
        theirs = {tuple(box) for box in larger.xyxy.tolist()}
        at_both = [tuple(box) in theirs for box in found.xyxy.tolist()]
        assert any(at_both) and not all(at_both)
        assert found.confidence[0] >= larger.confidence[0]

    export_command.main(**common, exported=tmp_path, size="160", formats="saved_model")  # type: ignore[arg-type]
    assert not (folder / "sizes").exists()


@pytest.mark.parametrize(("text", "said"), [("960,big", "SIZE=960,big: must be pixels"), ("640,100", "SIZE=100")])
def test_sizes_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        export_command._parse_sizes(text)
