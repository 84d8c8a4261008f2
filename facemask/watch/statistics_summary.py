"""Summarise a watch's statistics: now, today, and by hour."""

import contextlib
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from facemask.core.errors import UserError
from facemask.watch.visit_statistics import HOUR, MINUTE
from facemask.watch.watch_database import SCHEMA_VERSION

HOURS = 24
"""The number of hours in the table by hour."""


@dataclass
class Visitors:
    """People and what they did in a length of time.

    Attributes:
        compliant: People of a class that counts as compliant, by class; each person once, when they left.
        other: People of the other classes.
        entries: Crossings by line and direction.
        stays: For each zone the number of stays that ended, and their length in seconds, summed.
    """

    compliant: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    entries: Counter[tuple[str, str]] = field(default_factory=Counter)
    stays: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def people(self) -> int:
        """The number of people who left."""
        return self.compliant.total() + self.other.total()

    @property
    def compliance(self) -> float | None:
        """The share of them that was compliant; None if there was nobody."""
        return self.compliant.total() / self.people if self.people else None


@dataclass(frozen=True)
class StatisticsSummary:
    """The statistics of some cameras.

    Attributes:
        at: The local time that counts as now.
        cameras: The names of all cameras that ever counted anybody.
        now: The people in sight in this minute or the last one, whichever has more, by class.
        today: Since midnight, local time.
        hours: Of the last `HOURS` hours, the newest first: the beginning of the hour and what happened in it.
    """

    at: datetime
    cameras: tuple[str, ...]
    now: Counter[str]
    today: Visitors
    hours: tuple[tuple[datetime, Visitors], ...]


def read_summary(path: Path, at: float, camera: str | None = None) -> StatisticsSummary:
    """Sum up the statistics in a watch's database, without writing to it.

    Args:
        path: The database.
        at: The time that counts as now, in seconds since 1970.
        camera: The camera to look at; None for all together.

    Raises:
        UserError: It is not such a database, or cannot be read.
    """
    now = datetime.fromtimestamp(at).astimezone()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    hours = [int(at // HOUR) * HOUR - HOUR * number for number in range(HOURS)]
    try:
        with contextlib.closing(_open_to_read(path)) as connection:
            cameras = tuple(name for (name,) in connection.execute("SELECT DISTINCT camera FROM statistics ORDER BY 1"))
            rows = connection.execute(
                "SELECT statistic, start, name, detail, count, seconds FROM statistics"
                " WHERE start >= ? AND start <= ? AND (? IS NULL OR camera = ?)",
                (min(midnight, hours[-1]), at, camera, camera),
            ).fetchall()
    except sqlite3.Error as error:
        raise UserError(f"{path}: cannot be read as the database of make watch ({error}).") from None
    minutes: defaultdict[int, Counter[str]] = defaultdict(Counter)
    today, by_hour = Visitors(), {start: Visitors() for start in hours}
    for statistic, start, name, detail, count, seconds in rows:
        if statistic == "people":
            minutes[start][name] += count
            continue
        for visitors in (today if start >= midnight else None, by_hour.get(start // HOUR * HOUR)):
            if visitors is not None:
                _add(visitors, statistic, name, detail, count, seconds)
    this_minute = int(at // MINUTE) * MINUTE
    in_sight = max((minutes[this_minute], minutes[this_minute - MINUTE]), key=Counter.total)
    return StatisticsSummary(
        at=now,
        cameras=cameras,
        now=in_sight,
        today=today,
        hours=tuple((datetime.fromtimestamp(start).astimezone(), visitors) for start, visitors in by_hour.items()),
    )


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open the database. Raises sqlite3.Error where it is none, and a UserError where it is of another version."""
    address = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=5)
    try:
        [version] = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        # In a folder that is read-only SQLite cannot make the files of a write-ahead log. Where the log is empty or not
        # there, nobody writes: no watch is running. https://www.sqlite.org/wal.html#read_only_databases
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True)
        [version] = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        connection.close()
        raise UserError(f"{path}: is of another version of make watch.")
    return connection


def _add(visitors: Visitors, statistic: str, name: str, detail: str, count: int, seconds: float) -> None:
    if statistic == "compliance":
        (visitors.compliant if detail == "compliant" else visitors.other)[name] += count
    elif statistic == "entries":
        visitors.entries[name, detail] += count
    elif statistic == "dwell":
        stays, length = visitors.stays.get(name, (0, 0.0))
        visitors.stays[name] = stays + count, length + seconds
