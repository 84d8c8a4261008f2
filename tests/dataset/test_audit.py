import os
from pathlib import Path

import made_data
import pytest
from made_data import CLASSES, box, save
from PIL import Image

from scripts.dataset import audit, voc
from scripts.dataset.audit import RULES, Examined, Finding, Item
from scripts.dataset.voc import Annotation, Box
from scripts.support.errors import UserError


def examine(folder: Path, size: int | None = None) -> Examined:
    [item], _ = audit.discover(folder)
    return audit.examine(folder, item, CLASSES, size)


def rules(findings: list[Finding] | tuple[Finding, ...]) -> list[str]:
    return sorted(finding.rule for finding in findings)


def test_clean_pictures_have_no_findings(tmp_path: Path):
    made_data.data_set(tmp_path)
    items, findings = audit.discover(tmp_path)
    assert len(items) == 20
    assert not findings
    for item in items:
        examined = audit.examine(tmp_path, item, CLASSES, size=640)
        assert examined.usable
        assert not examined.findings


def test_files_find_each_other(tmp_path: Path):
    save(tmp_path, "a.jpg")
    save(tmp_path, "b.c.png")
    save(tmp_path, "train/a.jpg")
    save(tmp_path, "more/val/a.jpg")
    (tmp_path / "a.JPG").write_bytes(b"")
    (tmp_path / "a.JPG").unlink()
    (tmp_path / ".hidden.xml").write_text("x")
    save(tmp_path, ".git/a.jpg")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "alone.png").write_bytes(made_data.encoded(made_data.picture(), "PNG"))
    (tmp_path / "orphan.xml").write_text("<annotation/>")
    (tmp_path / "upper.XML").write_text("<annotation/>")
    (tmp_path / "upper.JPEG").write_bytes(b"")
    items, findings = audit.discover(tmp_path)
    assert [(item.name, item.xml, item.folder_split) for item in items] == [
        ("a.jpg", "a.xml", None),
        ("b.c.png", "b.c.xml", None),
        ("more/val/a.jpg", "more/val/a.xml", None),
        ("train/a.jpg", "train/a.xml", "train"),
        ("upper.JPEG", "upper.XML", None),
    ]
    assert [(finding.rule, finding.path) for finding in findings] == [
        ("image_without_xml", "alone.png"),
        ("xml_without_image", "orphan.xml"),
    ]


def test_of_several_images_the_named_one_counts(tmp_path: Path):
    save(tmp_path, "a.jpg")
    save(tmp_path, "a.png", filename="C:\\photos\\a.png")
    [item], findings = audit.discover(tmp_path)
    assert item.name == "a.png"
    assert not findings
    save(tmp_path, "a.png", filename="../../etc/passwd")
    items, findings = audit.discover(tmp_path)
    assert not items
    assert rules(findings) == ["several_images"]


def test_a_folder_without_labelled_images_is_said(tmp_path: Path):
    with pytest.raises(UserError, match="no such folder"):
        audit.discover(tmp_path / "missing")
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="no Pascal VOC XML"):
        audit.discover(tmp_path)


def test_nothing_outside_of_the_folder_is_read(tmp_path: Path):
    inside = tmp_path / "images"
    save(inside, "a.jpg", filename="../../../etc/passwd")
    save(tmp_path / "outside", "secret.jpg")
    (inside / "link.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    (inside / "link.xml").symlink_to("../outside/secret.xml")
    (inside / "folder").symlink_to(tmp_path / "outside", target_is_directory=True)
    (inside / "loop").symlink_to(inside, target_is_directory=True)
    (inside / "dangling.xml").symlink_to("nowhere.xml")
    (inside / "same.jpg").symlink_to("a.jpg")
    (inside / "same.xml").symlink_to("a.xml")
    (tmp_path / "images-not").mkdir()
    (tmp_path / "images-not" / "b.xml").write_text("<annotation/>")
    (inside / "b.xml").symlink_to("../images-not/b.xml")
    items, findings = audit.discover(inside)
    assert [item.name for item in items] == ["a.jpg", "same.jpg"]
    assert rules(findings) == ["link_not_followed"] * 2 + ["link_outside"] * 3
    examined = audit.examine(inside, items[0], CLASSES)
    assert examined.usable
    assert rules(examined.findings) == ["other_filename"]
    with pytest.raises(UserError, match="symbolic link out of the folder"):
        audit.refuse(inside, findings)


def test_names_of_any_kind(tmp_path: Path):
    names = [
        "a b.jpg",
        'it\'s "quoted".jpg',
        "$(touch x).jpg",
        "new\nline.jpg",
        "grün 面具 😷.jpg",
        "-rf.jpg",
        "[red].jpg",
    ]
    for name in names:
        save(tmp_path, name)
    latin = save(tmp_path, "latin.jpg")
    for suffix in (".jpg", ".xml"):
        latin.with_suffix(suffix).rename(tmp_path / os.fsdecode(b"\xe9t\xe9" + suffix.encode()))
    items, findings = audit.discover(tmp_path)
    assert sorted(item.name for item in items) == sorted(names)
    assert rules(findings) == ["unusable_name"] * 2
    for item in items:
        assert audit.examine(tmp_path, item, CLASSES).usable
    assert all(str(finding).isprintable() for finding in findings)
    assert audit.printable("new\nline \x1b[31m\udce9\u2028") == "new\\nline \\x1b[31m\\udce9\\u2028"


@pytest.mark.parametrize(
    ("corners", "rule", "left"),
    [
        ((0, 0, 64, 48), None, (0, 0, 64, 48)),
        ((10, 10, 65, 20), "box_clipped", (10, 10, 64, 20)),
        ((-5, -5, 10, 10), "box_clipped", (0, 0, 10, 10)),
        ((-1e9, -1e9, 1e9, 1e9), "box_clipped", (0, 0, 64, 48)),
        ((64, 10, 80, 20), "box_outside", None),
        ((-9, 10, 0, 20), "box_outside", None),
        ((63.5, 10, 80, 20), "box_outside", None),
        ((10, 10, 10, 20), "box_empty", None),
        ((10, 10, 10.5, 20), "box_empty", None),
        ((20, 10, 10, 20), "box_inverted", None),
        ((10, 20, 20, 10), "box_inverted", None),
    ],
)
def test_boxes(tmp_path: Path, corners: tuple[float, ...], rule: str | None, left: tuple[float, ...] | None):
    save(tmp_path, "a.jpg", [box("without_mask", (1, 2, 30, 40)), box("with_mask", corners, difficult=True)])
    examined = examine(tmp_path)
    assert rules(examined.findings) == ([rule] if rule else [])
    kept = () if left is None else (Box("with_mask", *left, difficult=True),)
    assert examined.boxes == (Box("without_mask", 1, 2, 30, 40), *kept)
    assert examined.usable


def test_an_image_that_lost_all_its_boxes_is_no_negative(tmp_path: Path):
    save(tmp_path, "lost.jpg", [box(corners=(70, 10, 80, 20))])
    examined = examine(tmp_path)
    assert not examined.usable
    assert rules(examined.findings) == ["box_outside", "lost_all_boxes"]
    save(tmp_path, "lost.jpg", [])
    assert examine(tmp_path).usable


def test_unknown_labels_suggest_the_nearest(tmp_path: Path):
    save(tmp_path, "a.jpg", [box("with-mask"), box("with-mask"), box("WITHOUT mask"), box("dog")])
    examined = examine(tmp_path)
    assert not examined.usable
    assert [finding.count for finding in examined.findings if finding.rule == "unknown_label"] == [2, 1, 1]
    text = "\n".join(map(str, examined.findings))
    assert '"with-mask" (did you mean with_mask?)' in text
    assert '"WITHOUT mask" (did you mean without_mask?)' in text
    assert '"dog"' in text
    assert "dog (" not in text


def test_what_is_said_of_the_image(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = made_data.encoded(made_data.picture(), exif=exif)
    save(tmp_path, "a.jpg", data=turned, size=(48, 64))
    assert rules(examine(tmp_path).findings) == ["oriented"]
    save(tmp_path, "a.jpg", data=turned, size=(64, 48))
    assert rules(examine(tmp_path).findings) == ["labelled_sideways", "oriented"]
    save(tmp_path, "a.jpg", size=(640, 480))
    assert rules(examine(tmp_path).findings) == ["size_differs"]
    assert examine(tmp_path).usable
    save(tmp_path, "a.jpg", size=(0, 0))
    assert not examine(tmp_path).findings
    frames = [made_data.picture(1), made_data.picture(2)]
    save(tmp_path, "a.jpg", data=made_data.encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert rules(examine(tmp_path).findings) == ["animated"]
    save(tmp_path, "a.jpg", [box(), box("without_mask"), box()])
    [finding] = examine(tmp_path).findings
    assert (finding.rule, finding.count) == ("box_duplicate", 1)


def test_tiny_boxes_depend_on_the_training_size(tmp_path: Path):
    save(tmp_path, "a.jpg", [box(corners=(10, 10, 12, 40)), box()])
    assert rules(examine(tmp_path, size=64).findings) == ["box_tiny"]
    assert rules(examine(tmp_path, size=128).findings) == []


def test_broken_files_are_named(tmp_path: Path):
    image = save(tmp_path, "a.jpg")
    image.write_bytes(image.read_bytes()[:400])
    examined = examine(tmp_path)
    assert rules(examined.findings) == ["bad_image"]
    assert str(examined.findings[0]).startswith("a.jpg: image that cannot be decoded: ")
    (tmp_path / "a.xml").write_text("<annotation>")
    [finding] = examine(tmp_path).findings
    assert (finding.rule, finding.path) == ("bad_xml", "a.xml")
    assert str(tmp_path) not in str(finding)


def test_refusals_are_listed():
    findings = [Finding("bad_image", f"{number}.jpg", "cut off") for number in range(30)]
    with pytest.raises(UserError) as error:
        audit.refuse(Path("images"), [*findings, Finding("oriented", "a.jpg")], shown=5)
    lines = str(error.value).splitlines()
    assert lines[0] == "images: 30 problem(s) to put right first:"
    assert lines[1].startswith("  0.jpg: image that cannot be decoded: cut off. Replace it")
    assert lines[6] == "  ... and 25 more: make check lists all."
    audit.refuse(Path("images"), [Finding(name, "a") for name, rule in RULES.items() if not rule.stops])


def test_every_rule_that_stops_is_an_error():
    assert all(rule.level == audit.ERROR for rule in RULES.values() if rule.stops)


def test_same_pictures_are_found_across_splits():
    names, held_in = ["b.jpg", "a.jpg", "c.jpg", "d.jpg"], ["test", "train", "val", "val"]
    looks = [0, 1, 2**128 - 1, 2**128 - 2]
    assert [(f.rule, f.path, f.count) for f in audit.same_pictures(names, held_in, looks)] == [
        ("same_across_splits", "a.jpg", 2),
        ("same_picture", "c.jpg", 2),
    ]


def test_the_image_may_go_away_meanwhile(tmp_path: Path):
    examined = audit.examine(tmp_path, Item("gone.jpg", "xml"), CLASSES)
    assert rules(examined.findings) == ["bad_xml"]
    voc.write(tmp_path / "gone.xml", Annotation(tmp_path, "gone.jpg", 1, 1, ()))
    examined = audit.examine(tmp_path, Item("gone.jpg", "xml"), CLASSES)
    assert rules(examined.findings) == ["bad_image"]
