"""The loop of `make watch`: frames of all cameras, one detector, events into the outbox."""

import contextlib
import sqlite3
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import supervision as sv

from facemask.core import signals
from facemask.core.errors import UserError
from facemask.core.files import holding_lock
from facemask.core.stream_addresses import is_address, split_address
from facemask.detect.detector import Detector
from facemask.media import sources
from facemask.media.footage import Footage, Frame, Stopped, Warn
from facemask.media.tracking import Tracking
from facemask.watch import snapshots
from facemask.watch.actions.action_kinds import open_receivers
from facemask.watch.actions.event_receiver import EventReceiver
from facemask.watch.camera_feeds import CameraFeeds, open_feeds, rates_text
from facemask.watch.camera_scene import CameraScene, people_of
from facemask.watch.delivery import delivering
from facemask.watch.detected_frames import DetectedFrame, detect_frames
from facemask.watch.outbox import Outbox
from facemask.watch.slice_choice import SlicedCameras
from facemask.watch.visit_statistics import VisitStatistics, delete_statistics_before
from facemask.watch.watch_config import Snapshot, WatchConfig, names_of, source_title
from facemask.watch.watch_event import EVENT_VERSION, Event, new_event_id, utc_text
from facemask.watch.watch_rules import CameraRules, Firing

SAVE_EVERY = 10.0
"""Seconds after which statistics are saved."""

PRUNE_EVERY = 3600.0
"""Seconds after which old events, snapshots and statistics are deleted."""

SHOW_EVERY = 1.0
"""Seconds after which the number of people is passed on, if it has changed."""

STALE = 5.0
"""Seconds without a frame after which nobody counts as being in front of a camera."""

TELL_EVERY = 60.0
"""Seconds after which each camera's rate is printed."""

RETRY_EVERY = 1.0
"""Seconds after which events that could not be stored are tried again."""

MOST_UNSTORED = 10_000
"""Events that wait in memory while the disk is full. The oldest goes when there are more."""

DRAIN = 15.0
"""Seconds to wait for deliveries after the end of video files."""


@dataclass(frozen=True)
class _Unstored:
    event: Event
    at: float
    actions: tuple[str, ...]


class Watch:
    """One watch: its cameras' scenes and rules, and what goes into the database. One thread calls it, but `detect`."""

    def __init__(
        self,
        config: WatchConfig,
        detector: Detector,
        thresholds: Sequence[float],
        outbox: Outbox,
        say: Callable[[str], None],
        sliced: Detector | None = None,
        at_once: int = 1,
    ) -> None:
        """Watch as `config` says.

        Args:
            config: The configuration.
            detector: Finds the faces.
            thresholds: The least score of a face that begins a track, for each class in the order of the ids.
            outbox: Takes the events, and its database the statistics.
            say: Takes lines for people.
            sliced: The same detector, which tiles large frames; None if there is none.
            at_once: The number of threads that call `detect` at the same time.
        """
        self._config, self._outbox, self._say = config, outbox, say
        self._detection = SlicedCameras(detector, sliced or detector, config.cameras, say, at_once=at_once)
        self._classes = detector.label_map.names
        self._cameras = {camera.name: camera for camera in config.cameras}
        self._tracking = {name: Tracking(detector.label_map, list(thresholds)) for name in self._cameras}
        self._scenes = {name: CameraScene(camera) for name, camera in self._cameras.items()}
        self._rules = {
            name: CameraRules(tuple(rule for rule in config.rules if camera in config.cameras_of(rule)))
            for name, camera in self._cameras.items()
        }
        self._statistics = VisitStatistics(config.compliant)
        self._unstored: deque[_Unstored] = deque(maxlen=MOST_UNSTORED)
        self._troubles: set[str] = set()
        self._people: dict[str, tuple[float, dict[str, int]]] = {}

    def detect(self, name: str, frame: Frame) -> sv.Detections:
        """Find the faces in a camera's frame."""
        return self._detection.detect(name, frame.image)

    def look(self, name: str, frame: Frame, at: float, detected: sv.Detections) -> int:
        """Take a camera's next frame, of a time in seconds since 1970, with its faces. Returns the number of events."""
        height, width = frame.image.shape[:2]
        tracked = self._tracking[name].update(detected, frame.time).all
        scene = self._scenes[name].update(people_of(tracked, width, height), frame.time)
        self._statistics.update(name, scene, at)
        counts = Counter(person.class_name for person in scene.people)
        people = {class_name: counts[class_name] for class_name in self._classes}
        self._people[name] = time.monotonic(), people
        local = time.localtime(at)
        fired = self._rules[name].update(scene, frame.time, 60 * local.tm_hour + local.tm_min)
        for firing in fired:
            self._store(self._event(name, firing, at, frame.image, detected, tracked), at, firing)
        return len(fired)

    @property
    def unstored(self) -> int:
        """The number of events that wait in memory because the disk is full."""
        return len(self._unstored)

    def people(self) -> dict[str, dict[str, int]]:
        """The number of people by camera and class; nobody where no frame has come for `STALE` seconds."""
        now = time.monotonic()
        return {
            name: {class_name: count if now - at < STALE else 0 for class_name, count in counts.items()}
            for name, (at, counts) in self._people.items()
        }

    def save(self) -> None:
        """Try again to store what could not be stored, save the statistics, and touch the lock: the watch is alive."""
        self._try("event", self._store_all)
        self._try("statistics", lambda: self._statistics.save(self._outbox.connection))
        self._try("sign of life", lock_of(self._config).touch)

    def prune(self, at: float) -> None:
        """Delete what is older than the configuration allows, at a time in seconds since 1970."""
        oldest = at - 86_400 * self._config.keep_days

        def delete() -> None:
            lost = self._outbox.delete_before(oldest)
            if lost:
                self._say(f"{lost} events were never delivered in {self._config.keep_days:g} days and are deleted")
            delete_statistics_before(self._outbox.connection, oldest)
            for action in self._config.actions:
                if isinstance(action, Snapshot):
                    snapshots.delete_snapshots_before(action.folder, oldest)

        self._try("old events", delete)

    def close(self, at: float) -> None:
        """End the stays of all people, and save."""
        for name, scene in self._scenes.items():
            self._statistics.update(name, scene.close(), at)
        self.save()
        if self._unstored:
            self._say(f"{len(self._unstored)} events could not be stored and are lost")

    def _event(
        self, name: str, firing: Firing, at: float, image: np.ndarray, detected: sv.Detections, tracked: sv.Detections
    ) -> Event:
        rule, person = firing.rule, firing.person
        event = Event(
            event_version=EVENT_VERSION,
            event_id=new_event_id(),
            time=utc_text(at),
            rule=rule.name,
            kind="stay" if rule.line is None else "crossing",
            camera=name,
            class_name=person.class_name,
            score=person.score,
            track=person.track,
            seconds=firing.seconds,
            zone=rule.zone,
            line=rule.line,
            direction=firing.direction,  # type: ignore[arg-type]
            box=person.box,
            people=self._people[name][1],
        )
        for action in self._config.actions_of(rule):
            if isinstance(action, Snapshot):
                faces = snapshots.possible_faces(detected, tracked)
                with self._noting("snapshot"):
                    event = replace(event, snapshot=snapshots.write_snapshot(action, event.event_id, image, faces))
        return event

    def _store(self, event: Event, at: float, firing: Firing) -> None:
        actions = [action for action in self._config.actions_of(firing.rule) if not isinstance(action, Snapshot)]
        self._unstored.append(_Unstored(event, at, tuple(names_of(actions))))
        self._try("event", self._store_all)

    def _store_all(self) -> None:
        while self._unstored:
            first = self._unstored[0]
            self._outbox.add(first.event.event_id, first.at, first.event.to_json(), first.actions)
            self._unstored.popleft()

    def _try(self, what: str, work: Callable[[], None]) -> None:
        with self._noting(what):
            work()

    @contextlib.contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        """Go on where the disk is full, and say so once, until it works again."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            if what not in self._troubles:
                self._say(
                    f"{self._config.database}: {what}: cannot be stored ({error}). The watch goes on and tries again."
                )
            self._troubles.add(what)
        else:
            if what in self._troubles:
                self._troubles.discard(what)
                self._say(f"{self._config.database}: {what}: can be stored again")


def lock_of(config: WatchConfig) -> Path:
    """The lock file of the watch. Its time of change is at most `SAVE_EVERY` seconds ago while the watch works."""
    return config.database.with_suffix(".lock")


def open_sources(config: WatchConfig, find: Callable[[str], object] = sources.find_source) -> dict[str, Footage]:
    """Find the source of each camera. Opens no camera and no stream yet.

    Raises:
        UserError: A source names nothing that exists, or pictures; or its secret cannot be read.
    """
    footage = {}
    for camera in config.cameras:
        try:
            address = camera.source.read()
            if is_address(address):
                split_address(address)  # its error holds no address, so it may be shown as it is
        except UserError as error:
            raise UserError(f"camera {camera.name}: {error}") from None
        try:
            found = find(address)
        except UserError as error:
            # The address out of a file or the environment may hold a password.
            reason = str(error) if camera.source.value is not None else "its source names nothing that exists."
            raise UserError(f"camera {camera.name}: {reason}") from None
        if not isinstance(found, Footage):
            reason = f"{source_title(camera)} names pictures. Give a camera, a stream or a video."
            raise UserError(f"camera {camera.name}: {reason}")
        footage[camera.name] = found if camera.source.value is not None else _renamed(found, source_title(camera))
    return footage


def _renamed(footage: Footage, title: str) -> Footage:
    """Footage under another name, also in its messages: the path of an address may hold a password too."""

    def frames(stopped: Stopped, warn: Warn) -> Iterator[Frame]:
        try:
            yield from footage.frames(stopped, lambda words: warn(words.replace(footage.title, title)))
        except UserError as error:
            raise UserError(str(error).replace(footage.title, title)) from None

    return replace(footage, title=title, frames=frames)


def run_watch(
    config: WatchConfig,
    detector: Detector,
    thresholds: Sequence[float],
    footage: Mapping[str, Footage],
    receivers: Mapping[str, EventReceiver] | None = None,
    say: Callable[[str], None] | None = None,
    halted: Callable[[], bool] = lambda: False,
    sliced: Detector | None = None,
    at_once: int = 1,
    started: float | None = None,
) -> None:
    """Watch until Ctrl-C or SIGTERM, or until all video files have ended.

    Args:
        config: The configuration.
        detector: Finds the faces.
        thresholds: See `Watch`.
        footage: The cameras' sources by their names; see `open_sources`.
        receivers: The opened actions; None opens those of the configuration.
        say: Takes lines for people; None prints them on stderr.
        halted: Ends the watch, besides signals.
        sliced: See `Watch`.
        at_once: The number of frames that are detected at the same time.
        started: The time of the first frame of video files, in seconds since 1970; None is now.

    Raises:
        UserError: Another watch uses the database, a video file cannot be read, or an action cannot be opened.
    """
    say = say or (lambda words: print(words, file=sys.stderr, flush=True))
    busy = f"{config.database}: another watch uses it. End that, or give database: another name."
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(signals.listening_for_signals())
        stop.nothing_to_save = False
        stopped = threading.Event()

        def asked() -> bool:
            return stop.signal is not None or stopped.is_set() or halted()

        stack.enter_context(holding_lock(lock_of(config), busy))
        outbox = Outbox(config.database)
        stack.callback(outbox.close)
        if receivers is None:
            receivers = open_receivers(config, detector.label_map.names)
        _tell_waiting(outbox, receivers, say)
        wake = stack.enter_context(delivering(receivers, config.database, say))
        watch = Watch(config, detector, thresholds, outbox, say, sliced, at_once)
        feeds = stack.enter_context(open_feeds(footage, say, asked))
        stack.callback(stopped.set)
        coming = detect_frames(feeds, watch.detect, at_once, asked)
        stack.enter_context(contextlib.closing(coming))  # type: ignore[type-var]
        started = time.time() if started is None else started
        _loop(watch, feeds, coming, footage, started, receivers, wake, say, detector.label_map.names)
        watch.close(time.time())
        wake()
        if not asked():  # all files have ended: nobody waits for this process to stop
            end = time.monotonic() + DRAIN
            while not asked() and time.monotonic() < end and any(map(outbox.count_waiting().get, receivers)):
                time.sleep(0.05)


def _loop(
    watch: Watch,
    feeds: CameraFeeds,
    coming: Iterator[DetectedFrame | None],
    footage: Mapping[str, Footage],
    started: float,
    receivers: Mapping[str, EventReceiver],
    wake: Callable[[], None],
    say: Callable[[str], None],
    classes: Sequence[str],
) -> None:
    tick = _Ticks()
    for one in coming:
        if one is not None and one.found is not None:
            # A file is read faster or slower than it was filmed: its events have the times of its frames.
            at = one.taken if footage[one.name].live else started + one.frame.time
            if watch.look(one.name, one.frame, at, one.found):
                wake()
        now = time.monotonic()
        if (tick.due("store", RETRY_EVERY, now) and watch.unstored) or tick.due("save", SAVE_EVERY, now):
            watch.save()
            wake()
        if tick.due("prune", PRUNE_EVERY, now, first=True):
            watch.prune(time.time())
        if tick.due("show", SHOW_EVERY, now):
            for receiver in receivers.values():
                for name, counts in watch.people().items():
                    receiver.show_people(name, counts)
        if tick.due("tell", TELL_EVERY, now):
            say(rates_text(feeds.rates(), watch.people(), classes))


class _Ticks:
    """What is done every so many seconds."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def due(self, name: str, every: float, now: float, first: bool = False) -> bool:
        at = self._next.setdefault(name, now if first else now + every)
        if now < at:
            return False
        self._next[name] = now + every
        return True


def _tell_waiting(outbox: Outbox, receivers: Mapping[str, EventReceiver], say: Callable[[str], None]) -> None:
    for action, count in outbox.count_waiting().items():
        known = (
            "" if action in receivers else ", which the configuration no longer has: they are kept until they are old"
        )
        say(f"{count} event{'s' * (count != 1)} from earlier wait{'s' * (count == 1)} for the action {action}{known}")
