"""The command, as make calls it: `make watch CONFIG=`, with CHECK=1 and EXPORT=csv, on a video file."""

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import painted_footage
import pytest
from painted_footage import PaintedFaces
from PIL import Image

from facemask.cli import make_variables
from facemask.cli.app import command_of
from facemask.core.errors import UserError
from facemask.detect import detector_choice

CONFIG = """
cameras:
  - name: door
    source: {film}
    zones:
      - {{name: middle, polygon: [[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]]}}
    lines:
      - {{name: step, points: [[0, 0.5], [1, 0.5]]}}
rules:
  - {{name: no-mask, classes: [without_mask], seconds: 1, zone: middle}}
actions:
  - {{kind: json, file: {folder}/events.jsonl}}
database: {folder}/data/watch.sqlite3
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    film = painted_footage.write_film(tmp_path / "film.mkv", map(painted_footage.visitors, range(40)))
    path = tmp_path / "door.yaml"
    path.write_text(CONFIG.format(film=film, folder=tmp_path))
    return path


def make_watch(**given: str) -> None:
    command = command_of("watch")
    command.main(make_variables.to_arguments(command, "watch", given), standalone_mode=False)


def test_check_watch_and_export(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_detector(*args: object, **options: object) -> None:
        raise AssertionError("the export needs no detector, and the check does not load it")

    chosen = painted_detector()
    chosen.open, opened = no_detector, chosen.open
    monkeypatch.setattr(detector_choice, "choose_detector", lambda *args, **options: chosen)
    make_watch(CONFIG=str(config), CHECK="1")
    assert capsys.readouterr().out == (
        f"door: {tmp_path}/film.mkv, 96x72; its zones are drawn in {tmp_path}/data/door.png\n"
    )
    drawn = np.asarray(Image.open(tmp_path / "data" / "door.png"))
    assert drawn.shape == (72, 96, 3) and np.ptp(drawn) > 100
    with pytest.raises(UserError, match=r"watch\.sqlite3: "):
        make_watch(CONFIG=str(config), EXPORT="csv")

    chosen.open = opened
    make_watch(CONFIG=str(config))
    [event] = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    assert (event["rule"], event["zone"], event["seconds"]) == ("no-mask", "middle", 1.0)

    monkeypatch.setattr(detector_choice, "choose_detector", no_detector)
    capsys.readouterr()
    make_watch(CONFIG=str(config), EXPORT="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    counts = {(row["statistic"], row["camera"], row["name"], row["detail"]): row["count"] for row in rows}
    assert counts["dwell", "door", "middle", ""] == counts["compliance", "door", "without_mask", "other"] == "1"
    assert counts["people", "door", "without_mask", ""] == "1"


def painted_detector() -> SimpleNamespace:
    thresholds = (0.5,) * len(PaintedFaces.label_map)
    return SimpleNamespace(
        name="painted",
        label_map=PaintedFaces.label_map,
        at_once=2,
        open=lambda at_once: SimpleNamespace(without_slices=PaintedFaces),
        parse_thresholds=lambda text, reports: thresholds,
    )


def test_the_watch_says_what_its_region_hides(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text().replace("    zones:", "    region: [0, 0, 1, 0.4]\n    zones:"))
    monkeypatch.setattr(detector_choice, "choose_detector", lambda *args, **options: painted_detector())
    make_watch(CONFIG=str(config))
    said = capsys.readouterr().err
    assert "of the zone middle is outside the region" in said and "all of the line step is outside" in said


def test_a_class_that_the_detector_does_not_have_is_named_with_its_line(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(config.read_text().replace("[without_mask]", "[no_mask]"))
    chosen = painted_detector()
    monkeypatch.setattr(detector_choice, "choose_detector", lambda *args, **options: chosen)
    for options in ({}, {"CHECK": "1"}):
        with pytest.raises(UserError, match=r"door\.yaml:10: .*no_mask"):
            make_watch(CONFIG=str(config), **options)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"EXPORT": "xls"}, "EXPORT=xls: must be csv"), ({"CONFIG": "no-such.yaml", "CHECK": "1"}, "no-such.yaml")],
)
def test_wrong_options_are_named(given: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_watch(**given)
