"""The outbox and the statistics: what is committed, delivered, and deleted; and a full disk."""

import csv
import io
import sqlite3
from pathlib import Path

import pytest

from facemask.core.errors import UserError
from facemask.watch.camera_scene import Crossing, Person, Scene, Visit
from facemask.watch.outbox import Outbox
from facemask.watch.visit_statistics import VisitStatistics, delete_statistics_before, write_statistics_csv
from facemask.watch.watch_database import open_database

PERSON = Person(1, "with_mask", 0.9, (0, 0, 0.1, 0.1))
OTHER = Person(2, "without_mask", 0.9, (0, 0, 0.1, 0.1))


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "folder" / "watch.sqlite3")


def waiting(outbox: Outbox, action: str = "a") -> list[str]:
    """The ids in the order in which they are delivered."""
    ids = []
    while event := outbox.next_waiting(action):
        ids.append(event.event_id)
        outbox.record_delivery(event.number, action, 1.0)
    return ids


def test_each_action_delivers_each_event_in_order(outbox: Outbox) -> None:
    for i in range(3):
        outbox.add(f"e{i}", i, f"{{{i}}}", ["a", "b"])
    outbox.add("e3", 3, "{}", ["b"])
    outbox.add("e3", 3, "{}", ["b"])
    assert outbox.count_waiting() == {"a": 3, "b": 4}
    assert waiting(outbox) == ["e0", "e1", "e2"]
    assert waiting(outbox, "b") == ["e0", "e1", "e2", "e3"]
    assert outbox.count_waiting() == {}


def test_a_refused_event_lets_the_others_go_first(outbox: Outbox) -> None:
    for i in range(3):
        outbox.add(f"e{i}", i, "{}", ["a"])
    first = outbox.next_waiting("a")
    assert first is not None
    outbox.record_refusal(first.number, "a")
    assert waiting(outbox) == ["e1", "e2", "e0"]


def test_what_one_connection_commits_another_sees(outbox: Outbox, tmp_path: Path) -> None:
    outbox.add("e", 1, '{"a":1}', ["a"])
    event = Outbox(tmp_path / "folder" / "watch.sqlite3").next_waiting("a")
    assert event is not None and event.payload == '{"a":1}'


def test_old_events_are_deleted_with_their_deliveries(outbox: Outbox) -> None:
    outbox.add("old", 10, "{}", ["a", "b"])
    outbox.add("new", 20, "{}", ["a"])
    assert outbox.delete_before(15) == 1
    assert waiting(outbox) == ["new"] and outbox.count_waiting() == {}


def test_a_full_disk_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "watch.sqlite3")
    outbox.connection.execute("PRAGMA max_page_count = 12")
    count = 0
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for count in range(1000):
            outbox.add(f"e{count}", count, "x" * 500, ["a"])
    with pytest.raises(sqlite3.OperationalError, match="full"):
        outbox.add("late", 1e6, "x" * 5000, ["a"])
    assert 5 < count < 100
    outbox.delete_before(count - 2)
    outbox.add("late", 1e6, "x" * 5000, ["a"])
    assert waiting(outbox) == [f"e{count - 2}", f"e{count - 1}", "late"]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "watch.sqlite3"
    path.write_bytes(b"no database, but long enough to be looked at" * 50)
    with pytest.raises(UserError, match=r"watch\.sqlite3: "):
        open_database(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"{tmp_path / 'folder'}: "):
        open_database(tmp_path / "folder")
    connection = open_database(tmp_path / "new.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match=r"new\.sqlite3: "):
        open_database(tmp_path / "new.sqlite3")


def rows(outbox: Outbox) -> list[dict[str, str]]:
    file = io.StringIO()
    write_statistics_csv(outbox.connection, file)
    assert "\r" not in file.getvalue()
    return list(csv.DictReader(io.StringIO(file.getvalue())))


def test_statistics_count_by_minute_and_quarter(outbox: Outbox) -> None:
    statistics = VisitStatistics(["with_mask"])
    for second in range(0, 90, 10):
        people = (PERSON, OTHER) if second < 30 else (PERSON,)
        crossings = (Crossing(PERSON, "step", "in"),) if second in (10, 20) else ()
        visits = (Visit("hall", 2, 12.5), Visit("hall", 1, 2.5)) if second == 70 else ()
        left = (PERSON, OTHER) if second == 80 else ()
        statistics.update("door", Scene(people, {}, crossings, visits, left), 7200.0 + second)
        if second == 40:
            statistics.save(outbox.connection)
    statistics.save(outbox.connection)
    statistics.save(outbox.connection)
    found = [(row["statistic"], row["name"], row["detail"], row["count"], row["seconds"]) for row in rows(outbox)]
    assert found == [
        ("compliance", "with_mask", "compliant", "1", "0.0"),
        ("compliance", "without_mask", "other", "1", "0.0"),
        ("dwell", "hall", "", "2", "15.0"),
        ("entries", "step", "in", "2", "0.0"),
        ("people", "with_mask", "", "1", "0.0"),
        ("people", "without_mask", "", "1", "0.0"),
        ("people", "with_mask", "", "1", "0.0"),
    ]
    starts = [start for (start,) in outbox.connection.execute("SELECT start FROM statistics WHERE name = 'with_mask'")]
    assert sorted(starts) == [7200, 7200, 7260]
    delete_statistics_before(outbox.connection, 7230)
    assert [row["statistic"] for row in rows(outbox)] == ["dwell", "people"]


def test_statistics_are_kept_while_the_disk_is_full(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "watch.sqlite3")
    outbox.connection.execute("PRAGMA max_page_count = 9")
    statistics = VisitStatistics([])
    for i in range(300):
        statistics.update(f"camera-with-a-long-name-{i}", Scene((PERSON,), {}, (), (), ()), 60.0)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        statistics.save(outbox.connection)
    assert rows(outbox) == []
    outbox.connection.execute("PRAGMA max_page_count = 1000")
    statistics.save(outbox.connection)
    assert len(rows(outbox)) == 300
