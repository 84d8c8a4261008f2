"""The whole watch, on painted frames: from pictures to events and statistics."""

import contextlib
import csv
import io
import itertools
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import event_receivers
import jsonschema
import numpy as np
import painted_footage
import psutil
import pytest
from event_receivers import Listener, wait_for
from painted_footage import PaintedFaces, brief_visitors, footage, painted, visitors
from PIL import Image

from facemask.core.errors import UserError
from facemask.media import live
from facemask.media.footage import Footage, Frame, Stopped, Warn
from facemask.watch import camera_feeds, delivery, slice_choice, snapshots, visit_statistics, watch_check, watch_loop
from facemask.watch.actions.event_receiver import EventReceiver
from facemask.watch.camera_feeds import open_feeds
from facemask.watch.outbox import Outbox, Waiting
from facemask.watch.watch_config import Camera, JsonLines, Line, Mqtt, Rule, Snapshot, Text, WatchConfig, Webhook, Zone
from facemask.watch.watch_event import event_schema

ROOT = Path(__file__).resolve().parents[2]

SCHEMA = json.loads((ROOT / "docs" / "event.schema.json").read_text(encoding="utf-8"))

DOOR = Camera(
    "door",
    Text("0"),
    zones=(Zone("middle", ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))),),
    lines=(Line("step", ((0, 0.5), (1, 0.5))),),
)

AT_ONCE = Rule("no-mask", ("without_mask",), cooldown=0.0)

STAY = Rule("no-mask", ("without_mask",), seconds=1.0, cooldown=0.0)


class Kept(EventReceiver):
    """Keeps events in a list."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.people: list[tuple[str, dict[str, int]]] = []

    def deliver(self, event: Waiting) -> None:
        self.events.append(json.loads(event.payload))

    def show_people(self, camera: str, counts: Any) -> None:
        self.people.append((camera, dict(counts)))


def config(folder: Path, *rules: Rule, cameras: tuple[Camera, ...] = (DOOR,), **options: Any) -> WatchConfig:
    return WatchConfig(cameras, rules, database=folder / "watch.sqlite3", **options)


def watch(
    settings: WatchConfig, *sources: Footage, halted: Callable[[], bool] = lambda: False, at_once: int = 1
) -> Kept:
    """Run a watch to the end of its footage, which begins with this hour: statistics count by minute and hour."""
    kept, hour = Kept(), time.time() // 3600 * 3600
    by_name = {camera.name: source for camera, source in zip(settings.cameras, sources, strict=True)}
    detector, receivers = PaintedFaces(), {"json": kept}
    watch_loop.run_watch(
        settings,
        detector,
        [0.5, 0.5],
        by_name,
        receivers,
        lambda words: None,
        halted,
        at_once=at_once,
        started=hour,
    )
    return kept


def statistics_of(settings: WatchConfig) -> list[tuple[str, str, str, int]]:
    file = io.StringIO()
    visit_statistics.write_statistics_csv(Outbox(settings.database).connection, file)
    rows = csv.DictReader(io.StringIO(file.getvalue()))
    return [(row["statistic"], row["name"], row["detail"], int(row["count"])) for row in rows]


def test_two_visitors_are_two_events_as_the_schema_says(tmp_path: Path) -> None:
    settings = config(tmp_path, STAY)
    kept = watch(settings, footage(visitors, 80))
    assert len(kept.events) == 2
    for event in kept.events:
        jsonschema.validate(event, SCHEMA, cls=jsonschema.Draft202012Validator)
    first = kept.events[0]
    assert (first["camera"], first["class_name"], first["kind"], first["seconds"]) == (
        "door",
        "without_mask",
        "stay",
        1.0,
    )
    assert first["people"] == {"with_mask": 0, "without_mask": 1} and first["snapshot"] is None
    assert first["box"] == pytest.approx([5 / 12, 28 / 72, 7 / 12, 44 / 72], abs=0.02)
    assert len({event["event_id"] for event in kept.events}) == 2
    assert Outbox(settings.database).count_waiting() == {}
    counts = statistics_of(settings)
    assert ("compliance", "without_mask", "other", 2) in counts
    assert sum(count for statistic, *_, count in counts if statistic == "dwell") == 2


def test_the_schema_in_the_docs_is_that_of_the_code() -> None:
    assert event_schema() == SCHEMA
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"event_version": 1}, SCHEMA)


def test_who_walks_across_the_line_enters(tmp_path: Path) -> None:
    rule = Rule("entered", ("without_mask",), line="step", direction="in")
    settings = config(tmp_path, rule)
    walk = footage(lambda number: painted(("without_mask", 0.5, 0.2 + 0.02 * number)), 30)
    [event] = watch(settings, walk).events
    assert (event["kind"], event["line"], event["direction"], event["zone"]) == ("crossing", "step", "in", None)
    assert ("entries", "step", "in", 1) in statistics_of(settings)


def test_a_mask_is_no_event(tmp_path: Path) -> None:
    assert watch(config(tmp_path, STAY), footage(lambda number: painted(("with_mask", 0.5, 0.5)), 40)).events == []


def test_faces_are_looked_for_in_the_region_alone(tmp_path: Path) -> None:
    camera = Camera("door", Text("0"), region=(0.5, 0.0, 1.0, 1.0))
    detector = PaintedFaces()
    image = painted(("with_mask", 0.25, 0.5), ("without_mask", 0.75, 0.5))
    found = slice_choice.detect_in_region(detector, image, camera)
    assert detector.seen == [(72, 48, 3)]
    assert found.xyxy.tolist() == [[64, 28, 80, 44]]


def test_a_snapshot_is_blurred_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (painted_footage.SIDE, painted_footage.SIDE, 1), np.uint8)
    image = painted(("without_mask", 0.5, 0.5))
    for blur in (True, False):
        folder = tmp_path / str(blur)
        action = Snapshot("snapshot", folder=folder, blur=blur)
        settings = config(tmp_path / f"{blur}-data", STAY, actions=(JsonLines("json"), action))
        [event] = watch(settings, footage(lambda number: image, 15)).events
        saved = np.asarray(Image.open(event["snapshot"])).astype(int)
        assert saved.shape == image.shape and Path(event["snapshot"]).parent == folder
        found = PaintedFaces().detect([image])[0]
        face = image.copy()
        face[28:44, 40:56] = noise
        path = snapshots.write_snapshot(action, "noise", face, found)
        contrast = np.asarray(Image.open(path)).astype(float)[30:42, 42:54].std()
        assert bool(contrast < 15) is blur
    snapshots.delete_snapshots_before(tmp_path / "True", time.time() - 60)
    assert len(list((tmp_path / "True").iterdir())) == 2
    (tmp_path / "True" / "mine.jpg").touch()
    for path in (tmp_path / "True").iterdir():
        os.utime(path, (1, 1))
    snapshots.delete_snapshots_before(tmp_path / "True", 1000)
    assert [path.name for path in (tmp_path / "True").iterdir()] == ["mine.jpg"]


def test_nothing_but_the_database_is_written_without_a_snapshot(tmp_path: Path) -> None:
    settings = config(tmp_path / "data", STAY)
    watch(settings, footage(visitors, 40))
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["watch.lock", "watch.sqlite3"]
    data = settings.database.read_bytes()
    assert b"JFIF" not in data and b"PNG" not in data and len(data) < 100_000


def test_a_full_disk_is_said_once_and_no_event_is_lost(tmp_path: Path) -> None:
    settings, said = config(tmp_path, AT_ONCE), list[str]()
    outbox = Outbox(settings.database)
    [pages] = outbox.connection.execute("PRAGMA page_count").fetchone()
    outbox.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        for i in itertools.count():
            outbox.add(f"filler {i}", 1.0, "{}", [])
    watched = watch_loop.Watch(settings, PaintedFaces(), [0.5, 0.5], outbox, said.append)
    for number in range(60):
        frame = Frame(brief_visitors(number), number, number / 2)
        watched.look("door", frame, 1000.0 + number / 2, watched.detect("door", frame))
        if number == 30:
            watched.save()
    assert watched.unstored == 10
    assert [("full" in words, "event" in words) for words in said if "event" in words] == [(True, True)]
    outbox.connection.execute("PRAGMA max_page_count = 100000")
    watched.close(1040.0)
    assert watched.unstored == 0 and any("can be stored again" in words for words in said)
    assert outbox.connection.execute("SELECT COUNT(*) FROM events WHERE at > 1").fetchone() == (10,)
    assert outbox.count_waiting() == {"json": 10}


def test_receivers_that_are_away_get_every_event_when_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The HTTP receiver comes late, and the broker restarts, while events go on."""
    pytest.importorskip("paho.mqtt.client")
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(delivery, "LONGEST_PAUSE", 0.2)
    port, said = event_receivers.free_port(), list[str]()
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(event_receivers.mosquitto(tmp_path))
        listener = Listener(broker)
        stack.callback(listener.close)
        actions = (
            Webhook("webhook", Text(f"http://127.0.0.1:{port}/")),
            Mqtt("mqtt", host="127.0.0.1", port=broker.port),
        )
        settings = config(tmp_path, AT_ONCE, actions=actions)
        outbox = Outbox(settings.database)
        stack.callback(outbox.close)
        posts = list[event_receivers.Posts]()

        def paint(number: int) -> np.ndarray:
            """Runs in the camera's thread, before the frame of this number."""
            if number == 24:
                wait_for(lambda: Outbox(settings.database).count_waiting() == {"webhook": 4})
                broker.end()
            if number == 48:
                wait_for(lambda: any(words.startswith("mqtt: cannot deliver") for words in said))
                posts.append(stack.enter_context(event_receivers.http_receiver(port)))
                broker.start()
            return brief_visitors(number)

        source = footage(paint, 72, step=0.5)
        watch_loop.run_watch(settings, PaintedFaces(), [0.5, 0.5], {"door": source}, None, said.append)
        committed = [found for (found,) in outbox.connection.execute("SELECT event_id FROM events ORDER BY number")]
        assert len(committed) == 12 and outbox.count_waiting() == {}
        assert posts[0].ids() == committed
        wait_for(lambda: len(listener.of("facemask/events")) == 12)
        assert [json.loads(message.payload)["event_id"] for message in listener.of("facemask/events")] == committed
    begun, ended = [words.split(" (")[0] for words in said[:2]], sorted(said[2:])
    assert begun == ["webhook: cannot deliver", "mqtt: cannot deliver"]
    assert ended == ["mqtt: delivers again", "webhook: delivers again"]


def test_old_things_are_deleted(tmp_path: Path) -> None:
    settings, said = config(tmp_path, STAY, keep_days=1), list[str]()
    outbox = Outbox(settings.database)
    outbox.add("old", 1000.0, "{}", ["json"])
    outbox.add("new", 1000.0 + 86_400, "{}", ["json"])
    watch_loop.Watch(settings, PaintedFaces(), [0.5, 0.5], outbox, said.append).prune(2000.0 + 86_400)
    assert said == ["1 events were never delivered in 1 days and are deleted"]
    assert outbox.connection.execute("SELECT event_id FROM events").fetchall() == [("new",)]


def test_a_database_has_one_watch(tmp_path: Path) -> None:
    settings, done = config(tmp_path, STAY), threading.Event()
    endless = footage(visitors, pause=0.01)
    first = threading.Thread(target=lambda: watch(settings, endless, halted=done.is_set))
    first.start()
    wait_for(lambda: settings.database.exists())
    time.sleep(0.1)
    with pytest.raises(UserError, match=str(settings.database)):
        watch(settings, footage(visitors, 1))
    done.set()
    first.join(30)
    assert not first.is_alive()


def test_a_database_whose_folder_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = config(tmp_path / "file" / "folder", STAY)
    with pytest.raises(UserError, match=rf"^{tmp_path}/file/folder/watch\.lock: cannot be written"):
        watch(settings, footage(visitors, 1))
    with pytest.raises(UserError, match=rf"^{tmp_path}/file/folder/door\.png: cannot be written"):
        watch_check.check_cameras(settings, {"door": footage(visitors, 1)}, settings.database.parent)


# ---- several cameras ----


def test_cameras_take_turns_and_the_newest_frame_counts() -> None:
    """One is a hundred times as fast as the other: each gets every second turn."""
    taken: list[tuple[str, int]] = []
    sources = {
        "fast": footage(lambda number: painted(), live=True, pause=0.0005),
        "slow": footage(lambda number: painted(), live=True, pause=0.02),
    }
    with open_feeds(sources, lambda words: None, lambda: False) as feeds:
        while len(taken) < 30:
            if found := feeds.take(5.0):
                taken.append((found[0], found[1].number))
                time.sleep(0.03)
        rates = feeds.rates()
    names = [name for name, _ in taken[4:]]
    assert all(one != other for one, other in itertools.pairwise(names))
    fast = [number for name, number in taken if name == "fast"]
    assert fast[-1] > 3 * len(fast), "old frames are dropped"
    assert rates["fast"] > 0 and rates["slow"] > 0


def test_of_a_file_every_frame_is_taken() -> None:
    with open_feeds({"file": footage(lambda number: painted(), 50)}, print, lambda: False) as feeds:
        numbers = []
        while not feeds.ended:
            if found := feeds.take(1.0):
                numbers.append(found[1].number)
    assert numbers == list(range(50))


def test_frames_that_are_detected_at_the_same_time_make_the_same_events(tmp_path: Path) -> None:
    cameras = DOOR, Camera("yard", Text("1"))
    made = []
    for at_once in (1, 3):
        settings = config(tmp_path / str(at_once), STAY, cameras=cameras)
        kept = watch(
            settings, footage(visitors, 120), footage(lambda number: visitors(number + 13), 90), at_once=at_once
        )
        events = [(one["camera"], one["track"], one["seconds"], one["box"], one["people"]) for one in kept.events]
        made.append((sorted(events, key=str), sorted(statistics_of(settings))))
    assert made[0] == made[1] and len(made[0][0]) == 5


def test_a_camera_that_goes_away_is_tried_again_while_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The yard's camera is not there, comes, goes away and comes back; the door's frames come all the time."""
    for module in (camera_feeds, live):
        monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(watch_loop, "TELL_EVERY", 0.05)
    door_frames, attempts, said, kept = list[int](), list[int](), list[str](), Kept()

    def paint_door(number: int) -> np.ndarray:
        door_frames.append(number)
        return visitors(number)

    def connect() -> Iterator[np.ndarray]:
        attempts.append(len(door_frames))
        if len(attempts) in (1, 3):
            wait_for(lambda: len(door_frames) > attempts[-1] + 10)
            raise live.GoneError("no cable")
        for number in itertools.count():
            if len(attempts) == 2 and number == 50:
                return
            yield visitors(number)
            time.sleep(0.001)

    def yard(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        return live.frames_with_retries("camera 7", connect, stopped, warn)

    cameras = Camera("yard", Text("7")), Camera("door", Text("0"))
    settings = config(tmp_path, Rule("no-mask", ("without_mask",), cooldown=0), cameras=cameras)
    sources = {
        "yard": Footage("camera 7", "x", live=True, frames=yard),
        "door": footage(paint_door, live=True, pause=0.001),
    }
    end = time.monotonic() + 60

    def enough() -> bool:
        seen = {event["camera"] for event in kept.events} == {"yard", "door"}
        return seen and len(attempts) == 4 and "yard: camera 7 is back" in said

    def halted() -> bool:
        return enough() or time.monotonic() > end

    watch_loop.run_watch(settings, PaintedFaces(), [0.5, 0.5], sources, {"json": kept}, said.append, halted)
    assert enough()
    assert [words for words in said if words.startswith("yard: ")] == [
        "yard: camera 7: gives no picture (no cable). Trying again in 0.01 s.",
        "yard: camera 7 is gone (it ended); trying again in 0.01 s",
        "yard: camera 7 is gone (no cable); trying again in 0.02 s",
        "yard: camera 7 is back",
    ]
    told = [words for words in said if "frames/s" in words]
    assert all(re.search(r"^yard \d+\.\d frames/s.* \| door \d+\.\d frames/s", words) for words in told) and told


def test_people_are_shown_and_nobody_is_there_when_the_camera_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch_loop.Watch(config(tmp_path), PaintedFaces(), [0.5, 0.5], Outbox(tmp_path / "db"), print)
    for number in range(5):
        frame = Frame(painted(("with_mask", 0.5, 0.5)), number, number / 10)
        watched.look("door", frame, 0.0, watched.detect("door", frame))
    assert watched.people() == {"door": {"with_mask": 1, "without_mask": 0}}
    monkeypatch.setattr(watch_loop, "STALE", 0.0)
    assert watched.people() == {"door": {"with_mask": 0, "without_mask": 0}}


def test_a_video_that_cannot_be_read_ends_the_watch(tmp_path: Path) -> None:
    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        yield Frame(painted(), 0, 0.0)
        raise UserError("a.mp4: no frame can be decoded.")

    with pytest.raises(UserError, match=r"a\.mp4"):
        watch(config(tmp_path, STAY), Footage("a.mp4", "a", live=False, frames=frames))


# ---- the check ----


def test_the_check_draws_the_zones_and_shows_nobody(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    [line] = watch_check.check_cameras(config(tmp_path), {"door": footage(lambda number: noise)}, tmp_path)
    drawn = np.asarray(Image.open(tmp_path / "door.png"))
    assert drawn.shape == (720, 1280, 3) and line.startswith("door: painted, 1280x720; ")
    assert drawn[20:120, 20:300].std() < 12, "too coarse to recognise anybody"
    zone, beside = drawn[300, 500].astype(int), drawn[100, 200].astype(int)
    assert np.ptp(zone) > np.ptp(beside)


def test_the_check_names_every_camera_that_is_not_there(tmp_path: Path) -> None:
    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        raise UserError("camera 7: gives no picture (gone).")
        yield

    gone = Footage("camera 7", "x", live=True, frames=frames)
    settings = config(tmp_path, cameras=(DOOR, Camera("yard", Text("7")), Camera("shed", Text("8"))))
    sources = {"door": footage(visitors), "yard": gone, "shed": gone}
    with pytest.raises(UserError) as error:
        watch_check.check_cameras(settings, sources, tmp_path)
    assert "yard: camera 7: gives no picture" in str(error.value) and "shed: " in str(error.value)
    assert (tmp_path / "door.png").exists()


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ((0.0, 0.0, 1.0, 1.0), []),
        ((0.25, 0.25, 0.75, 0.75), []),
        (
            (0.5, 0.0, 1.0, 1.0),
            [
                "door: 50 % of the zone middle is outside the region: nobody is seen there",
                "door: 50 % of the line step is outside the region or at its edge: nobody is seen to cross it there",
            ],
        ),
        (
            (0.0, 0.0, 1.0, 0.2),
            [
                "door: all of the zone middle is outside the region: nobody is seen there",
                "door: all of the line step is outside the region or at its edge: nobody is seen to cross it there",
            ],
        ),
    ],
)
def test_zones_and_lines_that_the_region_does_not_cover_are_named(
    tmp_path: Path, region: tuple[float, float, float, float], said: list[str]
) -> None:
    middle = Zone("middle", ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)))
    step = Line("step", ((0.3, 0.5), (0.7, 0.5)))
    camera = Camera("door", Text("0"), region=region, zones=(middle,), lines=(step,))
    lines = watch_check.check_cameras(config(tmp_path, cameras=(camera,)), {"door": footage(visitors)}, tmp_path)
    assert lines[1:] == said


def test_a_line_at_the_edge_of_the_picture_cannot_be_crossed() -> None:
    lines = Line("floor", ((0.0, 1.0), (1.0, 1.0))), Line("post", ((0.5, 0.0), (0.5, 1.0)))
    [words] = watch_check.unseen_parts(Camera("door", Text("0"), lines=lines))
    assert words.startswith("door: all of the line floor ")


# ---- memory ----


def memory_growth(folder: Path, frames: int) -> float:
    """Megabytes that the process grows by between a quarter and the whole of so many frames."""
    sizes: list[int] = []

    def paint(number: int) -> np.ndarray:
        if number in (frames // 4, frames - 1):
            sizes.append(psutil.Process().memory_info().rss)
        return visitors(number)

    cameras = DOOR, Camera("yard", Text("1"))
    settings = config(folder, STAY, Rule("middle", ("without_mask",), zone="middle", cooldown=0), cameras=cameras)
    watch(settings, footage(paint, frames), footage(visitors, frames))
    return (sizes[1] - sizes[0]) / 1e6


@pytest.mark.long
def test_memory_is_flat_over_20000_frames(tmp_path: Path) -> None:
    assert memory_growth(tmp_path, 10_000) < 15  # of each of two cameras
