import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from scripts.dataset.label_map import LabelMap
from scripts.media import images, inference
from scripts.support.errors import UserError
from scripts.tfod.exported import ExportedModel


class RedFinder:
    """Finds the red square in a picture, and at a low score its shadow."""

    name = "eyes"
    label_map = LabelMap(("with_mask", "without_mask"))

    def detect(self, pictures: Sequence[np.ndarray]) -> list[sv.Detections]:
        found = []
        for picture in pictures:
            ys, xs = np.nonzero((picture[..., 0] > 200) & (picture[..., 1] < 60))
            box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            found.append(
                sv.Detections(
                    xyxy=np.array([box, box], dtype=np.float32),
                    confidence=np.array([0.8, 0.3], dtype=np.float32),
                    class_id=np.array([2, 1]),
                    data={"class_name": np.array(["without_mask", "with_mask"])},
                )
            )
        return found


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "exported"
    folder.mkdir()
    ExportedModel(folder, "ssd", RedFinder.label_map, 64, 64, "mine", 12, "abc").write({})
    return inference.model_of(folder)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((90, 120, 3), 128, dtype=np.uint8)
    pixels[30:60, 40:80] = (255, 0, 0)
    Image.fromarray(pixels).save(path)


def test_a_folder_with_one_broken_file(
    tmp_path: Path, model: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "sub/a.png"):
        picture(tmp_path / "in" / name)
    (tmp_path / "in" / "b.jpg").write_text("nothing")
    out = tmp_path / "out"
    summary = inference.on_pictures(RedFinder(), model, images.find(str(tmp_path / "in")), out, thresholds=[0.5] * 2)
    assert summary.counts == {"with_mask": 0, "without_mask": 2}
    assert summary.done == 2 and summary.failed == (tmp_path / "in" / "b.jpg",)
    assert "in/b.jpg: not an image" in capsys.readouterr().err
    assert "2 pictures: 0 with_mask, 2 without_mask (eyes" in summary.text()
    assert "1 could not be read" in summary.text()
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == ["a.json", "a.png", "sub/a.json", "sub/a.png"]
    value = json.loads((out / "a.json").read_text())
    assert value["boxes"] == [
        {"class": "without_mask", "class_id": 2, "score": 0.8, "xmin": 40, "ymin": 30, "xmax": 80, "ymax": 60}
    ]
    assert value["model"] == {"run": "mine", "model": "ssd", "steps": 12, "config_sha256": "abc"}
    with Image.open(out / "a.png") as drawn:
        assert drawn.size == (480, 360)


def test_each_class_has_a_threshold_of_its_own(tmp_path: Path, model: dict[str, Any]) -> None:
    picture(tmp_path / "a.png")
    found = images.find(str(tmp_path / "a.png"))
    # with_mask scores 0.3, without_mask 0.8.
    summary = inference.on_pictures(RedFinder(), model, found, tmp_path / "out", [0.25, 0.9])
    assert summary.counts == {"with_mask": 1, "without_mask": 0}
    written = json.loads((tmp_path / "out" / "a.json").read_text())
    assert written["thresholds"] == {"with_mask": 0.25, "without_mask": 0.9}


def test_the_threshold_counts(tmp_path: Path, model: dict[str, Any]) -> None:
    picture(tmp_path / "a.png")
    found = images.find(str(tmp_path / "a.png"))
    for threshold, boxes in ((0.2, 2), (0.8, 1), (0.81, 0)):
        summary = inference.on_pictures(RedFinder(), model, found, tmp_path / "out", [threshold] * 2)
        assert sum(summary.counts.values()) == boxes
        assert summary.milliseconds is None


def test_the_only_picture_is_broken(tmp_path: Path, model: dict[str, Any]) -> None:
    (tmp_path / "a.png").write_text("nothing")
    with pytest.raises(UserError, match=r"a\.png: not an image"):
        inference.on_pictures(RedFinder(), model, images.find(str(tmp_path / "a.png")), tmp_path / "out", [0.5] * 2)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, model: dict[str, Any]) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        inference.on_pictures(RedFinder(), model, images.find(str(tmp_path / "a.png")), tmp_path / "out", [0.5] * 2)
