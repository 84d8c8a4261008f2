"""Rules, zones and lines, on people that are made up: no clock, no picture."""

from collections.abc import Sequence

import numpy as np
import pytest
import supervision as sv

from facemask.watch.camera_scene import CameraScene, Person, is_inside, people_of, side_of
from facemask.watch.watch_config import Camera, Line, Rule, Text, Zone, parse_hours
from facemask.watch.watch_rules import CameraRules, Firing, holds_at

ZONE = Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
LINE = Line("step", ((0.2, 0.5), (0.8, 0.5)))
CAMERA = Camera("door", Text("0"), zones=(ZONE,), lines=(LINE,))


def person(x: float = 0.25, y: float = 0.25, name: str = "without_mask", track: int = 1) -> Person:
    return Person(track, name, 0.9, (x - 0.05, y - 0.05, x + 0.05, y + 0.05))


class Player:
    """Plays frames of people to the rules, and keeps when which rule fired."""

    def __init__(self, *rules: Rule) -> None:
        self.scene, self.rules = CameraScene(CAMERA), CameraRules(rules)
        self.fired: list[tuple[float, Firing]] = []
        self.time = 0.0

    def play(self, seconds: float, *people: Person, minute: int = 720) -> "Player":
        for _ in range(round(seconds * 8)):
            scene = self.scene.update(people, self.time)
            self.fired += [(round(self.time, 3), firing) for firing in self.rules.update(scene, self.time, minute)]
            self.time += 0.125  # a binary fraction: sums are exact
        return self

    def walk(self, points: Sequence[tuple[float, float]], track: int = 1) -> "Player":
        for x, y in points:
            self.play(0.125, person(x, y, track=track))
        return self

    @property
    def times(self) -> list[float]:
        return [time for time, _ in self.fired]


def stay(**options: object) -> Rule:
    return Rule("stay", classes=("without_mask",), seconds=3.0, **options)  # type: ignore[arg-type]


def test_who_stays_is_reported_once_after_the_seconds() -> None:
    player = Player(stay(cooldown=0)).play(20, person())
    assert player.times == [3.0]
    firing = player.fired[0][1]
    assert (firing.seconds, firing.person.track, firing.direction) == (3.0, 1, None)


def test_who_leaves_before_is_not_reported() -> None:
    assert Player(stay()).play(2.9, person()).play(3).play(2.9, person()).times == []


def test_who_is_out_of_sight_for_a_moment_has_stayed() -> None:
    assert Player(stay()).play(2, person()).play(0.8).play(2, person()).times == [3.0]


def test_who_comes_back_is_reported_again() -> None:
    assert Player(stay(cooldown=0)).play(4, person()).play(2).play(4, person()).times == [3.0, 9.0]


def test_a_mask_that_is_put_on_ends_the_stay() -> None:
    player = Player(stay()).play(2, person()).play(2, person(name="with_mask")).play(2.9, person())
    assert player.times == []


def test_only_the_zone_counts() -> None:
    assert Player(stay(zone="left")).play(5, person(x=0.75)).times == []
    assert Player(stay(zone="left")).play(2, person(x=0.75)).play(4, person()).times == [5.0]


def test_in_the_cooldown_nobody_is_reported_and_who_is_still_there_comes_after_it() -> None:
    both = person(), person(x=0.4, track=2)
    player = Player(stay(cooldown=5)).play(20, *both)
    assert player.times == [3.0, 8.0]
    assert [firing.person.track for _, firing in player.fired] == [1, 2]


def test_rules_have_cooldowns_of_their_own() -> None:
    other = Rule("other", classes=("with_mask", "without_mask"), seconds=4)
    assert Player(stay(cooldown=60), other).play(9, person()).times == [3.0, 4.0]


def test_the_hours_count_by_the_minute() -> None:
    rule = stay(hours="22:00-06:00", cooldown=0)
    assert Player(rule).play(9, person(), minute=720).times == []
    assert Player(rule).play(9, person(), minute=720).play(9, person(), minute=1320).times == [12.0]
    assert [holds_at(rule, minute) for minute in (1319, 1320, 0, 359, 360)] == [False, True, True, True, False]
    assert holds_at(stay(), 1439) and parse_hours("8:30 - 24:00") == (510, 1440)


DOWN = [(0.5, 0.3 + 0.02 * i) for i in range(20)]


@pytest.mark.parametrize(
    ("direction", "way", "said"),
    [
        ("both", DOWN, ["in"]),
        ("both", DOWN[::-1], ["out"]),
        ("in", DOWN, ["in"]),
        ("out", DOWN, []),
        ("both", DOWN + DOWN[::-1], ["in", "out"]),
        ("both", [(0.1, y) for _, y in DOWN], []),  # past the end of the line
        ("both", DOWN[:9], []),  # not across
        ("both", [(0.5, 0.5 + 0.005 * (-1) ** i) for i in range(50)], []),  # trembles on the line
    ],
)
def test_a_line_is_crossed(direction: str, way: list[tuple[float, float]], said: list[str]) -> None:
    rule = Rule("line", classes=("without_mask",), line="step", direction=direction, cooldown=0)
    assert [firing.direction for _, firing in Player(rule).walk(way).fired] == said


def test_two_people_cross_in_one_frame() -> None:
    rule = Rule("line", classes=("without_mask",), line="step", cooldown=0)
    player = Player(rule)
    for _, y in DOWN:
        player.play(0.125, person(0.4, y), person(0.6, y, track=2))
    assert [firing.person.track for _, firing in player.fired] == [1, 2]


def test_points_and_zones() -> None:
    star = Zone("star", ((0.5, 0), (0.6, 0.4), (1, 0.5), (0.6, 0.6), (0.5, 1), (0.4, 0.6), (0, 0.5), (0.4, 0.4)))
    assert is_inside(star, (0.5, 0.1)) and not is_inside(star, (0.3, 0.3))
    assert [side_of(LINE, (0.5, y)) for y in (0.4, 0.495, 0.505, 0.6)] == [-1, 0, 0, 1]


def test_visits_and_people_who_left() -> None:
    scene = CameraScene(CAMERA)
    for i in range(30):
        assert scene.update((person(),), i / 10).visits == ()
    later = scene.update((person(x=0.75),), 4.5)
    assert [(visit.zone, visit.seconds) for visit in later.visits] == [("left", pytest.approx(2.9))]
    assert [gone.track for gone in scene.close().left] == [1]


def test_a_thousand_people_leave_nothing_behind() -> None:
    scene, rules = CameraScene(CAMERA), CameraRules((stay(), stay(zone="left")))
    for i in range(1000):
        rules.update(scene.update((person(track=i + 1),), i / 2), i / 2, 0)
    assert len(scene._known) <= 3 and len(rules._stays) <= 6


def test_people_come_from_tracks_with_a_number() -> None:
    tracked = sv.Detections(
        xyxy=np.array([[10, 20, 30, 40], [0, 0, 10, 10], [-5, 0, 300, 50]], np.float32),
        confidence=np.array([0.9, 0.8, 0.7], np.float32),
        class_id=np.array([1, 2, 2]),
        tracker_id=np.array([3, -1, 4]),
        data={"class_name": np.array(["with_mask", "without_mask", "without_mask"])},
    )
    people = people_of(tracked, 200, 100)
    assert people == (
        Person(3, "with_mask", 0.9, (0.05, 0.2, 0.15, 0.4)),
        Person(4, "without_mask", 0.7, (0, 0, 1, 0.5)),
    )
