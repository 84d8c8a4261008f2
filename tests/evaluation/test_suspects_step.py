"""`make suspects` from a saved evaluation to the pictures that labelImg opens."""

import csv
import json
from pathlib import Path

import pytest

from facemask.cli import eval_command, suspects_command
from facemask.core.errors import UserError
from facemask.core.files import write_json
from facemask.data import voc
from facemask.labelling.suspect_pictures import find_suspect_pictures


@pytest.fixture
def reports(tmp_path, exported, pictures, painted, monkeypatch):
    """An evaluation of the twelve pictures, by a detector that overlooks four of the 24 squares."""
    monkeypatch.setattr("facemask.detect.runtimes.load_model", lambda folder, *how: painted)
    eval_command.main(images=pictures, exported=exported, reports=tmp_path / "reports", report="held-out")
    return tmp_path / "reports"


def relabel(path, change):
    annotation = voc.read_voc(path)
    voc.write_voc(path, voc.Annotation(path, annotation.filename, 120, 90, tuple(change(annotation.boxes))))


def suspects(reports, pictures, **options):
    suspects_command.main(run="held-out", images=pictures, reports=reports, processes=1, **options)
    return json.loads((reports / "held-out" / "suspects.json").read_text())


def test_errors_of_now_are_listed_until_they_are_corrected_or_verified(reports, pictures, capsys):
    good = (pictures / "00.xml").read_bytes()
    relabel(pictures / "00.xml", lambda boxes: [voc.Box("without_mask", 10, 10, 50, 40), boxes[1]])
    relabel(pictures / "01.xml", lambda boxes: boxes[1:])
    written = suspects(reports, pictures, count=5)
    first, second = written["suspects"][:2]
    assert {(first["name"], first["kind"]), (second["name"], second["kind"])} == {
        ("00.png", "wrong class"),
        ("01.png", "missing box"),
    }
    assert {one["kind"] for one in written["suspects"][2:]} == {"box on nothing"}  # 2, 5, 8, 11: overlooked
    assert written["labels"] == 23
    assert sum(written["kinds"].values()) == 5
    said = capsys.readouterr().out
    assert "00.png: wrong class: labelled without_mask, found as with_mask 0.90" in said
    assert f"make label SUSPECTS=held-out IMAGES={pictures}\n" in said

    folder = reports / "held-out"
    with (folder / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert [row["picture"] for row in rows[:5]] == [one["name"] for one in written["suspects"]]
    page = (folder / "suspects.html").read_text()
    assert page.count("<image ") == 5
    assert f"make label SUSPECTS=held-out IMAGES={pictures}<" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")

    paths, notes = find_suspect_pictures(pictures, folder)
    assert {path.name for path in paths[:2]} == {"00.png", "01.png"}
    assert notes[pictures / "01.png"] == "missing box: found with_mask 0.90 where no label is"

    # One is corrected, the other is right after all: a person pressed Space.
    (pictures / "00.xml").write_bytes(good)
    text = (pictures / "01.xml").read_text()
    (pictures / "01.xml").write_text(text.replace("<annotation>", '<annotation verified="yes">'))
    written = suspects(reports, pictures, count=5)
    assert {one["name"] for one in written["suspects"]} & {"00.png", "01.png"} == set()
    assert written["verified"] == 1
    assert "1 pictures that a person has verified" in capsys.readouterr().out


def test_pictures_that_were_not_measured_are_counted(reports, pictures, capsys):
    (pictures / "03.png").rename(pictures / "new.png")
    (pictures / "03.xml").rename(pictures / "new.xml")
    suspects(reports, pictures)
    said = capsys.readouterr().out
    assert "1 pictures have no detections in the report" in said
    assert "1 pictures of the report are no longer there" in said


def test_planting_measures_and_writes_nothing(reports, pictures, capsys):
    suspects_command.main(run="held-out", images=pictures, reports=reports, processes=1, plant=20)
    said = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in said[-5:]] == [
        "wrong class", "missing box", "bad box", "box on nothing", "all",
    ]  # fmt: skip
    assert int(said[-1].split()[1]) == 5 * round(0.2 * 24)
    assert not list((reports / "held-out").glob("suspects.*"))


def test_bad_input_is_one_line(reports, pictures, tmp_path):
    with pytest.raises(UserError, match=str(reports / "other")):
        suspects_command.main(run="other", images=pictures, reports=reports)
    write_json(reports / "classifier" / "classifier.json", {})
    with pytest.raises(UserError, match="SYSTEM=two_stage"):
        suspects_command.main(run="classifier", images=pictures, reports=reports)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for suffix in ("png", "xml"):
        (pictures / f"00.{suffix}").rename(elsewhere / f"other.{suffix}")
    with pytest.raises(UserError, match=str(elsewhere)):
        suspects(reports, elsewhere)
    metrics = reports / "held-out" / "metrics.json"
    value = json.loads(metrics.read_text())
    value["source"] = {"path": "annotations", "split": "train", "digest": "0"}
    metrics.write_text(json.dumps(value))
    with pytest.raises(UserError, match="train split"):
        suspects(reports, pictures)
    value["source"] = {"path": str(pictures), "split": None, "digest": None}
    value["model"]["seen_in_training"] = 12
    metrics.write_text(json.dumps(value))
    with pytest.raises(UserError, match="12 pictures that the detector was trained on"):
        suspects(reports, pictures)


def test_the_list_for_labelimg_is_not_trusted(tmp_path: Path):
    images, report = tmp_path / "images", tmp_path / "reports" / "a"
    images.mkdir()
    with pytest.raises(UserError, match="make suspects RUN=a"):
        find_suspect_pictures(images, report)
    listed = {"format": 1, "pictures": ["../secret.png"], "suspects": []}
    write_json(report / "suspects.json", listed)
    with pytest.raises(UserError, match=r"secret\.png"):
        find_suspect_pictures(images, report)
    write_json(report / "suspects.json", listed | {"pictures": ["gone.png"]})
    with pytest.raises(UserError, match=r"suspects\.json|images"):
        find_suspect_pictures(images, report)
    (images / "there.png").touch()
    write_json(report / "suspects.json", listed | {"pictures": ["there.png"]})
    assert find_suspect_pictures(images, report) == ([images / "there.png"], {images / "there.png": ""})
    write_json(report / "suspects.json", listed | {"pictures": 3})
    with pytest.raises(UserError, match="make suspects"):
        find_suspect_pictures(images, report)
