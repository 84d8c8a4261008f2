"""Who is where in front of one camera: tracked faces in zones and across lines, from frame to frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv

from facemask.media.tracking import FORGET
from facemask.watch.watch_config import Camera, Line, Point, Zone

GRACE = FORGET
"""Seconds for which somebody may be out of sight, or out of a zone, without having left."""

DEAD_BAND = 0.01
"""The distance from a line, as a share of the picture, within which a face is on neither side. Without it, a box that
trembles on the line would cross it again and again."""


@dataclass(frozen=True)
class Person:
    """A tracked face in one frame.

    Attributes:
        track: The number of the track, from 1.
        class_name: The class that the track's frames voted for.
        score: The score of the latest detection, in 0..1.
        box: Left, top, right, bottom in shares of the picture, in 0..1.
    """

    track: int
    class_name: str
    score: float
    box: tuple[float, float, float, float]

    @property
    def point(self) -> Point:
        """The centre of the face, (x, y) in shares: it decides in which zone the person is."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class Crossing:
    """A person who has just crossed a line, `in` or `out`."""

    person: Person
    line: str
    direction: str


@dataclass(frozen=True)
class Visit:
    """A stay in a zone that has ended.

    Attributes:
        zone: The zone's name.
        track: The number of the track.
        seconds: From the first to the last frame in the zone.
    """

    zone: str
    track: int
    seconds: float


@dataclass(frozen=True)
class Scene:
    """One frame, as rules and statistics see it.

    Attributes:
        people: The tracked faces.
        zones: For each zone's name, the numbers of the tracks in it.
        crossings: Who has crossed a line since the frame before.
        visits: The stays in zones that are over.
        left: People who are gone, as they were last seen.
    """

    people: tuple[Person, ...]
    zones: dict[str, frozenset[int]]
    crossings: tuple[Crossing, ...]
    visits: tuple[Visit, ...]
    left: tuple[Person, ...]


@dataclass
class _Known:
    """What is remembered of a track: the latest sight, the side of each line, and the stay in each zone."""

    person: Person
    seen: float
    sides: dict[str, tuple[int, Point]]
    stays: dict[str, tuple[float, float]]


class CameraScene:
    """Follows the people of one camera. Time is an argument, so the same calls give the same results."""

    def __init__(self, camera: Camera) -> None:
        """Follow people through the zones and lines of `camera`."""
        self._zones, self._lines = camera.zones, camera.lines
        self._known: dict[int, _Known] = {}

    def update(self, people: Sequence[Person], time: float) -> Scene:
        """Take the next frame.

        Args:
            people: The tracked faces of the frame.
            time: The frame's time in seconds; later than the last frame's.
        """
        crossings: list[Crossing] = []
        for person in people:
            known = self._known.setdefault(person.track, _Known(person, time, {}, {}))
            known.person, known.seen = person, time
            crossings += self._crossings(known)
            for zone in self._zones:
                if is_inside(zone, person.point):
                    known.stays[zone.name] = known.stays.get(zone.name, (time, time))[0], time
        gone = [track for track, known in self._known.items() if time - known.seen > GRACE]
        visits = list(self._ended_visits(time))
        left = [self._known.pop(track).person for track in gone]
        zones = {
            zone.name: frozenset(person.track for person in people if is_inside(zone, person.point))
            for zone in self._zones
        }
        return Scene(tuple(people), zones, tuple(crossings), tuple(visits), tuple(left))

    def close(self) -> Scene:
        """Everybody leaves: the camera ends."""
        return self.update((), 1e18)

    def _crossings(self, known: _Known) -> Iterator[Crossing]:
        for line in self._lines:
            side = side_of(line, known.person.point)
            if not side:
                continue
            before = known.sides.get(line.name)
            known.sides[line.name] = side, known.person.point
            if before is not None and before[0] != side and _passes(line, before[1], known.person.point):
                yield Crossing(known.person, line.name, "in" if side > 0 else "out")

    def _ended_visits(self, time: float) -> Iterator[Visit]:
        for track, known in self._known.items():
            for zone, (begun, last) in list(known.stays.items()):
                if time - last > GRACE:
                    del known.stays[zone]
                    yield Visit(zone, track, last - begun)


def people_of(tracked: sv.Detections, width: int, height: int) -> tuple[Person, ...]:
    """The people of a frame from its tracked detections. A face in its first frame has no number yet: it is left out.

    Args:
        tracked: Boxes in pixels, with `tracker_id` and `data["class_name"]`.
        width: The frame's width in pixels.
        height: The frame's height in pixels.
    """
    boxes = (np.asarray(tracked.xyxy, float) / (width, height, width, height)).clip(0, 1).round(4)
    return tuple(
        Person(int(track), str(name), round(float(score), 4), (box[0], box[1], box[2], box[3]))
        for track, name, score, box in zip(
            tracked.tracker_id, tracked.data["class_name"], tracked.confidence, boxes.tolist(), strict=True
        )
        if track >= 1
    )


def is_inside(zone: Zone, point: Point) -> bool:
    """Whether a point is in a zone or on its edge; both in shares of the picture."""
    return bool(cv2.pointPolygonTest(np.array(zone.polygon, np.float32), point, False) >= 0)


def side_of(line: Line, point: Point) -> int:
    """On which side of a line, made endless, a point is.

    Returns:
        1 right of it and -1 left of it, seen from the first end towards the second; 0 within `DEAD_BAND`.
    """
    (x0, y0), (x1, y1) = line.points
    # The cross product is the distance from the line times the line's length. y grows downwards.
    distance = ((x1 - x0) * (point[1] - y0) - (y1 - y0) * (point[0] - x0)) / float(np.hypot(x1 - x0, y1 - y0))
    return 0 if abs(distance) < DEAD_BAND else 1 if distance > 0 else -1


def _passes(line: Line, start: Point, end: Point) -> bool:
    """Whether a path from one side of the endless line to the other passes between the line's two ends."""
    (x0, y0), (x1, y1) = line.points
    dx, dy, ex, ey = x1 - x0, y1 - y0, end[0] - start[0], end[1] - start[1]
    share = ((start[0] - x0) * ey - (start[1] - y0) * ex) / (dx * ey - dy * ex)
    return 0 <= share <= 1
