import json
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.provenance import runtime_versions
from facemask.media import writing
from facemask.media.picture_files import Picture


def pictures(*names: str) -> list[Picture]:
    return [Picture(Path("in") / name, Path(name)) for name in names]


def test_targets_keep_relative_paths_and_never_collide() -> None:
    found = writing.result_paths(
        pictures("a.jpg", "sub/a.jpg", "b.gif", "c.PNG", "d.jpg", "D.png", "e.gif", "e.png"), Path("out")
    )
    assert [(str(t.image), str(t.boxes)) for t in found] == [
        ("out/a.jpg", "out/a.json"),
        ("out/sub/a.jpg", "out/sub/a.json"),
        ("out/b.png", "out/b.json"),
        ("out/c.PNG", "out/c.json"),
        ("out/d.jpg", "out/d.jpg.json"),
        ("out/D.png", "out/D.png.json"),
        ("out/e.gif.png", "out/e.gif.json"),
        ("out/e.png", "out/e.png.json"),
    ]
    assert len({str(path).casefold() for target in found for path in (target.image, target.boxes)}) == 16


def test_the_json_of_a_picture_is_not_that_of_the_table() -> None:
    found = writing.result_paths(pictures("boxes.csv.jpg", "sub/boxes.csv.jpg"), Path("out"))
    assert [str(t.boxes) for t in found] == ["out/boxes.csv.jpg.json", "out/sub/boxes.csv.json"]


@pytest.mark.parametrize("names", [("a.gif", "a.jpg", "a.gif.png"), ("a.png", "a.jpg", "a.jpg.bmp")])
def test_results_of_the_same_name_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=f"^in/{names[0]} and in/{names[2]}: |^in/{names[1]} and in/{names[2]}: "):
        writing.result_paths(pictures(*names), Path("out"))


def test_a_picture_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{tmp_path / 'a.jpg'}: "):
        writing.result_paths([Picture(tmp_path / "a.jpg", Path("a.jpg"))], tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".bmp", ".webp", ".tif"])
def test_images_are_written_in_their_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "sub" / f"a{suffix}"
    writing.write_image(path, np.full((20, 30, 3), (200, 10, 60), dtype=np.uint8))
    with Image.open(path) as image:
        assert image.size == (30, 20)
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - (200, 10, 60)).max() <= 4
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_boxes_are_written_in_pixels() -> None:
    detections = sv.Detections(
        xyxy=np.array([[1.234, 2, 30.5, 40]], dtype=np.float32),
        confidence=np.array([0.93456], dtype=np.float32),
        class_id=np.array([2]),
        data={"class_name": np.array(["без маски"])},
    )
    [picture] = pictures("a b.jpg")
    value = writing.boxes_as_json(picture, (400, 267), detections, {"run": "x"}, "tensorflow fp32", {"with_mask": 0.5})
    assert json.loads(json.dumps(value)) == {
        "format": 1,
        "image": {"file": "in/a b.jpg", "width": 400, "height": 267},
        "model": {"run": "x"},
        "runtime": "tensorflow fp32",
        "packages": runtime_versions(),
        "thresholds": {"with_mask": 0.5},
        "boxes": [
            {
                "class": "без маски",
                "class_id": 2,
                "score": 0.9346,
                "xmin": 1.23,
                "ymin": 2.0,
                "xmax": 30.5,
                "ymax": 40.0,
            }
        ],
    }
