import os
from pathlib import Path

import made_data
import pytest
from made_data import CLASSES, box, save
from PIL import Image

from facemask.core.errors import UserError
from facemask.data import voc
from facemask.data.data_rules import ERROR, RULES, Finding, printable, refuse_stopping_findings
from facemask.data.discovery import DiscoveredPicture, discover_pictures
from facemask.data.labelled_picture import LabelledPicture, read_labelled_picture
from facemask.data.voc import Annotation, Box


def read(folder: Path, source: DiscoveredPicture) -> LabelledPicture:
    return read_labelled_picture(folder, source, CLASSES)[0]


def read_only_picture(folder: Path) -> LabelledPicture:
    [source], _ = discover_pictures(folder)
    return read(folder, source)


def rules(findings: list[Finding] | tuple[Finding, ...]) -> list[str]:
    return sorted(finding.rule for finding in findings)


def test_clean_pictures_have_no_findings(tmp_path: Path):
    made_data.data_set(tmp_path)
    sources, findings = discover_pictures(tmp_path)
    assert len(sources) == 20
    assert not findings
    for source in sources:
        picture = read(tmp_path, source)
        assert picture.usable
        assert not picture.findings


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
    sources, findings = discover_pictures(tmp_path)
    assert [(source.name, source.xml, source.folder_split) for source in sources] == [
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


def test_images_in_a_format_that_is_not_read_are_found(tmp_path: Path):
    for name in ("a.heic", "b.HEIC"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r" 2 pictures are in a format that is not read \(a\.heic, b\.HEIC\): convert"):
        discover_pictures(tmp_path)
    save(tmp_path, "a.jpg")
    sources, findings = discover_pictures(tmp_path)
    assert [source.name for source in sources] == ["a.jpg"]
    assert findings == [Finding("unread_format", "a.heic"), Finding("unread_format", "b.HEIC")]
    (tmp_path / "b.xml").write_text("<annotation/>")
    with pytest.raises(UserError, match=r"b\.xml: XML without its image: the format of b\.HEIC is not read"):
        refuse_stopping_findings(tmp_path, discover_pictures(tmp_path)[1])


def test_of_several_images_the_named_one_counts(tmp_path: Path):
    save(tmp_path, "a.jpg")
    save(tmp_path, "a.png", filename="C:\\photos\\a.png")
    [source], findings = discover_pictures(tmp_path)
    assert source.name == "a.png"
    why = "a.xml is that of a.png; rename this image before you label it"
    assert findings == [Finding("image_without_xml", "a.jpg", why)]
    save(tmp_path, "a.png", filename="../../etc/passwd")
    sources, findings = discover_pictures(tmp_path)
    assert not sources
    assert rules(findings) == ["several_images"]


def test_several_xml_files_of_one_name_stop(tmp_path: Path):
    save(tmp_path, "a.jpg")
    (tmp_path / "a.XML").write_bytes((tmp_path / "a.xml").read_bytes())
    save(tmp_path, "b.jpg")
    sources, findings = discover_pictures(tmp_path)
    assert [source.name for source in sources] == ["b.jpg"]
    with pytest.raises(UserError, match=r"a\.XML: several XML files of one name: a\.XML, a\.xml\. Keep one of them"):
        refuse_stopping_findings(tmp_path, findings)


def test_a_folder_without_labelled_images_is_said(tmp_path: Path):
    with pytest.raises(UserError, match="missing"):
        discover_pictures(tmp_path / "missing")
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UserError):
        discover_pictures(tmp_path)


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
    sources, findings = discover_pictures(inside)
    assert [source.name for source in sources] == ["a.jpg", "same.jpg"]
    assert rules(findings) == ["link_not_followed"] * 2 + ["link_outside"] * 3
    picture = read(inside, sources[0])
    assert picture.usable
    assert rules(picture.findings) == ["other_filename"]
    with pytest.raises(UserError, match=r"link\.jpg"):
        refuse_stopping_findings(inside, findings)


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
    sources, findings = discover_pictures(tmp_path)
    assert sorted(source.name for source in sources) == sorted(names)
    assert rules(findings) == ["unusable_name"] * 2
    for source in sources:
        assert read(tmp_path, source).usable
    assert all(str(finding).isprintable() for finding in findings)
    assert printable("new\nline \x1b[31m\udce9\u2028") == "new\\nline \\x1b[31m\\udce9\\u2028"


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
    picture = read_only_picture(tmp_path)
    assert rules(picture.findings) == ([rule] if rule else [])
    kept = () if left is None else (Box("with_mask", *left, difficult=True),)
    assert picture.boxes == (Box("without_mask", 1, 2, 30, 40), *kept)
    assert picture.usable


def test_an_image_that_lost_all_its_boxes_is_no_negative(tmp_path: Path):
    save(tmp_path, "lost.jpg", [box(corners=(70, 10, 80, 20))])
    picture = read_only_picture(tmp_path)
    assert not picture.usable
    assert rules(picture.findings) == ["box_outside", "lost_all_boxes"]
    save(tmp_path, "lost.jpg", [])
    assert read_only_picture(tmp_path).usable


def test_unknown_labels_suggest_the_nearest(tmp_path: Path):
    save(tmp_path, "a.jpg", [box("with-mask"), box("with-mask"), box("WITHOUT mask"), box("dog")])
    picture = read_only_picture(tmp_path)
    assert not picture.usable
    assert [finding.count for finding in picture.findings if finding.rule == "unknown_label"] == [2, 1, 1]
    text = "\n".join(map(str, picture.findings))
    assert '"with-mask" (did you mean with_mask?)' in text
    assert '"WITHOUT mask" (did you mean without_mask?)' in text
    assert '"dog"' in text
    assert "dog (" not in text


def test_what_is_said_of_the_image(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = made_data.encoded(made_data.picture(), exif=exif)
    save(tmp_path, "a.jpg", data=turned, size=(48, 64))
    assert rules(read_only_picture(tmp_path).findings) == ["oriented"]
    save(tmp_path, "a.jpg", data=turned, size=(64, 48))
    assert rules(read_only_picture(tmp_path).findings) == ["labelled_sideways", "oriented"]
    save(tmp_path, "a.jpg", size=(640, 480))
    assert rules(read_only_picture(tmp_path).findings) == ["size_differs"]
    assert read_only_picture(tmp_path).usable
    save(tmp_path, "a.jpg", size=(0, 0))
    assert not read_only_picture(tmp_path).findings
    frames = [made_data.picture(1), made_data.picture(2)]
    save(tmp_path, "a.jpg", data=made_data.encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert rules(read_only_picture(tmp_path).findings) == ["animated"]
    save(tmp_path, "a.jpg", [box(), box("without_mask"), box()])
    [finding] = read_only_picture(tmp_path).findings
    assert (finding.rule, finding.count) == ("box_duplicate", 1)


def test_broken_files_are_named(tmp_path: Path):
    image = save(tmp_path, "a.jpg")
    image.write_bytes(image.read_bytes()[:400])
    picture = read_only_picture(tmp_path)
    assert rules(picture.findings) == ["bad_image"]
    assert str(picture.findings[0]).startswith("a.jpg: ")
    (tmp_path / "a.xml").write_text("<annotation>")
    [finding] = read_only_picture(tmp_path).findings
    assert (finding.rule, finding.path) == ("bad_xml", "a.xml")
    assert str(tmp_path) not in str(finding)


def test_refusals_are_listed():
    findings = [Finding("bad_image", f"{number}.jpg", "cut off") for number in range(30)]
    with pytest.raises(UserError) as error:
        refuse_stopping_findings(Path("images"), [*findings, Finding("oriented", "a.jpg")], shown=5)
    lines = str(error.value).splitlines()
    assert len(lines) == 7
    assert "30" in lines[0]
    assert all(f"{number}.jpg" in lines[number + 1] for number in range(5))
    assert "25" in lines[6]
    refuse_stopping_findings(Path("images"), [Finding(name, "a") for name, rule in RULES.items() if not rule.stops])


def test_a_finding_that_ends_in_a_full_stop_gets_no_second_one():
    with pytest.raises(UserError, match=r"XML that is not an annotation: has a document type\. Correct or remove it\."):
        refuse_stopping_findings(Path("images"), [Finding("bad_xml", "a.xml", "has a document type.")])


def test_every_rule_that_stops_is_an_error():
    assert all(rule.level == ERROR for rule in RULES.values() if rule.stops)


def test_the_image_may_go_away_meanwhile(tmp_path: Path):
    picture = read(tmp_path, DiscoveredPicture("gone.jpg", "xml"))
    assert rules(picture.findings) == ["bad_xml"]
    voc.write_voc(tmp_path / "gone.xml", Annotation(tmp_path, "gone.jpg", 1, 1, ()))
    picture = read(tmp_path, DiscoveredPicture("gone.jpg", "xml"))
    assert rules(picture.findings) == ["bad_image"]
