"""The outbox: an event exists once it is committed here, and stays until its deliveries are recorded."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemask.watch.watch_database import open_database


@dataclass(frozen=True)
class Waiting:
    """An event that an action has not delivered yet.

    Attributes:
        number: Its number in the database.
        event_id: Its id.
        at: When it happened, in seconds since 1970.
        payload: The event as JSON; the same in each attempt.
    """

    number: int
    event_id: str
    at: float
    payload: str


class Outbox:
    """The outbox of one thread, on a database that several threads share.

    All methods raise sqlite3.OperationalError where the disk is full; nothing has changed then.
    """

    def __init__(self, path: Path) -> None:
        """Open the outbox; see `open_database`."""
        self.connection = open_database(path)

    def close(self) -> None:
        """Close it."""
        self.connection.close()

    def add(self, event_id: str, at: float, payload: str, actions: Sequence[str]) -> None:
        """Commit an event, to be delivered by each of `actions`. A second call with the same id changes nothing."""
        with transaction(self.connection):
            found = self.connection.execute(
                "INSERT OR IGNORE INTO events (event_id, at, payload) VALUES (?, ?, ?)", (event_id, at, payload)
            )
            if found.rowcount:
                self.connection.executemany(
                    "INSERT INTO deliveries (number, action) VALUES (?, ?)",
                    [(found.lastrowid, action) for action in actions],
                )

    def next_waiting(self, action: str) -> Waiting | None:
        """The event that an action should deliver next: the oldest among those that were refused least often."""
        row = self.connection.execute(
            "SELECT number, event_id, at, payload FROM deliveries JOIN events USING (number)"
            " WHERE action = ? AND done_at IS NULL ORDER BY refusals, number LIMIT 1",
            (action,),
        ).fetchone()
        return Waiting(*row) if row else None

    def count_waiting(self) -> dict[str, int]:
        """The number of events that wait, by action; also of actions that the configuration no longer has."""
        rows = self.connection.execute("SELECT action, COUNT(*) FROM deliveries WHERE done_at IS NULL GROUP BY action")
        return dict(rows.fetchall())

    def record_delivery(self, number: int, action: str, at: float) -> None:
        """Record that an action has delivered an event, at a time in seconds since 1970. It is never sent again."""
        self.connection.execute(
            "UPDATE deliveries SET done_at = ? WHERE number = ? AND action = ?", (at, number, action)
        )

    def record_refusal(self, number: int, action: str) -> None:
        """Record that the receiver answered and refused an event: the others go first from now on."""
        self.connection.execute(
            "UPDATE deliveries SET refusals = refusals + 1 WHERE number = ? AND action = ?", (number, action)
        )

    def delete_before(self, at: float) -> int:
        """Delete events from before a time in seconds since 1970. Returns the number of undelivered ones among them."""
        with transaction(self.connection):
            [lost] = self.connection.execute(
                "SELECT COUNT(DISTINCT number) FROM deliveries JOIN events USING (number)"
                " WHERE done_at IS NULL AND at < ?",
                (at,),
            ).fetchone()
            self.connection.execute("DELETE FROM events WHERE at < ?", (at,))
        return int(lost)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, or nothing of it where it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back where the disk is full
            connection.execute("ROLLBACK")
        raise
