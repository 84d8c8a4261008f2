import os
import time
from pathlib import Path

import made_data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facemask.data import voc
from facemask.data.voc import Annotation, Box, VocError

OBJECT = "<object><name>with_mask</name><bndbox>{}</bndbox></object>"
CORNERS = "<xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax>"


def parse(text: str) -> Annotation:
    return voc.parse_voc(Path("a.xml"), text.encode())


def test_reads_what_labelimg_writes():
    text = """<annotation>
        <folder>images</folder><filename>a.jpg</filename><path>/home/x/a.jpg</path>
        <source><database>Unknown</database></source>
        <size><width>400</width><height>267</height><depth>3</depth></size><segmented>0</segmented>
        <object><name>with_mask</name><pose>Left</pose><truncated>1</truncated><difficult>1</difficult>
          <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40.5</ymax></bndbox></object>
        <object><name>without_mask</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
          <part><name>head</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>
          <bndbox><xmin>5</xmin><ymin>6</ymin><xmax>7</xmax><ymax>8</ymax></bndbox></object>
        </annotation>"""
    assert parse(text) == Annotation(
        Path("a.xml"),
        "a.jpg",
        400,
        267,
        (
            Box("with_mask", 1, 2, 30, 40.5, difficult=True, truncated=True, pose="Left"),
            Box("without_mask", 5, 6, 7, 8),
        ),
    )


def test_an_annotation_without_size_or_objects_is_one():
    assert parse("<annotation/>") == Annotation(Path("a.xml"), "", 0, 0, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not XML"),
        ("<annotation>", "not XML"),
        ('{"shapes": []}', "not XML"),
        ("<html/>", "its root is <html>"),
        (f"<annotation>{OBJECT.format('<xmin>1</xmin>')}</annotation>", "object 1 (with_mask): <ymin> is ''"),
        (f"<annotation>{OBJECT.format(CORNERS.replace('30', 'wide'))}</annotation>", "<xmax> is 'wide'"),
        (f"<annotation>{OBJECT.format(CORNERS.replace('30', 'nan'))}</annotation>", "<xmax> is 'nan'"),
        (f"<annotation>{OBJECT.format(CORNERS.replace('30', '1e999'))}</annotation>", "<xmax> is '1e999'"),
        ("<annotation><object><name>x</name></object></annotation>", "object 1 (x) has no <bndbox>"),
        ("<annotation><object/></annotation>", "object 1 has no <name>"),
        ("<annotation><size><width>wide</width></size></annotation>", "<width> is 'wide'"),
        ("<annotation><size><width>1e999</width></size></annotation>", "<width> is '1e999'"),
    ],
)
def test_names_what_is_wrong(text: str, message: str):
    with pytest.raises(VocError) as error:
        parse(text)
    assert str(error.value).startswith("a.xml")
    assert message in str(error.value)


def test_entities_do_no_harm(tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("do not tell")
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 30))
    bomb = f'<!DOCTYPE annotation [<!ENTITY e0 "ha">{levels}]><annotation><filename>&e29;</filename></annotation>'
    outside = f'<!DOCTYPE a [<!ENTITY x SYSTEM "{secret.as_uri()}">]><annotation><filename>&x;</filename></annotation>'
    attribute = bomb.replace("<filename>&e29;</filename>", '<filename a="&e29;"/>')
    remote = '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/a.dtd"><annotation/>'
    begin = time.monotonic()
    for text in (bomb, outside, attribute, remote):
        with pytest.raises(VocError) as error:
            parse(text)
        assert "do not tell" not in str(error.value)
        assert len(str(error.value)) < 500
    assert time.monotonic() - begin < 2


def test_a_gigabyte_is_not_read(tmp_path: Path):
    path = tmp_path / "large.xml"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    begin = time.monotonic()
    with pytest.raises(VocError):
        voc.read_voc(path)
    assert time.monotonic() - begin < 1


def test_a_pipe_or_folder_is_no_file(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.xml")
    (tmp_path / "folder.xml").mkdir()
    for name in ("pipe.xml", "folder.xml"):
        with pytest.raises(VocError):
            voc.read_voc(tmp_path / name)
    with pytest.raises(VocError):
        voc.read_voc(tmp_path / "missing.xml")


def test_a_name_that_xml_cannot_hold_writes_nothing(tmp_path: Path):
    with pytest.raises(VocError):
        voc.write_voc(tmp_path / "a.xml", Annotation(tmp_path, "a\0.jpg", 1, 1, ()))
    assert not list(tmp_path.iterdir())


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)
NUMBER = st.floats(-1e6, 1e6) | st.integers(-5000, 5000).map(float)
BOXES = st.builds(Box, TEXT, NUMBER, NUMBER, NUMBER, NUMBER, st.booleans(), st.booleans(), TEXT)
ANNOTATIONS = st.builds(
    Annotation, st.just(Path("a.xml")), TEXT, st.integers(0, 10**6), st.integers(0, 10**6), st.lists(BOXES).map(tuple)
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(annotation=ANNOTATIONS)
def test_written_is_read_back(annotation: Annotation, tmp_path: Path):
    path = tmp_path / "a.xml"
    voc.write_voc(path, annotation)
    assert voc.parse_voc(annotation.path, path.read_bytes()) == annotation


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_annotations_or_a_clear_error(data: st.DataObject, tmp_path: Path):
    path = tmp_path / "a.xml"
    if not path.exists():
        voc.write_voc(path, Annotation(path, "a.jpg", 64, 48, (made_data.box(), made_data.box("without_mask"))))
    text = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(text) - 1), max_size=4)):
        text[place] = data.draw(st.integers(0, 255))
    part = data.draw(st.slices(len(text)) | st.just(slice(None)))
    try:
        annotation = voc.parse_voc(path, bytes(text[part]))
    except VocError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
    else:
        assert all(isinstance(box.xmin, float) for box in annotation.boxes)
