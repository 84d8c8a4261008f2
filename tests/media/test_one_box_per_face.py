"""A face has one state: each output reports one box for a face that two classes claim."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import made_video
import numpy as np
import pytest
import supervision as sv

from facemask.data import voc
from facemask.detect.opened_detector import OpenedDetector
from facemask.media import picture_files, picture_inference, recordings, video_inference


class TwoMinds(made_video.SquareFinder):
    """Reports each square twice, on the very same box: as its class, and with a lower score as the other one."""

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        return [self._doubled(found) for found in super().detect(images)]

    def _doubled(self, found: sv.Detections) -> sv.Detections:
        other = 3 - np.asarray(found.class_id)
        second = sv.Detections(
            xyxy=found.xyxy,
            confidence=np.asarray(found.confidence) - np.float32(0.1),
            class_id=other,
            data={"class_name": np.array(self.label_map.names)[other - 1]},
        )
        return sv.Detections.merge([found, second]) if len(found) else found


DETECTOR = OpenedDetector(TwoMinds())
THRESHOLDS = (0.1, 0.1)


def test_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(made_video.jpeg(made_video.frame(3)))
    pictures = picture_files.find_pictures(str(tmp_path / "in"))
    kinds = frozenset(["json", "csv", "voc"])
    picture_inference.infer_pictures(DETECTOR, made_video.ABOUT, pictures, tmp_path / "out", THRESHOLDS, kinds)
    [box] = json.loads((tmp_path / "out" / "a.json").read_text())["boxes"]
    assert (box["class"], box["score"]) == ("with_mask", pytest.approx(0.9))
    assert [box.label for box in voc.read_voc(tmp_path / "out" / "a.xml").boxes] == ["with_mask"]
    assert len((tmp_path / "out" / "boxes.csv").read_text().splitlines()) == 2


def test_video(tmp_path: Path) -> None:
    clip = made_video.write(tmp_path / "clip.mp4", (made_video.frame(i) for i in range(10)))
    footage = recordings.open_file(clip)
    summary = video_inference.infer_footage(DETECTOR, made_video.ABOUT, footage, tmp_path / "out", THRESHOLDS)
    with (tmp_path / "out" / "clip.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["frame"], row["class"]) for row in rows] == [(str(i), "with_mask") for i in range(10)]
    assert summary.faces == {"with_mask": 1, "without_mask": 0}
