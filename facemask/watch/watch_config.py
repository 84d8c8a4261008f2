"""What `make watch` is told: cameras, rules and actions, from one YAML file.

docs/watch.md describes the file, configs/watch.yaml is an example. The classes below are its schema: a field is a
key of the file, with its default.
"""

import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from facemask.core.errors import UserError
from facemask.core.stream_addresses import address_title, is_address
from facemask.watch.marked_yaml import MarkedYaml, read_yaml

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=2000)

LEAST_AREA = 1e-4
"""The smallest area of a zone, as a share of the picture's. Corners on one line have none."""

UNNAMED = MarkedYaml(Path("the default configuration"), {}, None)
"""Stands for the file where there is none."""

Keys = tuple[str | int, ...]


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", name):
        raise ValueError("a name has at most 40 letters, digits, hyphens and underscores")
    return name


def _checked_hours(hours: str) -> str:
    parse_hours(hours)
    return hours


def _checked_file(path: Path) -> Path:
    if not path.name:
        raise ValueError("give the name of a file")
    return path


def _checked_http(text: "Text") -> "Text":
    if text.value is not None and not re.match(r"https?://[^/]", text.value):
        raise ValueError("give a URL that begins with http:// or https://")
    return text


def _checked_slices(value: Any) -> Any:
    if value is True or value is False or value == "auto":
        return value
    raise ValueError("give auto, true or false")


def _as_text(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        raise ValueError("give a text, or {env: NAME}, or {file: path}")
    return {"value": str(value)} if isinstance(value, (str, int)) else value


def _as_secret(value: Any) -> Any:
    if isinstance(value, Text) or (isinstance(value, dict) and "value" not in value):
        return value
    raise ValueError("a secret does not stand in this file. Give {env: NAME} or {file: path}")


@dataclass(frozen=True, config=STRICT)
class Text:
    """A text that stands in the YAML, in an environment variable, or in a file. Its value is in no `repr`."""

    value: str | None = field(default=None, repr=False)
    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _one(self) -> "Text":
        if [self.value, self.env, self.file].count(None) != 2:
            raise ValueError("give either a text, or {env: NAME}, or {file: path}")
        return self

    def read(self) -> str:
        """The text. Raises a UserError, without the text, if the variable is not set or the file cannot be read."""
        if self.value is not None:
            return self.value
        if self.env is not None:
            if not os.environ.get(self.env):
                raise UserError(f"the environment variable {self.env} is not set.")
            return os.environ[self.env]
        try:
            found = Path(str(self.file)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise UserError(f"{self.file}: cannot be read ({type(error).__name__}).") from None
        if not found:
            raise UserError(f"{self.file}: is empty.")
        return found


Name = Annotated[str, AfterValidator(_checked_name)]
OpenText = Annotated[Text, BeforeValidator(_as_text)]
Secret = Annotated[Text, BeforeValidator(_as_secret)]
Share = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Share, Share]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


@dataclass(frozen=True, config=STRICT)
class Zone:
    """A part of the picture.

    Attributes:
        name: Its name.
        polygon: Its corners as (x, y) in shares of the picture's width and height, from the upper left corner.
    """

    name: Name
    polygon: Annotated[tuple[Point, ...], Field(min_length=3, max_length=100)]

    @model_validator(mode="after")
    def _has_area(self) -> "Zone":
        following = (*self.polygon[1:], self.polygon[0])
        twice = sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(self.polygon, following, strict=True))
        if abs(twice) / 2 < LEAST_AREA:
            raise ValueError("the polygon has no area")
        return self


@dataclass(frozen=True, config=STRICT)
class Line:
    """A line that people cross.

    Attributes:
        name: Its name.
        points: Its two ends as (x, y) in shares. Who crosses it from the left, seen from the first end towards the
            second, goes `in`.
    """

    name: Name
    points: tuple[Point, Point]

    @model_validator(mode="after")
    def _has_length(self) -> "Line":
        if self.points[0] == self.points[1]:
            raise ValueError("the two ends are the same point")
        return self


@dataclass(frozen=True, config=STRICT)
class Camera:
    """A source of frames.

    Attributes:
        name: Its name in events and statistics.
        source: What `make infer IMG=` takes, pictures excepted.
        region: The part of the picture in which faces are looked for, as (left, top, right, bottom) in shares.
        slices: Whether large frames are detected in slices too; `auto` for yes, if the machine is fast enough.
        zones: Its zones, in shares of the whole picture.
        lines: Its lines, in shares of the whole picture.
    """

    name: Name
    source: OpenText
    region: tuple[Share, Share, Share, Share] = (0.0, 0.0, 1.0, 1.0)
    slices: Annotated[bool | Literal["auto"], BeforeValidator(_checked_slices)] = "auto"
    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()

    @model_validator(mode="after")
    def _has_region(self) -> "Camera":
        left, top, right, bottom = self.region
        if right - left < 0.05 or bottom - top < 0.05:
            raise ValueError("region: give left, top, right, bottom, at least a twentieth apart")
        return self


@dataclass(frozen=True, config=STRICT)
class Rule:
    """When an event happens: somebody of a class stays for some seconds, or crosses a line.

    Attributes:
        name: Its name in events.
        classes: The classes that count.
        seconds: How long somebody has to stay; only without a line.
        zone: The zone to stay in; None for the whole picture.
        line: The line to cross.
        direction: The direction in which the line counts.
        cameras: The names of the cameras it holds for; empty for all that have the zone or the line.
        cooldown: Seconds after an event in which the rule makes no other one at that camera.
        hours: Hours of the local day in which the rule holds, as `22:00-06:00`.
        actions: The names of the actions; empty for all.
    """

    name: Name
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    seconds: Seconds = 0.0
    zone: str | None = None
    line: str | None = None
    direction: Literal["in", "out", "both"] = "both"
    cameras: tuple[str, ...] = ()
    cooldown: Seconds = 10.0
    hours: Annotated[str, AfterValidator(_checked_hours)] = "00:00-24:00"
    actions: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_kind(self) -> "Rule":
        if self.zone is not None and self.line is not None:
            raise ValueError("give a zone or a line, not both")
        if self.line is not None and self.seconds:
            raise ValueError("crossing a line takes no time: leave seconds out")
        if self.line is None and self.direction != "both":
            raise ValueError("a direction needs a line")
        return self


@dataclass(frozen=True, config=STRICT)
class JsonLines:
    """A line of JSON for each event, on stdout or at the end of a file."""

    kind: Literal["json"]
    name: Name = "json"
    file: Path | None = None


@dataclass(frozen=True, config=STRICT)
class Webhook:
    """A POST for each event; signed as in Standard Webhooks where a secret is given."""

    kind: Literal["webhook"]
    url: Annotated[OpenText, AfterValidator(_checked_http)]
    name: Name = "webhook"
    secret: Secret | None = None
    timeout: Annotated[float, Field(ge=0.1, le=60)] = 10.0


@dataclass(frozen=True, config=STRICT)
class Mqtt:
    """A message for each event, and the number of people by class; Home Assistant finds both by itself."""

    kind: Literal["mqtt"]
    host: Annotated[str, Field(min_length=1)]
    name: Name = "mqtt"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    tls: bool = False
    ca_file: Path | None = None
    user: str | None = None
    password: Secret | None = None
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")] = "facemask"
    home_assistant: bool = True


@dataclass(frozen=True, config=STRICT)
class Command:
    """A program that gets each event on stdin. No shell is involved."""

    kind: Literal["command"]
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    name: Name = "command"
    timeout: Annotated[float, Field(ge=0.1, le=600)] = 30.0


@dataclass(frozen=True, config=STRICT)
class Snapshot:
    """A picture for each event, in which the faces are blurred."""

    kind: Literal["snapshot"]
    name: Name = "snapshot"
    folder: Path = Path("workspace/watch/snapshots")
    blur: bool = True


Action = Annotated[JsonLines | Webhook | Mqtt | Command | Snapshot, Field(discriminator="kind")]


@dataclass(frozen=True, config=STRICT)
class WatchConfig:
    """The whole file.

    Attributes:
        cameras: At least one.
        rules: The rules.
        actions: What is done with each event. Without any, events are printed on stdout as JSON.
        database: The SQLite file of events and statistics.
        keep_days: Days after which events, snapshots and statistics are deleted.
        compliant: The classes that count as compliant in the statistics.
    """

    cameras: Annotated[tuple[Camera, ...], Field(min_length=1, max_length=64)]
    rules: tuple[Rule, ...] = ()
    actions: tuple[Action, ...] = (JsonLines("json"),)
    database: Annotated[Path, AfterValidator(_checked_file)] = Path("workspace/watch/watch.sqlite3")
    keep_days: Annotated[float, Field(gt=0, le=3660)] = 30.0
    compliant: tuple[str, ...] = ("with_mask",)

    def cameras_of(self, rule: Rule) -> tuple[Camera, ...]:
        """The cameras for which a rule holds."""
        return tuple(
            camera
            for camera in self.cameras
            if (not rule.cameras or camera.name in rule.cameras)
            and (rule.zone is None or rule.zone in names_of(camera.zones))
            and (rule.line is None or rule.line in names_of(camera.lines))
        )

    def actions_of(self, rule: Rule) -> tuple[Action, ...]:
        """The actions of a rule."""
        return tuple(action for action in self.actions if not rule.actions or action.name in rule.actions)


def default_config() -> WatchConfig:
    """What holds without a file: camera 0, and an event when somebody is without a mask for three seconds."""
    return WatchConfig(
        cameras=(Camera("camera", Text("0")),), rules=(Rule("no-mask", classes=("without_mask",), seconds=3.0),)
    )


def read_config(path: Path) -> tuple[WatchConfig, MarkedYaml]:
    """Read and check a file. Opens no camera and reads no secret.

    Returns:
        The configuration, and the file, for errors that are found later.

    Raises:
        UserError: The file is not what it should be. The message has a line for each problem: `file:line: key: what`.
    """
    file = read_yaml(path)
    try:
        config = _schema().validate_python(file.value)
    except ValidationError as error:
        raise refused(file, list(_schema_problems(error))) from None
    problems = list(_misfits(config))
    if problems:
        raise refused(file, problems)
    return config, file


@functools.cache
def _schema() -> "TypeAdapter[WatchConfig]":
    return TypeAdapter(WatchConfig)


def refused(file: MarkedYaml, problems: Iterable[tuple[Keys, str]]) -> UserError:
    """The error that lists problems of a file, each with its keys."""
    lines = [f"{file.locate(keys)}: {words}" for keys, words in problems]
    return UserError(lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems:", *lines]))


def check_classes(config: WatchConfig, known: Sequence[str]) -> Iterator[tuple[Keys, str]]:
    """The classes of the configuration that the detector does not have, as problems."""
    words = f"is no class of the detector, which has {', '.join(known)}."
    for r, rule in enumerate(config.rules):
        for c, name in enumerate(rule.classes):
            if name not in known:
                yield ("rules", r, "classes", c), f"{name} {words}"
    for c, name in enumerate(config.compliant):
        if name not in known and config.compliant != ("with_mask",):
            yield ("compliant", c), f"{name} {words}"


def parse_hours(hours: str) -> tuple[int, int]:
    """The two minutes of the day of `22:00-06:00`: (1320, 360).

    Raises ValueError if it is not of that form, or if there is no time between the two.
    """
    found = re.fullmatch(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)", hours)
    if found:
        start_hour, start, end_hour, end = map(int, found.groups())
        first, last = 60 * start_hour + start, 60 * end_hour + end
        if start < 60 and end < 60 and first <= 1440 and last <= 1440:
            if first == last or (first, last) == (1440, 0):
                raise ValueError("there is no time between the two. 00:00-24:00 is the whole day")
            return first, last
    raise ValueError("give hours of the day as 22:00-06:00")


def source_title(camera: Camera) -> str:
    """A camera's source for messages, without user, password and query."""
    if camera.source.value is None:
        return f"the source of {camera.name}"
    return address_title(camera.source.value) if is_address(camera.source.value) else camera.source.value


def names_of(items: Iterable[Any]) -> list[str]:
    """The names of cameras, zones, lines, rules or actions."""
    return [item.name for item in items]


def _misfits(config: WatchConfig) -> Iterator[tuple[Keys, str]]:
    """Names that stand twice, or that name nothing."""
    for key in ("cameras", "rules", "actions"):
        yield from _twice((key,), getattr(config, key))
    for c, camera in enumerate(config.cameras):
        yield from _twice(("cameras", c, "zones"), camera.zones)
        yield from _twice(("cameras", c, "lines"), camera.lines)
    for r, rule in enumerate(config.rules):
        yield from _unknown(("rules", r, "cameras"), rule.cameras, names_of(config.cameras), "camera")
        yield from _unknown(("rules", r, "actions"), rule.actions, names_of(config.actions), "action")
        for key in ("zone", "line"):
            name = getattr(rule, key)
            for camera in config.cameras:
                if (
                    name is not None
                    and camera.name in rule.cameras
                    and name not in names_of(getattr(camera, key + "s"))
                ):
                    yield ("rules", r, key), f"the camera {camera.name} has no {key} {name}."
            if name is not None and not rule.cameras and not config.cameras_of(rule):
                known = [known for camera in config.cameras for known in names_of(getattr(camera, key + "s"))]
                there = f"there are {', '.join(known)}" if known else f"no camera has {key}s"
                yield ("rules", r, key), f"no camera has a {key} {name}; {there}."


def _twice(keys: Keys, items: Sequence[Any]) -> Iterator[tuple[Keys, str]]:
    names = names_of(items)
    for i, name in enumerate(names):
        if name in names[:i]:
            yield (*keys, i, "name"), f"{name} stands here twice. Give each a name of its own."


def _unknown(keys: Keys, names: Sequence[str], known: Sequence[str], what: str) -> Iterator[tuple[Keys, str]]:
    for i, name in enumerate(names):
        if name not in known:
            yield (*keys, i), f"no {what} is called {name}; there are {', '.join(known)}."


def _schema_problems(error: ValidationError) -> Iterator[tuple[Keys, str]]:
    places = [found["loc"] for found in error.errors()]
    for found in error.errors():
        place = found["loc"]
        # A list whose items are wrong is then too short as well.
        if found["type"] != "too_short" or not any(other != place and other[: len(place)] == place for other in places):
            yield place, _words(found)


def _words(found: Any) -> str:
    """A problem that pydantic found, without the value that stands there: it may be a secret."""
    if found["type"] == "extra_forbidden" or found["type"] == "unexpected_keyword_argument":
        return "no such key here."
    if found["type"] in ("missing", "missing_argument"):
        return "is missing."
    if found["type"] == "union_tag_invalid":
        return "there is no such kind; there are json, webhook, mqtt, command, snapshot."
    if found["type"] == "union_tag_not_found":
        return "its kind is missing: json, webhook, mqtt, command or snapshot."
    if found["type"] in ("dict_type", "dataclass_type", "model_attributes_type"):
        return "should be a mapping of keys to values."
    if found["type"] in ("less_than_equal", "greater_than_equal") and found["loc"][0] == "cameras":
        return "should be a share of the picture's width or height, from 0 to 1, not a number of pixels."
    if found["type"] == "tuple_type":
        return "should be a list, such as [a, b]."
    words = str(found["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return words.replace("valid tuple", "list").replace("Tuple", "it").rstrip(".") + "."
