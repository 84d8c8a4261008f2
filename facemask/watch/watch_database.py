"""The SQLite file of a watch: events with their deliveries, and statistics."""

import sqlite3
from pathlib import Path

from facemask.core.errors import UserError

SCHEMA_VERSION = 1

TABLES = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    at REAL NOT NULL,
    payload TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER NOT NULL REFERENCES events ON DELETE CASCADE,
    action TEXT NOT NULL,
    refusals INTEGER NOT NULL DEFAULT 0,
    done_at REAL,
    PRIMARY KEY (number, action)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_waiting ON deliveries (action, refusals, number) WHERE done_at IS NULL;
CREATE TABLE IF NOT EXISTS statistics (
    statistic TEXT NOT NULL,
    start INTEGER NOT NULL,
    camera TEXT NOT NULL,
    name TEXT NOT NULL,
    detail TEXT NOT NULL,
    count INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (statistic, start, camera, name, detail)
) WITHOUT ROWID;
"""
"""`at`, `done_at` and `start` are seconds since 1970. `statistics` is described in `visit_statistics`."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make the database. Each thread opens it for itself.

    A transaction that was committed survives a kill and a power cut: write-ahead log, synchronous.

    Raises:
        UserError: It is not such a database, it is of a newer version, or it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise UserError(f"{path}: was written by a newer version. Give database: another name.")
        if version < SCHEMA_VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{path}: cannot be used as the database ({error}). Give database: another name.") from None
    return connection
