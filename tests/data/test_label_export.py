"""`make labels`, and that no box moves on the way out and in again."""

import errno
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import made_data
import made_labels
import pytest
import supervision as sv
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.data.earlier_records import assigned_splits
from facemask.data.label_export import WRITERS, ExportReport, export_labels
from facemask.data.label_import import ImportOptions, import_labels
from facemask.data.make_records import RecordOptions, make_records
from facemask.data.splits import Proportions
from facemask.data.voc import Box, read_voc

WIDTH, HEIGHT = 640, 480
PIXEL = 1.0


@st.composite
def boxes(draw: st.DrawFn) -> list[Box]:
    def side(length: int) -> tuple[float, float]:
        start = draw(st.floats(0, length - 2, allow_nan=False))
        return start, draw(st.floats(start + 1.5, length, allow_nan=False))

    found = []
    for _ in range(draw(st.integers(0, 4))):
        (left, right), (top, bottom) = side(WIDTH), side(HEIGHT)
        found.append(Box(draw(st.sampled_from(made_data.CLASSES.names)), left, top, right, bottom))
    return found


def export(root: Path, name: str, target: Path | None = None, classes: LabelMap = made_data.CLASSES) -> ExportReport:
    return export_labels(root, root.parent / "annotations", target or root.parent / name, name, classes, processes=1)


def assert_same(one: tuple[Box, ...], other: tuple[Box, ...], within: float = PIXEL) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left.label == right.label
        for side in ("xmin", "ymin", "xmax", "ymax"):
            assert abs(getattr(left, side) - getattr(right, side)) <= within


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=boxes())
def test_no_box_moves_on_the_way_out_and_in_again(name: str, drawn: list[Box]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        image = made_data.encoded(made_data.picture(1, WIDTH, HEIGHT))
        made_data.save(place / "images", "sub/a.jpg", drawn, data=image, size=(WIDTH, HEIGHT))
        export(place / "images", name)
        new = place / "new"
        options = ImportOptions(processes=1)
        report = import_labels(place / name, new, place / "annotations", made_labels.mapping(), options)
        assert report.folder is not None
        [xml] = report.folder.glob("*.xml")
        assert_same(tuple(drawn), read_voc(xml).boxes, within=0.01)


@pytest.mark.parametrize("name", ["coco", "cvat"])
def test_what_labelimg_marks_survives(tmp_path: Path, name: str) -> None:
    box = made_data.box(difficult=True, truncated=True)
    made_data.save(tmp_path / "images", "a.jpg", [box, made_data.box(corners=(1, 1, 9, 9))])
    export(tmp_path / "images", name)
    report = import_labels(tmp_path / name, tmp_path / "new", tmp_path / "annotations", made_labels.mapping())
    assert report.folder is not None
    assert read_voc(report.folder / "a.xml").boxes == (box, made_data.box(corners=(1, 1, 9, 9)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return made_data.data_set(tmp_path / "images", 12)


def test_supervision_reads_our_coco_and_yolo(root: Path) -> None:
    coco = root.parent / "coco"
    assert export(root, "coco").images == 12
    found = sv.DetectionDataset.from_coco(str(coco / "images"), str(coco / "annotations" / "instances_default.json"))
    _check_against(root, found)
    yolo = root.parent / "yolo"
    export(root, "yolo")
    about = yaml.safe_load((yolo / "data.yaml").read_text())
    seen = 0
    for split in ("train", "val", "test"):
        images = yolo / about[split]
        labels = Path(str(images).replace("/images/", "/labels/"))
        part = sv.DetectionDataset.from_yolo(str(images), str(labels), str(yolo / "data.yaml"))
        seen += _check_against(root, part)
    assert seen == 12


def _check_against(root: Path, found: sv.DetectionDataset) -> int:
    assert found.classes == list(made_data.CLASSES.names)
    for path, _, detections in found:
        mine = read_voc((root / Path(path).name).with_suffix(".xml")).boxes
        corners = detections.xyxy.tolist()
        ids = detections.class_id.tolist() if len(detections) else []
        theirs = tuple(Box(found.classes[i], *box) for i, box in zip(ids, corners, strict=True))
        assert_same(mine, theirs)
    return len(found)


@pytest.mark.parametrize("name", ["coco", "yolo", "voc"])
def test_we_read_what_supervision_writes(root: Path, name: str) -> None:
    export(root, "coco")
    coco = root.parent / "coco"
    data = sv.DetectionDataset.from_coco(str(coco / "images"), str(coco / "annotations" / "instances_default.json"))
    theirs = root.parent / "theirs"
    if name == "coco":
        data.as_coco(images_directory_path=str(theirs / "x"), annotations_path=str(theirs / "x.json"))
    elif name == "yolo":
        data.as_yolo(str(theirs / "images"), str(theirs / "labels"), str(theirs / "data.yaml"))
    else:
        data.as_pascal_voc(str(theirs / "JPEGImages"), str(theirs / "Annotations"))
    report = import_labels(theirs, root.parent / "new", root.parent / "annotations", made_labels.mapping())
    assert report.folder is not None
    # Supervision counts the pixels of Pascal VOC from 1, as the challenge did.
    names = {path.stem for path in root.glob("*.xml")}
    assert {path.stem for path in report.folder.glob("*.xml")} == names
    for stem in names:
        assert_same(read_voc(root / f"{stem}.xml").boxes, read_voc(report.folder / f"{stem}.xml").boxes)


@pytest.mark.parametrize("together", [True, False])
def test_yolo_has_the_splits_of_make_records(root: Path, together: bool) -> None:
    (root / "val").mkdir()
    for suffix in ("jpg", "xml"):
        shutil.move(root / f"face001.{suffix}", root / "val" / f"face001.{suffix}")
    for number in range(30):
        made_data.save(root, f"alike{number}.jpg", seed=number // 6)  # look-alikes: five groups of six
    annotations = root.parent / "annotations"
    options = RecordOptions(Proportions(0.4, 0.1, 0.5), look_alikes_together=together)
    make_records(root, annotations, made_data.CLASSES, options)
    split_of, _ = assigned_splits(annotations, options.proportions)
    export(root, "yolo")
    expected = {f"{split}/{name.replace('/', '_')}" for name, split in split_of.items()}
    yolo = root.parent / "yolo"
    assert {path.relative_to(yolo / "images").as_posix() for path in yolo.glob("images/*/*.*")} == expected
    labels = {path.relative_to(yolo / "labels").with_suffix("").as_posix() for path in yolo.glob("labels/*/*.txt")}
    assert labels == {name.rpartition(".")[0] for name in expected}
    assert "val/val_face001.jpg" in expected


def test_what_another_wrote_is_not_replaced(root: Path) -> None:
    target = root.parent / "mine"
    target.mkdir()
    (target / "a.txt").write_text("mine")
    with pytest.raises(UserError, match=f"{target}: "):
        export(root, "coco", target)
    assert [path.name for path in target.iterdir()] == ["a.txt"]
    export(root, "coco")
    before = (root.parent / "coco" / "labels.json").stat().st_ino
    export(root, "coco")
    assert (root.parent / "coco" / "labels.json").stat().st_ino != before
    assert json.loads((root.parent / "coco" / "labels.json").read_text())["made"]["settings"]["images"] == 12


@pytest.mark.parametrize("note", ["{}", '{"made": {"step": "other"}}', "[]", "no JSON"])
def test_a_foreign_folder_with_a_labels_json_is_not_replaced(root: Path, note: str) -> None:
    target = root.parent / "fiftyone"  # FiftyOne's COCO layout: data/ and labels.json
    (target / "data").mkdir(parents=True)
    (target / "labels.json").write_text(note)
    with pytest.raises(UserError, match=f"{target}: .*did not write it"):
        export(root, "coco", target)
    assert (target / "labels.json").read_text() == note


def test_labels_that_were_corrected_are_not_replaced(root: Path) -> None:
    export(root, "yolo")
    corrected = root.parent / "yolo" / "data.yaml"
    later = (root.parent / "yolo" / "labels.json").stat().st_mtime + 1
    os.utime(root.parent / "yolo" / "labels", (later, later))  # a folder's time says nothing of its files
    export(root, "yolo")
    os.utime(corrected, (later, later))
    with pytest.raises(UserError, match=r"yolo: .*data\.yaml in it is newer"):
        export(root, "yolo")
    (root.parent / "yolo" / "labels.json").touch()
    os.utime(root.parent / "yolo" / "labels.json", (later, later))
    (root.parent / "yolo" / "labels" / "train.cache").write_text("by Ultralytics")
    export(root, "yolo")


@pytest.mark.parametrize("kind", ["file", "link to nothing", "link to a folder"])
def test_what_a_user_added_is_not_removed_however_old_it_is(root: Path, kind: str) -> None:
    export(root, "coco")
    added = root.parent / "coco" / "annotations" / "mine"
    if kind == "file":
        added.write_text("mine")
    else:
        added.symlink_to(root if kind == "link to a folder" else "gone")
    os.utime(added, (0, 0), follow_symlinks=False)
    with pytest.raises(UserError, match=r"coco: .*did not write annotations/mine in it\. Move it away"):
        export(root, "coco")
    assert os.path.lexists(added)
    added.unlink()
    export(root, "coco")


def test_a_folder_of_an_earlier_version_without_a_list_of_files_is_not_replaced(root: Path) -> None:
    export(root, "coco")
    note = root.parent / "coco" / "labels.json"
    note.write_text(json.dumps({"made": json.loads(note.read_text())["made"]}))
    with pytest.raises(UserError, match=r"coco: .*labels\.json, which an earlier version wrote, .*Move it away"):
        export(root, "coco")


def test_a_name_that_xml_cannot_hold_is_one_line(tmp_path: Path) -> None:
    picture = made_data.save(tmp_path / "images", "bell.jpg", [made_data.box()])
    for path in (picture.with_suffix(".jpg"), picture.with_suffix(".xml")):
        path.rename(path.with_stem("bell\a"))
    with pytest.raises(UserError, match=r"^bell\\x07\.jpg: .*Rename it\.$"):
        export(tmp_path / "images", "cvat")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]
    assert export(tmp_path / "images", "coco").images == 1


def test_bad_labels_and_a_wrong_format_are_refused(root: Path) -> None:
    with pytest.raises(UserError, match=r"OUT=voc: .*coco, yolo, cvat"):
        export(root, "voc")
    with pytest.raises(UserError, match=str(root / "out")):
        export(root, "coco", root / "out")
    made_data.save(root, "bad.jpg", [made_data.box("mask")])
    with pytest.raises(UserError, match=r"bad\.(jpg|xml): .*with_mask"):
        export(root, "coco")
    assert not (root.parent / "coco").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_data.save(tmp_path / "images", "a.jpg")
    really = Path.mkdir

    def mkdir(path: Path, *args: Any, **options: Any) -> None:  # permissions do not bind root
        if path.name.startswith("."):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        really(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    said = f"{tmp_path / 'coco'}: cannot be written (Permission denied). Make {tmp_path} writable"
    with pytest.raises(UserError, match=f"^{re.escape(said)}"):
        export(tmp_path / "images", "coco")
