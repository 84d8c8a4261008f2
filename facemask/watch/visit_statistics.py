"""Statistics without pictures: how many people, entries, stays and masks, by minute and quarter of an hour.

Each row of the table `statistics` is a count; `start` is the beginning of its minute or quarter of an hour, in seconds
since 1970:

| statistic | of | name | detail | count | seconds |
|---|---|---|---|---|---|
| people | a minute | the class | | people seen in this minute | 0 |
| entries | a minute | the line | in or out | crossings | 0 |
| dwell | a minute | the zone | | stays that ended in this minute | their length, summed |
| compliance | a quarter of an hour | the class | compliant or other | people who left in it, each once | 0 |

Earlier versions counted compliance by the hour; a database may hold rows of both kinds.
"""

import csv
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from facemask.watch.camera_scene import Scene
from facemask.watch.outbox import transaction

COLUMNS = ("statistic", "start", "camera", "name", "detail", "count", "seconds")

MINUTE, QUARTER, HOUR = 60, 900, 3600
"""In seconds. Midnight is at the beginning of a quarter of an hour of UTC in every time zone, and not of an hour."""


class VisitStatistics:
    """Counts in memory until `save`. What was not saved is lost with the process: a few seconds."""

    def __init__(self, compliant: Sequence[str]) -> None:
        """Count; `compliant` are the classes that count as compliant."""
        self._compliant = frozenset(compliant)
        self._new: defaultdict[tuple[str, int, str, str, str], list[float]] = defaultdict(lambda: [0, 0.0])
        self._minutes: dict[str, tuple[int, set[tuple[int, str]]]] = {}

    def update(self, camera: str, scene: Scene, at: float) -> None:
        """Count a camera's frame, of a time in seconds since 1970."""
        minute, quarter = (int(at // length) * length for length in (MINUTE, QUARTER))
        if self._minutes.get(camera, (None,))[0] != minute:
            self._minutes[camera] = minute, set()
        counted = self._minutes[camera][1]
        for person in scene.people:
            if (person.track, person.class_name) not in counted:
                counted.add((person.track, person.class_name))
                self._add("people", minute, camera, person.class_name)
        for crossing in scene.crossings:
            self._add("entries", minute, camera, crossing.line, crossing.direction)
        for visit in scene.visits:
            self._add("dwell", minute, camera, visit.zone, seconds=visit.seconds)
        for person in scene.left:
            detail = "compliant" if person.class_name in self._compliant else "other"
            self._add("compliance", quarter, camera, person.class_name, detail)

    def save(self, connection: sqlite3.Connection) -> None:
        """Add the new counts to the table. Raises sqlite3.OperationalError where the disk is full, and keeps them."""
        if self._new:
            with transaction(connection):
                connection.executemany(
                    "INSERT INTO statistics VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET count = count + excluded.count, seconds = seconds + excluded.seconds",
                    [(*key, *values) for key, values in self._new.items()],
                )
            self._new.clear()

    def _add(self, statistic: str, start: int, camera: str, name: str, detail: str = "", seconds: float = 0.0) -> None:
        row = self._new[statistic, start, camera, name, detail]
        row[0] += 1
        row[1] += seconds


def delete_statistics_before(connection: sqlite3.Connection, at: float) -> None:
    """Delete what is older than a time in seconds since 1970."""
    connection.execute("DELETE FROM statistics WHERE start < ?", (at,))


def write_statistics_csv(connection: sqlite3.Connection, file: TextIO) -> int:
    """Write the table as CSV, `start` in local time as ISO 8601. Returns the number of rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for statistic, start, *rest in connection.execute(
        f"SELECT {', '.join(COLUMNS)} FROM statistics ORDER BY statistic, start, camera, name, detail"
    ):
        *texts, number, seconds = rest
        writer.writerow(
            [statistic, datetime.fromtimestamp(start).astimezone().isoformat(), *texts, number, round(seconds, 3)]
        )
        count += 1
    return count
