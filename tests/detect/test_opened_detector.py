"""What all steps get when they open a detector."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.detect import tiling
from facemask.detect.opened_detector import OpenedDetector, one_box_per_face

LABELS = LabelMap(("with_mask", "without_mask", "mask_weared_incorrect"))

FACE = (10, 20, 50, 60)
"""A face that three classes claim, and a neighbour of it."""
ROWS = [(*FACE, 0.57, 2), (*FACE, 0.49, 1), (12, 20, 52, 61, 0.3, 3), (44, 20, 84, 60, 0.2, 1)]


def boxes(*rows: tuple[float, ...]) -> sv.Detections:
    """Detections of rows of x, y, x, y, score, class id."""
    array = np.array(rows, float).reshape(-1, 6)
    ids = array[:, 5].astype(int)
    names = np.array([LABELS.name_of(i) for i in ids], dtype=str)
    return sv.Detections(
        array[:, :4].astype(np.float32),
        confidence=array[:, 4].astype(np.float32),
        class_id=ids,
        data={"class_name": names},
    )


class Fixed:
    """Finds the same in every picture."""

    name, label_map = "fixed", LABELS

    def __init__(self, *rows: tuple[float, ...]) -> None:
        self.rows = rows
        self.sizes: list[tuple[int, ...]] = []

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        self.sizes += [image.shape[:2] for image in images]
        return [boxes(*self.rows) for _ in images]


def test_a_face_has_one_box_of_its_best_class() -> None:
    found = one_box_per_face(boxes(*ROWS))
    assert found["class_name"].tolist() == ["without_mask", "with_mask"]
    assert found.xyxy.tolist() == [list(FACE), [44, 20, 84, 60]]
    assert len(one_box_per_face(boxes())) == 0


def test_evaluation_gets_every_class_and_all_others_one_box_a_face() -> None:
    detector = OpenedDetector(Fixed(*ROWS))
    images = [np.zeros((80, 100, 3), np.uint8)] * 2
    assert [len(found) for found in detector.detect(images)] == [2, 2]
    assert [len(found) for found in detector.detect_all(images)] == [4, 4]
    assert (detector.name, detector.label_map) == ("fixed", LABELS)


def test_both_ways_look_at_huge_pictures_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HUGE", 50_000), ("TILE", 256)):
        monkeypatch.setattr(tiling, name, value)
    for way in (OpenedDetector.detect, OpenedDetector.detect_all):
        raw = Fixed()
        way(OpenedDetector(raw), [np.zeros((300, 400, 3), np.uint8)])
        assert len(raw.sizes) == 5 and max(map(max, raw.sizes)) == 256


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_that_is_not_in_a_list_is_refused(kind: type) -> None:
    with pytest.raises(TypeError, match=r"^give a list of pictures, also for a single one: \['street\.jpg'\]$"):
        OpenedDetector(Fixed()).detect(kind("street.jpg"))


def test_pictures_are_arrays_or_files(tmp_path: Path) -> None:
    raw = Fixed()
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    assert len(OpenedDetector(raw).detect([tmp_path / "a.png", str(tmp_path / "a.png")])) == 2
    assert raw.sizes == [(20, 30)] * 2
    with pytest.raises(UserError, match=r"none\.png"):
        OpenedDetector(raw).detect([tmp_path / "none.png"])
    for wrong in (np.zeros((20, 30), np.uint8), np.zeros((20, 30, 3)), np.zeros((20, 30, 4), np.uint8)):
        with pytest.raises(ValueError):
            OpenedDetector(raw).detect([wrong])


def test_detecting_needs_neither_tensorflow_nor_the_rooms_of_training(tiny_exported: Path, tmp_path: Path) -> None:
    if not (tiny_exported / "openvino").is_dir():
        pytest.skip("OpenVINO is not installed (dependency group openvino)")
    code = (
        "import sys; sys.modules['fcntl'] = None;"  # Windows has none
        "import facemask; light = 'numpy' not in sys.modules; import numpy, facemask.detect.detector_choice;"
        "detector = facemask.load(sys.argv[1]);"
        "[found] = detector.detect([numpy.zeros((50, 60, 3), numpy.uint8)]);"
        "from facemask.core.provenance import made_by;"
        "others = ('tensorflow', 'object_detection', 'facemask.tfod', 'facemask.evaluation', 'facemask.export');"
        "print(light, len(found) > 0, [name for name in others if name in sys.modules]);"
        "print(made_by('test')['packages']['openvino'] == sys.modules['openvino'].__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_exported)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert done.stdout.splitlines() == ["True True []", "True"]
    assert not (tmp_path / "intel").exists()  # no client id of OpenVINO's telemetry
