"""Rules on tracked people: who stays too long, who crosses a line. Pure: times are arguments."""

from collections.abc import Iterator
from dataclasses import dataclass

from facemask.watch.camera_scene import GRACE, Person, Scene
from facemask.watch.watch_config import Rule, parse_hours


@dataclass(frozen=True)
class Firing:
    """A rule that has just come true.

    Attributes:
        rule: The rule.
        person: Who made it true.
        seconds: How long the person had stayed; 0 for a crossing.
        direction: `in` or `out` for a crossing, or None.
    """

    rule: Rule
    person: Person
    seconds: float
    direction: str | None = None


@dataclass
class _Stay:
    begun: float
    last: float
    reported: bool = False


class CameraRules:
    """The rules of one camera.

    A stay is reported once, however long it lasts. It is over when the person was out of the zone, of another class, or
    out of sight for more than `GRACE` seconds. A stay that becomes long enough during a cooldown is reported after it.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        """Follow `rules`, which all hold for this camera."""
        self._rules = rules
        self._stays: dict[tuple[str, int], _Stay] = {}
        self._last: dict[str, float] = {}

    def update(self, scene: Scene, time: float, minute: int) -> list[Firing]:
        """The rules that come true with a frame.

        Args:
            scene: The frame.
            time: Its time in seconds; later than the last frame's.
            minute: The local time in minutes since midnight, in 0..1439.
        """
        self._stays = {key: stay for key, stay in self._stays.items() if time - stay.last <= GRACE}
        fired: list[Firing] = []
        for rule in self._rules:
            if holds_at(rule, minute):
                found = self._crossings(rule, scene) if rule.line is not None else self._stayed(rule, scene, time)
                fired += self._after_cooldown(rule, found, time)
        return fired

    def _crossings(self, rule: Rule, scene: Scene) -> Iterator[tuple[Firing, _Stay | None]]:
        for crossing in scene.crossings:
            if (
                crossing.line == rule.line
                and rule.direction in ("both", crossing.direction)
                and crossing.person.class_name in rule.classes
            ):
                yield Firing(rule, crossing.person, 0.0, crossing.direction), None

    def _stayed(self, rule: Rule, scene: Scene, time: float) -> Iterator[tuple[Firing, _Stay | None]]:
        for person in scene.people:
            if person.class_name in rule.classes and (rule.zone is None or person.track in scene.zones[rule.zone]):
                stay = self._stays.setdefault((rule.name, person.track), _Stay(time, time))
                stay.last = time
                if not stay.reported and time - stay.begun >= rule.seconds:
                    yield Firing(rule, person, round(time - stay.begun, 3)), stay

    def _after_cooldown(
        self, rule: Rule, found: Iterator[tuple[Firing, _Stay | None]], time: float
    ) -> Iterator[Firing]:
        for firing, stay in found:
            last = self._last.get(rule.name)
            if last is None or time - last >= rule.cooldown:
                self._last[rule.name] = time
                if stay is not None:
                    stay.reported = True
                yield firing


def holds_at(rule: Rule, minute: int) -> bool:
    """Whether a rule holds at a minute of the local day, in 0..1439. `22:00-06:00` goes over midnight."""
    start, end = parse_hours(rule.hours)
    return start <= minute < end if start <= end else minute >= start or minute < end
