import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import typer
from PIL import Image

from facemask.cli import prelabel_command
from facemask.core.label_map import LabelMap
from facemask.data import voc
from facemask.data.marked_voc import is_untouched
from facemask.data.voc import Annotation, Box
from facemask.detect import detector_choice
from facemask.detect.detector_choice import ChosenDetector
from facemask.detect.opened_detector import OpenedDetector
from facemask.labelling import prelabelling
from facemask.media import picture_files

LABEL_MAP = LabelMap(("with_mask", "without_mask"))
Row = tuple[float, float, float, float, float, int]


class Fixed:
    """A detector that always finds the same: rows of x, y, x, y, score, class id."""

    name = "fixed"
    label_map = LABEL_MAP

    def __init__(self, *rows: Row) -> None:
        self.rows = np.array(rows, dtype=float).reshape(-1, 6)
        self.seen = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        self.seen += len(images)
        ids = self.rows[:, 5].astype(int)
        names = np.array([LABEL_MAP.name_of(i) for i in ids], dtype=str)
        return [
            sv.Detections(self.rows[:, :4], confidence=self.rows[:, 4], class_id=ids, data={"class_name": names})
            for _ in images
        ]

    detect_all = detect


FACE = Fixed((10.4, 20.6, 50, 60, 0.9, 1), (5, 5, 20, 20, 0.4, 2))


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80), "grey").save(path)
    return path


def run(detector: Fixed | OpenedDetector, folder: Path, threshold: float = 0.5) -> prelabelling.PrelabelSummary:
    return prelabelling.prelabel_pictures(detector, picture_files.find_pictures(str(folder)), [threshold] * 2)


def test_boxes_from_the_threshold_on_are_written_in_whole_pixels(tmp_path: Path) -> None:
    picture(tmp_path / "sub" / " a b.png")
    detector = Fixed(
        (10.4, 20.6, 50, 60, 0.5, 1), (5, 5, 20, 20, 0.49, 1), (-3, 70.2, 120, 90, 0.7, 2), (30, 30, 30.3, 40, 0.9, 1)
    )
    summary = run(detector, tmp_path)
    annotation = voc.read_voc(tmp_path / "sub" / " a b.xml")
    assert (annotation.width, annotation.height) == (100, 80)
    assert annotation.boxes == (
        Box("with_mask", 10, 21, 50, 60),
        Box("without_mask", 0, 70, 100, 80, truncated=True),
    )
    assert is_untouched(annotation, prelabelling.MARK)
    assert (summary.written, summary.boxes) == (1, {"with_mask": 1, "without_mask": 1})


def test_a_face_gets_one_box_of_its_best_class(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    raw = Fixed((10, 20, 50, 60, 0.6, 1), (11, 20, 50, 61, 0.8, 2), (40, 20, 80, 60, 0.7, 1))
    run(OpenedDetector(raw), tmp_path)
    assert set(voc.read_voc(tmp_path / "a.xml").boxes) == {
        Box("without_mask", 11, 20, 50, 61),
        Box("with_mask", 40, 20, 80, 60),
    }


def test_a_persons_files_are_never_written(tmp_path: Path) -> None:
    mine = {}
    for name in ("saved.xml", "no.xml", "OTHER.XML", "broken.xml"):
        path = picture((tmp_path / name).with_suffix(".png")).with_name(name)
        if name != "broken.xml":
            voc.write_voc(
                path, Annotation(path, "x.png", 100, 80, (Box("without_mask", 1, 2, 3, 4),) * (name != "no.xml"))
            )
        else:
            path.write_text("<annotation>prelabel")
        mine[path] = path.read_bytes()
    picture(tmp_path / "link.png")
    (tmp_path / "link.xml").symlink_to(tmp_path / "not there")
    detector = Fixed((10, 20, 50, 60, 0.9, 1))
    summary = run(detector, tmp_path)
    assert (summary.kept, summary.written, detector.seen) == (5, 0, 0)
    assert {path: path.read_bytes() for path in mine} == mine
    assert (tmp_path / "link.xml").is_symlink()
    assert not (tmp_path / "OTHER.xml").exists() or (tmp_path / "OTHER.xml").samefile(tmp_path / "OTHER.XML")


def test_the_xml_of_a_longer_name_is_another(tmp_path: Path) -> None:
    for name in ("a.png", "a.b.png"):
        picture(tmp_path / name)
    assert run(FACE, tmp_path).written == run(FACE, tmp_path).written == 2


def test_a_better_model_may_write_an_untouched_file_anew(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    run(FACE, tmp_path)
    summary = run(Fixed((1, 2, 30, 40, 0.8, 2)), tmp_path)
    assert summary.written == 1
    assert voc.read_voc(tmp_path / "a.xml").boxes == (Box("without_mask", 1, 2, 30, 40),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<xmax>50", "<xmax>51"),
        ("with_mask", "without_mask"),
        ("<difficult>0", "<difficult>1"),
        # What labelImg writes there, also where the boxes were right.
        (r"<database>.*<", "<database>Unknown<"),
    ],
)
def test_a_corrected_file_is_a_persons(tmp_path: Path, old: str, new: str) -> None:
    xml = picture(tmp_path / "a.png").with_suffix(".xml")
    run(FACE, tmp_path)
    corrected, changes = re.subn(old, new, xml.read_text())
    assert changes == 1
    xml.write_text(corrected)
    summary = run(Fixed((1, 2, 30, 40, 0.8, 2)), tmp_path)
    assert (summary.kept, summary.written) == (1, 0)
    assert xml.read_text() == corrected


def test_nothing_found_makes_no_negative(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert run(Fixed(), tmp_path).nothing == 1
    assert not (tmp_path / "a.xml").exists()
    assert run(FACE, tmp_path).text(tmp_path).endswith(f" Correct them now: make label IMAGES={tmp_path}")
    assert (tmp_path / "a.xml").exists()
    assert "label them by hand" in run(Fixed(), tmp_path).text(tmp_path)
    assert not (tmp_path / "a.xml").exists()


def test_a_person_who_saves_while_the_model_looks_wins(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    xml = path.with_suffix(".xml")

    class Slow(Fixed):
        def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
            voc.write_voc(xml, Annotation(xml, "a.png", 100, 80, ()))
            return super().detect(images)

    assert run(Slow((10, 20, 50, 60, 0.9, 1)), tmp_path).kept == 1
    assert voc.read_voc(xml).boxes == ()


def test_broken_and_ambiguous_files_are_named_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    picture(tmp_path / "two.png")
    picture(tmp_path / "two.jpg")
    picture(tmp_path / "z.png")
    summary = run(FACE, tmp_path)
    assert summary.written == 1
    assert sorted(path.name for path in summary.failed) == ["broken.png", "two.jpg", "two.png"]
    said = capsys.readouterr().err
    assert all(name in said for name in ("broken.png", "two.jpg", "two.png", "two.xml"))
    assert sorted(path.name for path in tmp_path.glob("*.xml")) == ["z.xml"]


def test_best_takes_the_thresholds_of_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "images" / "a.png")
    metrics = tmp_path / "reports" / "some" / "metrics.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text(json.dumps({"classes": LABEL_MAP.names, "thresholds": {"with_mask": 0.95, "without_mask": 0.3}}))
    chosen = ChosenDetector("some", LABEL_MAP, {}, (), lambda: FACE)
    monkeypatch.setattr(detector_choice, "choose_detector", lambda choice: chosen)
    with pytest.raises(typer.Exit):
        prelabel_command.main(images=tmp_path / "images", threshold="best", reports=tmp_path / "reports")
    assert [box.label for box in voc.read_voc(tmp_path / "images" / "a.xml").boxes] == ["without_mask"]


def test_large_pictures_are_prelabelled_in_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    monkeypatch.setattr("facemask.detect.tiling.LARGE", 100 * 80)
    detector = Fixed()
    chosen = ChosenDetector("some", LABEL_MAP, {}, (), lambda: detector)
    monkeypatch.setattr(detector_choice, "choose_detector", lambda choice: chosen)
    with pytest.raises(typer.Exit):
        prelabel_command.main(images=tmp_path)
    assert detector.seen >= 3, "the picture as a whole and at least two tiles"
