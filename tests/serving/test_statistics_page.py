"""The page of a watch's statistics."""

import contextlib
import time
from datetime import datetime
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the dependency group serve")

from asgi_requests import ask
from fastapi import FastAPI
from squares import ABOUT, THRESHOLDS, Squares

from facemask.core.errors import UserError
from facemask.serving import http_api, statistics_page
from facemask.serving.detection_service import DetectionService, Limits
from facemask.watch.camera_scene import Person, Scene
from facemask.watch.statistics_summary import read_summary
from facemask.watch.visit_statistics import VisitStatistics
from facemask.watch.watch_database import open_database

NOON = datetime(2026, 11, 25, 12, 30, 20).astimezone()
AT = NOON.timestamp()


def hour(number: int) -> int:
    return int(NOON.replace(hour=number, minute=0, second=0).timestamp())


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "watch #1.sqlite3"
    minute = int(AT // 60 * 60)
    rows = [
        ("people", minute - 60, "door", "with_mask", "", 4, 0),
        ("people", minute, "door", "with_mask", "", 1, 0),
        ("people", minute - 120, "door", "without_mask", "", 9, 0),
        ("compliance", hour(12), "door", "with_mask", "compliant", 3, 0),
        ("compliance", hour(12), "yard", "with_mask", "compliant", 10, 0),
        ("compliance", hour(9), "door", "without_mask", "other", 1, 0),
        ("compliance", hour(0) - 3600, "door", "without_mask", "other", 50, 0),  # yesterday
        ("entries", hour(9) + 120, "door", "entrance", "in", 7, 0),
        ("dwell", hour(9) + 120, "door", "desk", "", 2, 30.0),
        ("dwell", hour(12), "door", "desk", "", 1, 6.0),
    ]
    with contextlib.closing(open_database(path)) as connection:
        connection.executemany("INSERT INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    return path


def test_now_today_and_by_hour(database: Path):
    summary = read_summary(database, AT)
    assert summary.cameras == ("door", "yard")
    assert summary.now == {"with_mask": 4}
    assert summary.today.compliant == {"with_mask": 13} and summary.today.other == {"without_mask": 1}
    assert summary.today.compliance == pytest.approx(13 / 14)
    assert summary.today.entries == {("entrance", "in"): 7} and summary.today.stays == {"desk": (3, 36.0)}
    hours = {start.hour: visitors for start, visitors in summary.hours}
    assert (len(summary.hours), summary.hours[0][0].hour) == (24, 12)
    assert (hours[12].people, hours[9].people, hours[23].people, hours[8].people) == (13, 1, 50, 0)
    assert hours[8].compliance is None
    door = read_summary(database, AT, "door")
    assert (door.today.people, door.cameras) == (4, ("door", "yard"))
    assert read_summary(database, AT + 600).now == {}


def test_today_begins_at_midnight_where_the_time_zone_is_half_an_hour_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TZ", "IST-5:30")  # Asia/Kolkata
    time.tzset()
    try:
        midnight = datetime(2026, 11, 25).astimezone().timestamp()
        statistics, person = VisitStatistics(["with_mask"]), Person(1, "with_mask", 0.9, (0, 0, 1, 1))
        for at in (midnight - 60, midnight + 60):
            statistics.update("door", Scene((), {}, (), (), (person,)), at)
        with contextlib.closing(open_database(tmp_path / "watch.sqlite3")) as connection:
            statistics.save(connection)
        summary = read_summary(tmp_path / "watch.sqlite3", midnight + 120)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert summary.today.people == 1
    assert [visitors.people for _, visitors in summary.hours[:2]] == [2, 0]


def test_it_is_read_in_a_folder_that_is_read_only(database: Path):
    # What SQLite would make there cannot be made, as where the volume is mounted read-only. No watch is running.
    memory = database.with_name(f"{database.name}-shm")
    memory.symlink_to(memory)
    assert read_summary(database, AT).cameras == ("door", "yard")
    database.with_name(f"{database.name}-wal").write_bytes(bytes(40))  # a watch is running
    with pytest.raises(UserError, match="cannot be read"):
        read_summary(database, AT)


def test_the_page_tells_it_and_escapes_names(database: Path):
    with contextlib.closing(open_database(database)) as connection:
        connection.execute("UPDATE statistics SET camera = '<b>&' WHERE camera = 'yard'")
    text = statistics_page.to_html(read_summary(database, AT), None)
    for told in (
        "<b>4</b>with_mask",
        "<b>14</b>people who came and left",
        "<b>93%</b>compliant",
        "<b>12 s</b>mean stay in desk",
    ):
        assert told in text
    assert "&lt;b&gt;&amp;" in text and "camera=%3Cb%3E%26" in text
    assert "http" not in text.replace("http-equiv", "") and "<script" not in text


def test_there_is_no_page_while_there_is_no_database(database: Path, tmp_path: Path):
    def page(path: Path, query: str = "") -> tuple[int, str]:
        app = FastAPI()
        service = DetectionService({"auto": Squares}, ABOUT, Limits(), THRESHOLDS)
        http_api.add_routes(app, service)
        statistics_page.add_route(app, path)
        return ask(app, path=f"/statistics{query}")[:2]

    missing = tmp_path / "missing.sqlite3"
    assert page(missing)[0] == 404 and not missing.exists()
    before = database.read_bytes()
    status, text = page(database, "?camera=%3Cscript%3E")
    assert status == 200 and "&lt;script&gt;" in text
    assert database.read_bytes() == before
    other = tmp_path / "other.sqlite3"
    for content in (b"no database at all, but long enough to be read", b""):
        other.write_bytes(content)
        assert page(other)[0] == 503
        with pytest.raises(UserError, match=r"other\.sqlite3"):
            read_summary(other, AT)
