import csv
import json
import os
import random
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import made_data
import made_labels
import pytest
from made_labels import HEIGHT, MAKERS, TWO, WIDTH, mapping

from facemask.core.errors import UserError
from facemask.data import label_import
from facemask.data.discovery import discover_pictures
from facemask.data.label_formats.label_source import open_label_source
from facemask.data.label_import import ImportOptions, ImportReport, import_labels
from facemask.data.labelled_picture import read_labelled_pictures
from facemask.data.voc import Box, read_voc

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the two pictures."""
    folder = tmp_path / "faces"
    made_labels.pictures(folder, list(TWO))
    return folder


def run(source: Path, pictures: Path | None = None, names: str = "", dropped: str = "", **options: Any) -> ImportReport:
    place = source.parent
    chosen = ImportOptions(processes=1, **options)
    return import_labels(source, place / "images", place / "annotations", mapping(names, dropped), chosen, pictures)


def imported(folder: Path) -> dict[str, tuple[Box, ...]]:
    return {path.name: read_voc(path).boxes for path in sorted(folder.glob("*.xml"))}


def assert_nothing_written(place: Path) -> None:
    visible = [path for path in (place / "images").rglob("*") if path.name != ".import.lock"]
    assert visible == []
    assert not (place / "annotations").exists()


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# ---- what is recognised ----


@pytest.mark.parametrize("how", ["folder", "file", "zip"])
@pytest.mark.parametrize("name", MAKERS)
def test_each_format_is_recognised_and_keeps_its_boxes(source: Path, name: str, how: str) -> None:
    given = MAKERS[name](source, TWO)
    if how == "zip":
        given = made_labels.zipped(source, source.parent / "faces.zip")
    elif how == "folder" or given.is_dir():
        given = source
    report = import_labels(given, source.parent / "images", source.parent / "annotations", mapping())
    assert report.folder is not None
    found = imported(report.folder)
    assert list(found) == ["a.xml", "b.xml"]
    for name_, boxes in TWO.items():
        for box, other in zip(boxes, found[name_.replace("jpg", "xml")], strict=True):
            assert box.label == other.label
            corners = [(getattr(one, side) for side in ("xmin", "ymin", "xmax", "ymax")) for one in (box, other)]
            assert list(corners[1]) == pytest.approx(list(corners[0]), abs=0.001)
    for name_ in TWO:
        assert (report.folder / name_).read_bytes() == (source / name_).read_bytes()
    labelled, findings = discover_pictures(source.parent / "images")
    assert ([picture.name for picture in labelled], findings) == ([f"{report.folder.name}/{n}" for n in TWO], [])


@pytest.mark.parametrize("layout", ["{split}/images/a.jpg|{split}/labels/a.jpg", "images/{split}/a.jpg|labels/{split}/a.jpg"])  # fmt: skip # noqa: E501
def test_yolo_pictures_of_one_name_in_two_splits_keep_their_own_labels(tmp_path: Path, layout: str) -> None:
    source = tmp_path / "faces"
    (source / "x").mkdir(parents=True)
    (source / "data.yaml").write_text("names: [with_mask, without_mask]\npath: ../elsewhere\n")
    for number, split in enumerate(("train", "valid")):
        picture, text = (source / part.format(split=split) for part in layout.split("|"))
        for path in (picture, text):
            path.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(made_data.encoded(made_data.picture(number)))
        text.with_suffix(".txt").write_text(f"{number} 0.5 0.5 0.5 0.5\n")
    report = run(source)
    assert report.folder is not None
    rows = json.loads((report.folder / "import.json").read_text())["pictures"]
    for row in rows:
        boxes = read_voc((tmp_path / "images" / row["picture"]).with_suffix(".xml")).boxes
        assert [box.label for box in boxes] == ["without_mask" if "valid" in row["file"] else "with_mask"]
    assert {row["picture"] for row in rows} == {"faces/a.jpg", "faces/a-2.jpg"}


def test_the_names_that_labelimg_writes_beside_its_yolo_labels_are_not_labels(tmp_path: Path) -> None:
    source = tmp_path / "faces"
    made_labels.pictures(source / "images", list(TWO))
    made_labels.yolo(source / "labels", TWO)
    (source / "labels" / "data.yaml").unlink()
    (source / "labels" / "classes.txt").write_text("with_mask\nwithout_mask\n")
    report = run(source)
    assert (report.images, report.boxes) == (2, Counter(with_mask=2, without_mask=1))


def test_splits_of_the_source_are_kept_on_request(tmp_path: Path) -> None:
    source = tmp_path / "faces"
    names = ("train/images/a.jpg", "valid/images/a.jpg", "test/images/b.jpg", "more/c.jpg")
    made_labels.pictures(source, list(names))
    made_labels.coco(source, {name: (made_data.box(),) for name in names})
    report = run(source, keep_splits=True)
    images = tmp_path / "images"
    assert sorted(report.folders) == [images / part for part in ("faces", "test/faces", "train/faces", "val/faces")]
    pictures, findings = read_labelled_pictures(images, made_data.CLASSES)
    assert {picture.name: picture.source.folder_split for picture in pictures} == {
        "faces/c.jpg": None,
        "test/faces/b.jpg": "test",
        "train/faces/a.jpg": "train",
        "val/faces/a.jpg": "val",
    }
    assert findings == []
    with (tmp_path / "annotations" / "sources.csv").open() as file:
        assert {row["picture"] for row in csv.DictReader(file)} == {picture.name for picture in pictures}
    [row] = json.loads((images / "val" / "faces" / "import.json").read_text())["pictures"]
    assert row["file"] == "valid/images/a.jpg"

    # Another import of the same name gets one name in all of them.
    made_labels.pictures(source, ["train/images/d.jpg", "valid/images/e.jpg"])
    made_labels.coco(source, {name: (made_data.box(),) for name in ("train/images/d.jpg", "valid/images/e.jpg")})
    assert sorted(run(source, keep_splits=True).folders) == [images / f"{part}/faces-2" for part in ("train", "val")]


def test_splits_appear_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "faces"
    made_labels.pictures(source, ["train/a.jpg", "valid/b.jpg"])
    made_labels.coco(source, {name: (made_data.box(),) for name in ("train/a.jpg", "valid/b.jpg")})
    rename = Path.rename

    def fails_for_val(path: Path, target: Path) -> Path:
        if Path(target).parent.name == "val":
            raise OSError(28, "No space left on device", str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails_for_val)
    with pytest.raises(UserError, match="No space left"):
        run(source, keep_splits=True)
    assert not [path for path in (tmp_path / "images").rglob("*") if path.is_file() and path.name != ".import.lock"]
    assert not (tmp_path / "annotations" / "sources.csv").exists()


def test_a_roboflow_zip_says_where_it_comes_from(source: Path) -> None:
    made_labels.coco(source, TWO)
    rewrite(source / "_annotations.coco.json", '"license": 1', '"license": 9')
    (source / "README.dataset.txt").write_text("Masks\nhttps://universe.roboflow.com/a/masks\nLicense: CC BY 4.0\n")
    run(made_labels.zipped(source, source.parent / "masks.v1.coco.zip"))
    with (source.parent / "annotations" / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == ["masks.v1.coco/a.jpg", "masks.v1.coco/b.jpg"]
    assert {(row["origin"], row["licence"], row["format"], row["source"]) for row in rows} == {
        ("https://universe.roboflow.com/a/masks", "CC BY 4.0", "coco", "masks.v1.coco.zip")
    }


@pytest.mark.parametrize(("name", "licence"), [("coco", "CC BY 4.0"), ("yolo", "CC BY 4.0"), ("cvat", "unknown")])
def test_origin_and_licence_are_noted_and_can_be_given(source: Path, name: str, licence: str) -> None:
    MAKERS[name](source, TWO)
    run(source)
    table = source.parent / "annotations" / "sources.csv"
    first = list(csv.DictReader(table.open(newline="")))
    assert {row["licence"] for row in first} == {licence}
    other = source.parent / "more"
    made_labels.pictures(other, ["c.jpg"])
    MAKERS[name](other, {"c.jpg": (Box("with_mask", 1, 1, 9, 9),)})
    run(other, licence="CC0", origin="=SUM(A1)")
    rows = list(csv.DictReader(table.open(newline="")))
    assert rows[:2] == first
    assert (rows[2]["picture"], rows[2]["licence"], rows[2]["origin"]) == ("more/c.jpg", "CC0", "'=SUM(A1)")


def test_what_a_user_adds_to_the_table_of_sources_stays(source: Path) -> None:
    made_labels.coco(source, {"a.jpg": TWO["a.jpg"]})
    run(source)
    table = source.parent / "annotations" / "sources.csv"
    header, first = table.read_text().splitlines()
    before = [f"camera,{header},note", f"=1,{first},mine,without a heading"]
    table.write_text("\n".join([*before, ""]))
    made_labels.coco(source, {"b.jpg": TWO["b.jpg"]})
    run(source)
    *kept, new = table.read_text().splitlines()
    assert kept == before
    with table.open(newline="") as file:
        row = list(csv.DictReader(file))[-1]
    assert (row["picture"], row["file"], row["camera"], row["note"]) == ("faces-2/b.jpg", "b.jpg", "", "")
    assert new.startswith(",faces-2/b.jpg,")


def test_a_label_file_finds_its_pictures_elsewhere(source: Path) -> None:
    labels = made_labels.cvat(source.parent / "downloads", TWO)
    with pytest.raises(UserError, match=r"annotations.xml: the picture 'a.jpg' is missing"):
        run(labels)
    assert run(labels, pictures=source).images == 2


def test_what_other_tools_mark_is_kept(source: Path) -> None:
    path = made_labels.coco(source, TWO)
    value = json.loads(path.read_text())
    value["annotations"][0]["iscrowd"] = 1
    value["annotations"][1] |= {"bbox": None, "segmentation": [[1, 2, 11, 2, 11, 20]]}
    path.write_text(json.dumps(value))
    report = run(source)
    assert report.folder is not None
    crowd, polygon = imported(report.folder)["a.xml"]
    assert crowd.difficult
    assert polygon == Box("without_mask", 1, 2, 11, 20)


def test_a_turned_box_becomes_the_upright_box_around_it(source: Path) -> None:
    path = made_labels.cvat(source, {"a.jpg": (Box("with_mask", 20, 10, 40, 20),)})
    rewrite(path, 'occluded="0"', 'occluded="0" rotation="90"')
    report = run(path)
    assert report.folder is not None
    [box] = imported(report.folder)["a.xml"]
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == pytest.approx((25, 5, 35, 25))


def test_a_rectangle_of_label_studio_turns_around_its_corner(source: Path) -> None:
    path = made_labels.label_studio(source, {"a.jpg": (Box("with_mask", 20, 10, 40, 20),)})
    rewrite(path, '"rotation": 0', '"rotation": 90')
    report = run(path)
    assert report.folder is not None
    [box] = imported(report.folder)["a.xml"]
    assert (box.xmin, box.ymin, box.xmax, box.ymax) == pytest.approx((10, 10, 20, 30))


# ---- names ----


def test_names_that_map_to_nothing_are_listed_with_a_guess_and_never_mapped(source: Path) -> None:
    labels = {"a.jpg": [Box("Mask", 1, 1, 9, 9)] * 3, "b.jpg": [Box("no-mask", 1, 1, 9, 9), Box("xyz", 1, 1, 9, 9)]}
    made_labels.coco(source, labels)
    with pytest.raises(UserError) as caught:
        run(source)
    assert "Mask  3 boxes  (did you mean with_mask?)" in str(caught.value)
    assert "no-mask  1 boxes  (did you mean without_mask?)" in str(caught.value)
    assert "xyz  1 boxes\n" in str(caught.value)
    assert_nothing_written(source.parent)
    report = run(source, names="Mask:with_mask,no-mask:without_mask", dropped="xyz")
    assert (report.boxes, report.dropped) == (Counter(with_mask=3, without_mask=1), 1)


def test_a_picture_whose_boxes_are_all_dropped_does_not_count_as_one_without_faces(source: Path) -> None:
    made_labels.yolo(source, {"a.jpg": (Box("hat", 1, 1, 9, 9),), "b.jpg": ()})
    report = run(source, names="hat:")
    assert report.folder is not None
    assert imported(report.folder) == {"b.xml": ()}
    assert report.left_out == ("a.jpg: has only boxes that are dropped",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mask", "'mask' has no colon"),
        (":with_mask", "has no colon"),
        ("mask:with-mask", "'with-mask' is none of the classes .* Did you mean with_mask"),
        ("mask:with_mask,mask:without_mask", "'mask' stands there twice"),
        ("masc:with_mask", "'masc', and no box has that name. Did you mean mask"),
    ],
)
def test_a_wrong_map_is_refused(source: Path, text: str, message: str) -> None:
    made_labels.coco(source, {"a.jpg": (Box("mask", 1, 1, 9, 9),)})
    with pytest.raises(UserError, match=message):
        run(source, names=text)
    assert_nothing_written(source.parent)


def test_a_relation_in_label_studio_is_passed_over(source: Path) -> None:
    path = made_labels.label_studio(source, TWO)
    tasks = json.loads(path.read_text())
    relation = {"type": "relation", "from_id": "box1", "to_id": "box2", "direction": "right", "labels": []}
    tasks[0]["annotations"][0]["result"].append(relation)
    path.write_text(json.dumps(tasks))
    assert run(source).boxes == Counter(with_mask=2, without_mask=1)


def test_the_picture_beside_an_xml_counts_before_its_filename(source: Path) -> None:
    for stem, other, box in (("a", "b", TWO["a.jpg"]), ("b", "a", TWO["b.jpg"])):
        made_labels.voc(source, {f"{stem}.jpg": box})
        rewrite(source / "Annotations" / f"{stem}.xml", f"{stem}.jpg<", f"{other}.jpg<")
        (source / "Annotations" / f"{stem}.xml").rename(source / f"{stem}.xml")
    report = run(source)
    assert report.folder is not None
    assert imported(report.folder) == {"a.xml": TWO["a.jpg"], "b.xml": TWO["b.jpg"]}


def test_of_several_pictures_beside_an_xml_its_filename_names_one(source: Path) -> None:
    made_labels.pictures(source, ["a.png"])
    made_labels.voc(source, {"a.png": TWO["a.jpg"]})
    (source / "Annotations" / "a.xml").rename(source / "a.xml")
    report = run(source)
    assert report.folder is not None
    assert (report.folder / "a.png").exists()
    rewrite(source / "a.xml", "a.png", "b.jpg")
    with pytest.raises(UserError, match=r"'a' may be a\.jpg or a\.png"):
        run(source)


def test_a_byte_order_mark_is_no_part_of_a_name_or_a_box(source: Path) -> None:
    made_labels.yolo(source, TWO)
    (source / "data.yaml").unlink()
    (source / "classes.txt").write_text("with_mask\nwithout_mask\n")
    for path in source.glob("*.txt"):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert run(source).boxes == Counter(with_mask=2, without_mask=1)


# ---- copies, links, names of files ----


def test_pictures_that_are_there_are_named_and_left_out(source: Path) -> None:
    there = source.parent / "images"
    made_labels.pictures(there, ["mine.jpg"])
    (there / "mine.jpg").write_bytes((source / "a.jpg").read_bytes())
    made_labels.coco(source, TWO)
    report = run(source)
    assert (report.images, report.left_out) == (1, (f"a.jpg: is the same as {there / 'mine.jpg'}",))
    again = run(source)
    assert (again.folder, again.images, len(again.left_out)) == (None, 0, 2)
    assert "Nothing was imported" in again.text()
    assert sorted(path.name for path in there.iterdir()) == [".import.lock", "faces", "mine.jpg"]


def test_a_picture_that_looks_like_one_that_is_there_is_left_out_unless_wanted(source: Path) -> None:
    there = source.parent / "images"
    there.mkdir()
    seen = made_data.picture(made_data.hash_of("a.jpg"), WIDTH, HEIGHT)
    (there / "mine.png").write_bytes(made_data.encoded(seen.resize((128, 96)), "PNG"))
    made_labels.coco(source, TWO)
    report = run(source)
    assert report.images == 1
    assert report.left_out[0] == f"a.jpg: looks like {there / 'mine.png'}"
    wanted = run(source, keep_look_alikes=True)
    assert wanted.images == 1
    assert wanted.text().startswith(f"a.jpg: looks like {there / 'mine.png'}.\n")


def test_links_share_the_file_and_copies_do_not(source: Path) -> None:
    made_labels.coco(source, TWO)
    linked = run(source, link=True, name="linked")
    assert linked.folder is not None
    assert (linked.folder / "a.jpg").samefile(source / "a.jpg")
    with pytest.raises(UserError, match=r"x\.zip"):
        run(made_labels.zipped(source, source.parent / "x.zip"), link=True)


def test_nothing_is_overwritten(source: Path) -> None:
    there = source.parent / "images" / "faces"
    there.mkdir(parents=True)
    (there / "a.jpg").write_bytes(b"mine")
    made_labels.coco(source, TWO)
    report = run(source)
    assert report.folder == there.with_name("faces-2")
    assert (there / "a.jpg").read_bytes() == b"mine"


def test_a_source_named_like_a_split_does_not_become_one(tmp_path: Path) -> None:
    made_labels.pictures(tmp_path / "train", list(TWO))
    made_labels.coco(tmp_path / "train", TWO)
    report = run(tmp_path / "train")
    assert report.folder == tmp_path / "images" / "import-train"


def test_pictures_without_labels_are_named(source: Path) -> None:
    made_labels.yolo(source, {"a.jpg": TWO["a.jpg"]})
    assert run(source).notes == ("1 pictures have no labels and are left out: b.jpg",)


def test_files_whose_names_are_not_utf_8_are_counted(source: Path) -> None:
    made_labels.coco(source, TWO)
    (source / os.fsdecode(b"\xe9.jpg")).write_bytes(b"")
    assert run(source).notes == ("1 files or folders whose names are not UTF-8 are left out",)


def test_a_file_of_labels_may_lie_beside_a_folder_that_cannot_be_read(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_labels.coco(source, TWO)
    (source / "private").mkdir()
    scan = os.scandir

    def refusing(folder: Path | int) -> Any:
        if folder == source / "private":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    report = run(path)
    assert report.images == 2
    assert report.notes == ("1 folder that cannot be read (private: Permission denied) is left out",)


def test_a_link_to_a_file_of_labels_is_followed(source: Path) -> None:
    link = source.parent / "link.json"
    link.symlink_to(made_labels.coco(source, TWO))
    assert run(link).images == 2


def test_tasks_that_nobody_annotated_are_counted_and_twenty_are_named(source: Path) -> None:
    names = [f"c{number:02}.jpg" for number in range(21)]
    made_labels.pictures(source, names)
    path = made_labels.label_studio(source, TWO | dict.fromkeys(names, ()))
    tasks = json.loads(path.read_text())
    for task in tasks[2:]:
        task["annotations"] = []
    path.write_text(json.dumps(tasks))
    note = f"21 pictures have no labels and are left out: {', '.join(names[:20])}, ..."
    assert run(source).notes == (note,)
    assert run(path).notes == (note,)


# ---- bad input: one line each, and nothing is imported ----


BAD = {
    "outside": ("box 1 (with_mask) [5, 6, 70, 30] is outside the picture of 64 x 48", Box("with_mask", 5, 6, 70, 30)),
    "far outside": ("is outside the picture of 64 x 48", Box("with_mask", 500, 600, 700, 800)),
    "swapped": ("has its edges swapped", Box("with_mask", 25, 6, 5, 30)),
    "empty": ("has less than a pixel of width or height", Box("with_mask", 5, 6, 5.5, 30)),
}  # fmt: skip


@pytest.mark.parametrize("name", ["coco", "cvat", "voc", "label_studio"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_box_is_one_line_that_names_its_picture(source: Path, name: str, case: str) -> None:
    message, box = BAD[case]
    MAKERS[name](source, {"a.jpg": (box,), "b.jpg": TWO["b.jpg"]})
    with pytest.raises(UserError) as caught:
        run(source)
    _, line, _ = str(caught.value).splitlines()
    assert message in line
    assert "a.jpg" in line
    assert_nothing_written(source.parent)
    report = run(source, skip=True)
    assert (report.images, len(report.left_out)) == (1, 1)


def test_a_box_that_sticks_out_is_clipped_on_request_and_one_pixel_always(source: Path) -> None:
    made_labels.coco(source, {"a.jpg": (Box("with_mask", -0.6, 6, 30, 48.9),)})
    report = run(source, name="pixel")
    assert report.clipped == 1
    made_labels.coco(source, {"b.jpg": (Box("with_mask", -5, 6, 90, 30),)})
    report = run(source, name="far", clip=True)
    assert report.folder is not None
    assert imported(report.folder) == {"b.xml": (Box("with_mask", 0, 6, 64, 30),)}


@pytest.mark.parametrize("name", MAKERS)
def test_a_missing_picture_is_one_line(source: Path, name: str) -> None:
    MAKERS[name](source, TWO)
    (source / "a.jpg").unlink()
    with pytest.raises(UserError) as caught:
        run(source)
    _, line, _ = str(caught.value).splitlines()
    assert "is missing" in line
    assert_nothing_written(source.parent)


def test_problems_are_listed_up_to_a_limit(source: Path) -> None:
    made_labels.coco(source, {f"gone{number}.jpg": () for number in range(50)})
    with pytest.raises(UserError) as caught:
        run(source)
    assert len(str(caught.value).splitlines()) == 23
    assert "... and 30 more" in str(caught.value)


def test_a_picture_of_another_size_is_refused(source: Path) -> None:
    made_labels.coco(source, TWO)
    (source / "a.jpg").write_bytes(made_data.encoded(made_data.picture(1, 48, 64)))
    with pytest.raises(UserError, match=r"a.jpg: has 48 x 64 pixels, its labels are for 64 x 48"):
        run(source)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme.txt": "hello"}, r"no labels in any known format"),
        ({"a.json": "{"}, r"a.json: not JSON"),
        ({"a.json": "[" * 100_000}, r"a.json: not JSON"),
        ({"a.json": "{}"}, r"no labels in any known format"),
        ({"a.json": '{"images": [], "annotations": [], "categories": []}'}, "lists no pictures"),
        ({"inner.zip": "x"}, "unpack that first"),
        ({"a.xml": "<annotation><object/></annotation>"}, "object 1 has no <name>"),
        ({"a.xml": "<annotations><track/></annotations>"}, "tracks of a video"),
        ({"a.xml": "<annotations><image"}, "not XML"),
        ({"a.xml": '<!DOCTYPE a [<!ENTITY x SYSTEM "/etc/passwd">]><annotations>&x;</annotations>'}, "document type"),
        ({"data.yaml": "names: {a: b}", "a.txt": "0 1 1 1 1"}, "its `names` are neither"),
        ({"data.yaml": "names: [x]", "a.txt": "0 0.5 0.5 0.1 0.1"}, "'a' is missing"),
        ({"data.yaml": "names: [x]", "b.yaml": "names: [y]", "a.txt": "0 1 1 1 1"}, "names other classes"),
        ({"data.yaml": "names: [x]", "labels/a.txt": "0 nan 1 1 1", "images/a.jpg": ""}, "labels/a.txt: Invalid box"),
        ({"data.yaml": "names: [x]", "labels/a.txt": "7 .5 .5 .1 .1", "images/a.jpg": ""}, "line 1 has class 7"),
        ({"data.yaml": "names: [x]", "a.xml": "<annotation/>"}, "Choose one: FORMAT=yolo or FORMAT=voc"),
    ],
)
def test_unknown_and_broken_formats_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        run(tmp_path / "in")
    assert_nothing_written(tmp_path)


def test_a_damaged_file_of_labels_beside_a_good_one_is_not_passed_over(source: Path) -> None:
    made_labels.coco(source, TWO)
    (source / "valid.json").write_text('{"images": [')
    with pytest.raises(UserError, match=r"valid.json: not JSON"):
        run(source)


@pytest.mark.parametrize("name", ["voc", "cvat"])
@pytest.mark.parametrize("data", [b"", b"\0\0", "<annotation>".encode("utf-16")])
def test_a_damaged_xml_beside_a_good_one_is_not_passed_over(source: Path, name: str, data: bytes) -> None:
    MAKERS[name](source, TWO)
    (source / "damaged.xml").write_bytes(data)
    with pytest.raises(UserError, match=r"damaged.xml: not XML"):
        run(source)


def test_a_damaged_xml_alone_is_named(source: Path) -> None:
    (source / "damaged.xml").write_bytes(b"")
    with pytest.raises(UserError, match=r"damaged.xml: not XML"):
        run(source)


@pytest.mark.parametrize("name", ["voc", "cvat"])
def test_xml_in_utf_16_is_read(source: Path, name: str) -> None:
    MAKERS[name](source, TWO)
    for path in source.rglob("*.xml"):
        path.write_text(path.read_text(), encoding="utf-16")
    assert run(source).images == 2


def test_a_picture_that_is_labelled_twice_is_refused(source: Path) -> None:
    made_labels.coco(source, TWO)
    made_labels.coco(source / "more", {"a.jpg": ()})
    with pytest.raises(UserError, match=r"a.jpg: is labelled twice"):
        run(source)
    assert run(source, skip=True).images == 1


def test_the_same_picture_with_other_boxes_is_refused_and_with_the_same_boxes_taken_once(source: Path) -> None:
    for name in ("c.jpg", "d.jpg"):
        (source / name).write_bytes((source / "a.jpg").read_bytes())
    labels = {**TWO, "c.jpg": TWO["a.jpg"][::-1], "d.jpg": TWO["a.jpg"][:1]}
    path = made_labels.coco(source, labels)
    with pytest.raises(UserError, match="nothing was imported") as error:
        run(source)
    problems = {
        f"{name}.jpg: is the same as {other}.jpg, with other boxes ({path.name})"
        for name, other in (("a", "d"), ("c", "d"), ("d", "a"))
    }
    assert {line.strip() for line in str(error.value).splitlines()[1:-1]} == problems
    assert_nothing_written(source.parent)
    skipped = run(source, skip=True)
    assert (skipped.images, set(skipped.left_out)) == (1, problems)
    made_labels.coco(source, {name: labels[name] for name in ("a.jpg", "c.jpg")})
    report = run(source)
    assert (report.images, report.left_out) == (1, ("c.jpg: is the same as a.jpg",))


def test_the_same_picture_with_only_dropped_boxes_hides_no_other(source: Path) -> None:
    (source / "c.jpg").write_bytes((source / "a.jpg").read_bytes())
    made_labels.coco(source, {"c.jpg": [Box("hat", 5, 6, 25, 30)], "a.jpg": TWO["a.jpg"]})
    report = run(source, dropped="hat")
    assert (report.images, report.left_out) == (1, ("c.jpg: has only boxes that are dropped",))


def test_no_such_source_and_no_such_format(source: Path) -> None:
    with pytest.raises(UserError, match=f"{source / 'gone'}: "):
        run(source / "gone")
    with pytest.raises(UserError, match=r"FORMAT=coca: .*coco"):
        run(source, format="coca")


def test_a_file_name_leads_nowhere(source: Path) -> None:
    secret = source.parent / "secret.jpg"
    made_labels.pictures(source.parent, ["secret.jpg"])
    for name in ("../secret.jpg", str(secret), "..\\secret.jpg"):
        made_labels.coco(source, {name: ()})
        with pytest.raises(UserError, match="is missing"):
            run(source)
    (source / "link.jpg").symlink_to(secret)
    made_labels.coco(source, {"link.jpg": ()})
    with pytest.raises(UserError, match="is missing"):
        run(source)


# ---- hostile zips ----


def bomb(path: Path, name: str = "a.json", size: int = 70 << 20) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))


def test_a_zip_bomb_is_not_opened(tmp_path: Path) -> None:
    bomb(tmp_path / "bomb.zip")
    with pytest.raises(UserError, match=r"bomb\.zip: .*70 MB"):
        run(tmp_path / "bomb.zip")


def test_overlapping_members_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "overlap.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", b"0" * 4000)
        archive.writestr("b.json", b"0")
        # The directory points a second member at the first one's bytes.
        archive.infolist()[1].header_offset = 0
        archive.infolist()[1].compress_size = archive.infolist()[1].file_size = 4000
    with pytest.raises(UserError, match=r"overlap\.zip: .*members"):
        run(path)


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "..\\a.jpg", "C:\\a.jpg"])
def test_a_member_that_leads_out_of_the_archive_is_refused(source: Path, name: str) -> None:
    made_labels.coco(source, TWO)
    path = made_labels.zipped(source, source.parent / "x.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(UserError, match=re.escape(name.replace("\\", "/"))):
        run(path)
    assert_nothing_written(source.parent)


def test_what_else_a_zip_can_do_wrong(source: Path) -> None:
    made_labels.coco(source, TWO)
    path = made_labels.zipped(source, source.parent / "x.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("a.jpg", b"x")
    with pytest.raises(UserError, match=r"x\.zip: .*a\.jpg"):
        run(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"x\.zip: "):
        run(path)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(28, "No space left on device", "elsewhere")])
def test_an_error_of_the_import_is_not_blamed_on_the_zip(source: Path, error: Exception) -> None:
    made_labels.coco(source, TWO)
    archive = made_labels.zipped(source, source.parent / "x.zip")
    with pytest.raises(type(error)) as caught, open_label_source(archive):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_named(tmp_path: Path, method: int) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.json", random.Random(0).randbytes(4000))
    whole = bytearray(path.read_bytes())
    whole[60:2000] = b"\xff" * 1940
    path.write_bytes(whole)
    with open_label_source(path) as opened, pytest.raises(UserError, match=r"x\.zip: a\.json cannot be unpacked"):
        opened.read("a.json", 1 << 20)


# ---- interrupted ----


def test_ctrl_c_leaves_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    made_labels.coco(source, TWO)
    monkeypatch.setattr(label_import, "write_voc", stop)
    with pytest.raises(KeyboardInterrupt):
        run(source)
    assert_nothing_written(source.parent)


KILLED = """
import os, sys
from pathlib import Path
from facemask.core.label_map import LabelMap
from facemask.data import label_import
from facemask.data.class_mapping import parse_class_mapping

count = 0
def kill(*arguments):
    global count
    count += 1
    if count == 2:
        os.kill(os.getpid(), 9)
    write(*arguments)
write, label_import.write_voc = label_import.write_voc, kill
place = Path(sys.argv[1])
classes = LabelMap(("with_mask", "without_mask"))
mapping = parse_class_mapping("", "", classes)
label_import.import_labels(place / "faces", place / "images", place / "annotations", mapping)
"""


def test_a_killed_import_leaves_nothing_visible_and_the_next_one_is_whole(source: Path) -> None:
    made_labels.coco(source, TWO)
    done = subprocess.run([sys.executable, "-c", KILLED, str(source.parent)], cwd=ROOT, check=False)
    assert done.returncode == -9
    left = [path.name for path in (source.parent / "images").iterdir()]
    assert ".import" in left
    assert [name for name in left if not name.startswith(".")] == []
    assert not (source.parent / "annotations" / "sources.csv").exists()
    assert run(source).images == 2
    assert not (source.parent / "images" / ".import").exists()


def test_the_step_ends_with_code_2_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.import", "--from", str(tmp_path), "--images", str(tmp_path / "images")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    [line] = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith(f"error: {tmp_path}: no labels in any known format")
