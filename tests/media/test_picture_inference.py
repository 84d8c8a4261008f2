import csv
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import supervision as sv
from PIL import Image

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data import voc
from facemask.media import picture_files, picture_inference


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
def model() -> dict[str, Any]:
    return {"run": "mine", "model": "ssd", "steps": 12, "config_sha256": "abc"}


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
    summary = picture_inference.infer_pictures(
        RedFinder(), model, picture_files.find_pictures(str(tmp_path / "in")), out, thresholds=[0.5] * 2
    )
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


def test_a_name_that_is_not_utf8_is_named_and_the_rest_goes_on(
    tmp_path: Path, model: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", os.fsdecode(b"caf\xe9.png"), "z.png"):
        try:
            picture(tmp_path / "in" / name)
        except OSError:
            pytest.skip("this file system takes no such name")
    found = picture_files.find_pictures(str(tmp_path / "in"))
    summary = picture_inference.infer_pictures(
        RedFinder(), model, found, tmp_path / "out", [0.5] * 2, frozenset(["image", "json", "csv"])
    )
    assert summary.done == 2 and len(summary.failed) == 1
    assert "the name is not UTF-8" in capsys.readouterr().err
    assert files(tmp_path) == ["a.json", "a.png", "boxes.csv", "boxes.csv.json", "z.json", "z.png"]


def test_each_class_has_a_threshold_of_its_own(tmp_path: Path, model: dict[str, Any]) -> None:
    picture(tmp_path / "a.png")
    found = picture_files.find_pictures(str(tmp_path / "a.png"))
    # with_mask scores 0.3, without_mask 0.8.
    summary = picture_inference.infer_pictures(RedFinder(), model, found, tmp_path / "out", [0.25, 0.9])
    assert summary.counts == {"with_mask": 1, "without_mask": 0}
    written = json.loads((tmp_path / "out" / "a.json").read_text())
    assert written["thresholds"] == {"with_mask": 0.25, "without_mask": 0.9}


def test_the_threshold_counts(tmp_path: Path, model: dict[str, Any]) -> None:
    picture(tmp_path / "a.png")
    found = picture_files.find_pictures(str(tmp_path / "a.png"))
    for threshold, boxes in ((0.2, 2), (0.8, 1), (0.81, 0)):
        summary = picture_inference.infer_pictures(RedFinder(), model, found, tmp_path / "out", [threshold] * 2)
        assert sum(summary.counts.values()) == boxes
        assert summary.milliseconds is None


def test_the_only_picture_is_broken(tmp_path: Path, model: dict[str, Any]) -> None:
    (tmp_path / "a.png").write_text("nothing")
    with pytest.raises(UserError, match=r"a\.png: "):
        picture_inference.infer_pictures(
            RedFinder(), model, picture_files.find_pictures(str(tmp_path / "a.png")), tmp_path / "out", [0.5] * 2
        )
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, model: dict[str, Any]) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=f"^{tmp_path / 'out'}"):
        picture_inference.infer_pictures(
            RedFinder(), model, picture_files.find_pictures(str(tmp_path / "a.png")), tmp_path / "out", [0.5] * 2
        )


def run(
    tmp_path: Path, model: dict[str, Any], count: int, detector: RedFinder | None = None, **options: Any
) -> picture_inference.PictureSummary:
    for i in range(count):
        picture(tmp_path / "in" / f"{i}.png")
    found = picture_files.find_pictures(str(tmp_path / "in"))
    return picture_inference.infer_pictures(
        detector or RedFinder(), model, found, tmp_path / "out", [0.5] * 2, **options
    )


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "out").glob("*"))


def test_what_is_written_can_be_chosen(tmp_path: Path, model: dict[str, Any]) -> None:
    run(tmp_path, model, 2, kinds=frozenset(["csv", "voc"]))
    assert files(tmp_path) == ["0.xml", "1.xml", "boxes.csv", "boxes.csv.json"]
    with (tmp_path / "out" / "boxes.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert table[1] == {
        "file": str(tmp_path / "in" / "1.png"),
        "width": "120",
        "height": "90",
        "class": "without_mask",
        "score": "0.8000",
        "xmin": "40.00",
        "ymin": "30.00",
        "xmax": "80.00",
        "ymax": "60.00",
    }
    assert len(table) == 2
    made = json.loads((tmp_path / "out" / "boxes.csv.json").read_text())
    assert made["settings"]["model"] == model and made["settings"]["thresholds"]["with_mask"] == 0.5
    annotation = voc.read_voc(tmp_path / "out" / "0.xml")
    assert (annotation.filename, annotation.width, annotation.height) == ("0.png", 120, 90)
    assert annotation.boxes == (voc.Box("without_mask", 40, 30, 80, 60),)


def test_an_xml_that_a_person_corrected_is_kept(tmp_path: Path, model: dict[str, Any]) -> None:
    run(tmp_path, model, 2, kinds=frozenset(["voc"]))
    corrected, untouched = tmp_path / "out" / "0.xml", tmp_path / "out" / "1.xml"
    corrected.write_text(corrected.read_text().replace("<xmin>40", "<xmin>41"))
    before = corrected.read_bytes()
    untouched.write_bytes(untouched.read_bytes())
    summary = run(tmp_path, model, 2, kinds=frozenset(["voc"]))
    assert corrected.read_bytes() == before and summary.kept == (corrected,) and summary.exit_code == 0
    assert f"left as a person changed them: 1 XML ({corrected})" in summary.text()
    corrected.unlink()
    assert run(tmp_path, model, 2, kinds=frozenset(["voc"])).kept == ()


def test_nothing_is_written_where_nothing_is_wanted(tmp_path: Path, model: dict[str, Any]) -> None:
    summary = run(tmp_path, model, 2, kinds=frozenset())
    assert summary.counts["without_mask"] == 2 and not (tmp_path / "out").exists()
    assert "results in" not in summary.text()
    assert f"results in {tmp_path / 'out'}" in run(tmp_path, model, 2).text()


def test_faces_are_blurred_in_what_is_drawn(tmp_path: Path, model: dict[str, Any]) -> None:
    pixels = np.full((300, 300, 3), 128, np.uint8)
    pixels[100:200, 100:200] = (255, 0, 0)
    pixels[148:152, 148:152] = (210, 59, 59)  # a detail of the face
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")

    def detail(blur: bool) -> float:
        run(tmp_path, model, 0, blur=blur)
        with Image.open(tmp_path / "out" / "a.png") as drawn:
            center = np.asarray(drawn.convert("RGB").resize((300, 300)))[140:160, 140:160, 1].astype(float)
        return float(center.max() - center.min())

    assert detail(blur=True) < 8 < 40 < detail(blur=False)


def test_the_detector_gets_batches_and_results_keep_their_order(
    tmp_path: Path, model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(RedFinder):
        batches: ClassVar[list[int]] = []

        def detect(self, pictures: Sequence[np.ndarray]) -> list[sv.Detections]:
            self.batches.append(len(pictures))
            return super().detect(pictures)

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "12.png").write_text("broken")
    detector = Counting()
    summary = run(tmp_path, model, 12, detector, kinds=frozenset(["csv"]))
    # First one, then eight, then what is left, without the broken one.
    assert detector.batches == [1, 8, 3] and summary.done == 12 and summary.exit_code == 2
    with (tmp_path / "out" / "boxes.csv").open(newline="") as file:
        assert [Path(row["file"]).stem for row in csv.DictReader(file)] == [str(i) for i in range(12)]
    detector.batches.clear()
    monkeypatch.setattr(picture_inference, "BATCH_PIXELS", 90 * 120 * 3)
    run(tmp_path, model, 12, detector, kinds=frozenset())
    assert detector.batches == [1, 3, 3, 3, 2]


def test_an_error_of_the_detector_ends_it_and_leaves_no_table(tmp_path: Path, model: dict[str, Any]) -> None:
    class Failing(RedFinder):
        def detect(self, pictures: Sequence[np.ndarray]) -> list[sv.Detections]:
            if len(pictures) > 1:
                raise RuntimeError("no more")
            return super().detect(pictures)

    with pytest.raises(RuntimeError):
        run(tmp_path, model, 5, Failing(), kinds=frozenset(["csv"]))
    assert files(tmp_path) == []


@pytest.mark.parametrize("kind", ["orientation", "16 bits", "CMYK", "alpha", "animated", "tiny", "one pixel high"])
def test_hard_pictures(tmp_path: Path, model: dict[str, Any], kind: str) -> None:
    """The red square is found where people see it."""
    (tmp_path / "in").mkdir()
    pixels = np.full((90, 120, 3), 128, np.uint8)
    pixels[30:60, 40:80] = (255, 0, 0)
    image, expected = Image.fromarray(pixels), [40, 30, 80, 60]
    path = tmp_path / "in" / "a.png"
    if kind == "orientation":
        path, exif = path.with_suffix(".jpg"), Image.Exif()
        exif[0x0112] = 8  # to be turned by 90 degrees against the clock: (x, y) becomes (y, 120 - x)
        image.save(path, exif=exif, quality=100, subsampling=0)
        expected = [30, 40, 60, 80]
    elif kind == "16 bits":
        cv2.imwrite(str(path), pixels[..., ::-1].astype(np.uint16) * 257)
    elif kind == "CMYK":
        path = path.with_suffix(".jpg")
        image.convert("CMYK").save(path, quality=100, subsampling=0)
    elif kind == "alpha":
        image.putalpha(Image.new("L", image.size, 200))
        image.save(path)
    elif kind == "animated":
        path = path.with_suffix(".webp")
        image.save(path, save_all=True, append_images=[Image.new("RGB", image.size, "red")] * 3, lossless=True)
    else:
        size = (2, 2) if kind == "tiny" else (300, 1)
        Image.new("RGB", size, "red").save(path)
        expected = [0, 0, *size]
    summary = run(tmp_path, model, 0)
    assert summary.counts["without_mask"] == 1 and summary.exit_code == 0
    [box] = json.loads((tmp_path / "out" / "a.json").read_text())["boxes"]
    assert [box[side] for side in ("xmin", "ymin", "xmax", "ymax")] == pytest.approx(expected, abs=1)
    assert any((tmp_path / "out" / name).is_file() for name in ("a.png", "a.jpg", "a.webp"))


def test_a_bomb_is_refused_and_the_rest_goes_on(
    tmp_path: Path, model: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """A PNG of some bytes that claims 100,000 x 100,000 pixels."""
    (tmp_path / "in").mkdir()
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + header, b"IDAT" + zlib.compress(b"\0" * 1000)):
        bomb += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "in" / "bomb.png").write_bytes(bomb)
    summary = run(tmp_path, model, 1)
    assert summary.done == 1 and [path.name for path in summary.failed] == ["bomb.png"]
    assert "bomb.png: too many pixels" in capsys.readouterr().err


class Killing(RedFinder):
    """Sends its own process SIGTERM at the first batch of several pictures."""

    def __init__(self) -> None:
        self.killed = False

    def detect(self, pictures: Sequence[np.ndarray]) -> list[sv.Detections]:
        if len(pictures) > 1 and not self.killed:
            self.killed = True
            os.kill(os.getpid(), signal.SIGTERM)
        return super().detect(pictures)


def infer_until_a_signal(folder: Path) -> None:
    summary = run(folder, {"run": "mine"}, 60, Killing(), kinds=frozenset(["csv", "json"]))
    print(json.dumps([summary.exit_code, summary.done, summary.text()]))


def test_a_signal_ends_it_after_the_pictures_at_hand(tmp_path: Path) -> None:
    """In a process of its own: one of pytest's died here now and then, and took its reason with it."""
    here = str(Path(__file__).parent)
    code = "import pathlib, sys, test_picture_inference as here; here.infer_until_a_signal(pathlib.Path(sys.argv[1]))"
    ended = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    exit_code, done, text = json.loads(ended.stdout.splitlines()[-1])
    assert exit_code == 143 and "stopped early" in text
    assert 9 <= done < 60
    assert len(files(tmp_path)) == done + 2
    assert len((tmp_path / "out" / "boxes.csv").read_text().splitlines()) == done + 1
