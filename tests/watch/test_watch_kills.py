"""A whole watch that is killed again and again: every event arrives, and few arrive twice."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import event_receivers
import kill_watches
import pytest
from event_receivers import Listener

from facemask.watch.outbox import Outbox

pytest.importorskip("paho.mqtt.client")

ROOT = Path(__file__).resolve().parents[2]


def kill_at_random(folder: Path, kills: int, seed: int) -> int:
    """Kill so many watches, and let one end. Returns how many events arrived twice."""
    database = folder / "watch.sqlite3"
    draw, sent_after_record = random.Random(seed), list[str]()

    def look_up(event_id: str) -> None:
        """Before the answer: note an event whose delivery is recorded. Then think for a while, as receivers do."""
        with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
            [recorded] = connection.execute(
                "SELECT done_at IS NOT NULL FROM deliveries JOIN events USING (number)"
                " WHERE event_id = ? AND action = 'webhook'",
                (event_id,),
            ).fetchone()
        if recorded:
            sent_after_record.append(event_id)
        time.sleep(draw.uniform(0, 0.02))

    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        "NO_PROXY": "127.0.0.1",
    }
    output = folder / "output.txt"
    with event_receivers.http_receiver(look=look_up) as posts, event_receivers.mosquitto(folder) as broker:
        listener = Listener(broker)
        command = [sys.executable, kill_watches.__file__, posts.url, broker.port, folder, kills, seed]
        with output.open("w") as file:
            subprocess.run(
                list(map(str, command)),
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=500,
                check=False,
            )
        lines = output.read_text()
        codes = [int(line) for line in lines.splitlines() if line.lstrip("-").isdigit()]
        assert codes == [-signal.SIGKILL] * kills + [0], lines[-3000:]
        committed = committed_ids(database)
        event_receivers.wait_for(lambda: set(committed) <= set(event_ids(listener)))
        listener.close()
    assert len(committed) > kills / 2
    assert sent_after_record == []
    lines_of_json = (folder / "events.jsonl").read_text().splitlines()
    written = [json.loads(line)["event_id"] for line in lines_of_json if line.endswith("null}")]
    repeats = 0
    for ids in (posts.ids(), written, event_ids(listener)):
        assert list(dict.fromkeys(ids)) == committed, "all that were committed and no others, in their order"
        again = [i for i in range(1, len(ids)) if ids[i] in ids[:i]]
        assert len(again) <= kills, "a kill repeats one at most"
        assert all(ids[i] == ids[i - 1] for i in again), "the one that was in flight"
        repeats += len(again)
    return repeats


def committed_ids(database: Path) -> list[str]:
    """The events of a database of which nothing waits, in their order."""
    outbox = Outbox(database)
    assert outbox.count_waiting() == {}
    assert outbox.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return [event_id for (event_id,) in outbox.connection.execute("SELECT event_id FROM events ORDER BY number")]


def event_ids(listener: Listener) -> list[str]:
    return [json.loads(message.payload)["event_id"] for message in listener.of("facemask/events")]


def test_three_kills_lose_no_event(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 3, seed=3)


@pytest.mark.long
def test_fifty_kills_lose_no_event(tmp_path: Path) -> None:
    assert kill_at_random(tmp_path, 50, seed=50) > 0, "no kill fell between a delivery and its record"
