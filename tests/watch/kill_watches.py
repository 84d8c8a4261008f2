"""Starts watches on painted frames, one after the other, and kills each at a random moment.

A program of its own, for test_watch_kills.py: it imports once, and each watch is a fork of it.
Arguments: the URL of a receiver, the port of a broker, the folder of the database, the number of kills, a seed.
"""

import contextlib
import importlib
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from pathlib import Path

from painted_footage import PaintedFaces, brief_visitors, footage

from facemask.media.footage import Footage
from facemask.watch import delivery, watch_loop
from facemask.watch.watch_config import Camera, JsonLines, Mqtt, Rule, Text, WatchConfig, Webhook

ENDLESS, LAST = 20_000, 60
"""Frames of a watch that is killed, and of the last one, which ends by itself. So does a watch that outlives this
program."""


def settings_of(url: str, port: int, folder: Path) -> WatchConfig:
    actions = (Webhook("webhook", Text(url)), JsonLines("json", file=folder / "events.jsonl"))
    broker = Mqtt("mqtt", host="127.0.0.1", port=port)
    rule = Rule("no-mask", ("without_mask",), cooldown=0.0)
    return WatchConfig((Camera("door", Text("0")),), (rule,), (*actions, broker), database=folder / "watch.sqlite3")


def watch_in_fork(settings: WatchConfig, source: Footage) -> int:
    """Watch in a child process, and return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        delivery.FIRST_PAUSE = 0.02
        watch_loop.DRAIN = 120.0
        watch_loop.run_watch(settings, PaintedFaces(), [0.5, 0.5], {"door": source})
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def count_events(database: Path) -> int:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM events").fetchone()[0])
    except sqlite3.OperationalError:  # the first watch has not made the database or its tables yet
        return 0


def wait_for_an_event(database: Path, before: int, child: int) -> None:
    end = time.monotonic() + 120
    while count_events(database) <= before:
        if os.waitpid(child, os.WNOHANG)[0] or time.monotonic() > end:
            raise SystemExit(f"no event came after the first {before}, or the watch has ended")
        time.sleep(0.01)


def main(url: str, port: str, folder: str, kills: str, seed: str) -> None:
    for late in ("paho.mqtt.client", "trackers"):  # a watch imports them late, and each fork would do so again
        importlib.import_module(late)
    settings, draw = settings_of(url, int(port), Path(folder)), random.Random(int(seed))
    for kill in range(int(kills)):
        before = count_events(settings.database)
        child = watch_in_fork(settings, footage(brief_visitors, ENDLESS, step=0.5, pause=0.005))
        try:
            if kill % 4 < 3:  # the fourth may be killed while it opens its database
                wait_for_an_event(settings.database, before, child)
            time.sleep(draw.uniform(0.0, 0.3))
        finally:
            os.kill(child, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    last = watch_in_fork(settings, footage(brief_visitors, LAST, step=0.5))
    print(os.waitstatus_to_exitcode(os.waitpid(last, 0)[1]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
