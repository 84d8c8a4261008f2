"""The configuration: what it says, and what is wrong with it, by file, line and key."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from facemask.core.errors import UserError
from facemask.watch import watch_config, watch_loop
from facemask.watch.watch_config import Text, default_config, read_config

ROOT = Path(__file__).resolve().parents[2]

GOOD = """\
cameras:
  - name: door
    source: rtsp://user:hunter2@camera.local/stream
    zones:
      - name: entrance
        polygon: [[0, 0], [1, 0], [0.5, 1]]
    lines:
      - {name: step, points: [[0, 0.5], [1, 0.5]]}
rules:
  - name: no-mask
    classes: [without_mask]
    seconds: 3
    zone: entrance
actions:
  - kind: webhook
    url: {env: HOOK}
    secret: {env: HOOK_SECRET}
  - kind: mqtt
    host: localhost
    password: {file: /nowhere}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "watch.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as error:
        read_config(write(folder, text))
    return str(error.value).replace(str(folder / "watch.yaml"), "watch.yaml")


def test_the_example_is_what_holds_without_a_file() -> None:
    config, _ = read_config(ROOT / "configs" / "watch.yaml")
    assert config == default_config()


def test_the_example_is_right_with_all_that_it_can_do(tmp_path: Path) -> None:
    text = (ROOT / "configs" / "watch.yaml").read_text(encoding="utf-8")
    config, _ = read_config(write(tmp_path, re.sub(r"^#(?!#)", "", text, flags=re.MULTILINE)))
    assert [rule.name for rule in config.rules] == ["no-mask", "no-mask-at-night", "entered-without-mask"]
    assert [action.kind for action in config.actions] == ["json", "webhook", "mqtt", "command", "snapshot"]
    assert [camera.name for camera in config.cameras_of(config.rules[1])] == ["door"]
    assert [action.name for action in config.actions_of(config.rules[1])] == ["hook", "snapshot"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seconds: 3", "second: 3", "watch.yaml:12: rules[0].second: no such key here."),
        ("seconds: 3", "seconds: soon", "watch.yaml:12: rules[0].seconds: should be a valid number"),
        ("seconds: 3", "seconds: .nan", "watch.yaml:12: rules[0].seconds: should be a finite number."),
        ("seconds: 3", "seconds: -1", "watch.yaml:12: rules[0].seconds: should be greater than or equal to 0."),
        ("seconds: 3", "hours: 6-7", "watch.yaml:12: rules[0].hours: give hours of the day as 22:00-06:00."),
        ("seconds: 3", "hours: 06:00-25:00", "watch.yaml:12: rules[0].hours: give hours"),
        ("seconds: 3", "hours: 08:00-08:00", "watch.yaml:12: rules[0].hours: there is no time between the two."),
        ("seconds: 3", "hours: 24:00-00:00", "watch.yaml:12: rules[0].hours: there is no time between the two."),
        ("seconds: 3", "line: step", "watch.yaml:10: rules[0]: give a zone or a line, not both."),
        ("zone: entrance", "zone: exit", ":13: rules[0].zone: no camera has a zone exit; there are entrance."),
        ("zone: entrance", "cameras: [yard]", ":13: rules[0].cameras[0]: no camera is called yard; there are door."),
        ("zone: entrance", "actions: [sms]", "watch.yaml:13: rules[0].actions[0]: no action is called sms;"),
        ("[0.5, 1]", "[0.5, 1.5]", "watch.yaml:6: cameras[0].zones[0].polygon[2][1]: should be a share of"),
        ("    zones:", "    slices: maybe\n    zones:", "watch.yaml:4: cameras[0].slices: give auto, true or false."),
        (", [0.5, 1]", "", "watch.yaml:6: cameras[0].zones[0].polygon: it should have at least 3 items"),
        ("[0.5, 1]", "[0.5, 0]", "watch.yaml:5: cameras[0].zones[0]: the polygon has no area."),
        ("[1, 0], [0.5, 1]", "[0.5, 0.5], [0.9, 0.9]", "watch.yaml:5: cameras[0].zones[0]: the polygon has no area."),
        ("name: door", "name: the door", "watch.yaml:2: cameras[0].name: a name has at most 40 letters"),
        ("    source", "    name: x\n    source", "watch.yaml:3: name: stands here twice."),
        ("kind: webhook", "kind: pigeon", "watch.yaml:15: actions[0]: there is no such kind; there are json, webhook,"),
        ("{env: HOOK_SECRET}", "hunter2", "watch.yaml:17: actions[0].secret: a secret does not stand in this file."),
        ("{env: HOOK}", "ftp://hunter2", "watch.yaml:16: actions[0].url: give a URL that begins with http://"),
        ("{env: HOOK}", "{env: HOOK, file: x}", "watch.yaml:16: actions[0].url: give either a text, or {env: NAME}"),
        ("rules:", "database: ''\nrules:", "watch.yaml:9: database: give the name of a file."),
        ("rules:", "rules: &x\n  - *x", "holds an alias (*name) to this line."),
        ("seconds: 3", "seconds: [", "watch.yaml:14: not YAML (expected ',' or ']', but got ':')."),
        ("    seconds: 3", "\tseconds: 3", ":12: not YAML (this line is indented with a tab: use spaces)."),
        ("    seconds: 3", "   seconds: 3", ":12: not YAML (this line is not indented as the ones before"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    words = error_of(tmp_path, GOOD.replace(old, new, 1))
    assert said in words
    assert "hunter2" not in words


def test_all_problems_are_listed(tmp_path: Path) -> None:
    words = error_of(tmp_path, GOOD.replace("seconds: 3", "seconds: x").replace("host: localhost", "hosts: localhost"))
    assert words.splitlines() == [
        "3 problems:",
        "  watch.yaml:12: rules[0].seconds: should be a valid number, unable to parse string as a number.",
        "  watch.yaml:18: actions[1].host: is missing.",
        "  watch.yaml:19: actions[1].hosts: no such key here.",
    ]


def test_an_unknown_class_is_an_error_once_the_detector_is_known(tmp_path: Path) -> None:
    config, file = read_config(write(tmp_path, GOOD))
    assert list(watch_config.check_classes(config, ["with_mask", "without_mask"])) == []
    problems = list(watch_config.check_classes(config, ["mask", "face"]))
    assert "watch.yaml:11: rules[0].classes[0]: without_mask is no class" in str(watch_config.refused(file, problems))


def test_secrets_are_read_when_they_are_needed_and_show_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = read_config(write(tmp_path, GOOD))
    assert "hunter2" not in repr(config)
    with pytest.raises(UserError, match="HOOK_SECRET"):
        config.actions[0].secret.read()
    monkeypatch.setenv("HOOK_SECRET", "hunter3")
    assert config.actions[0].secret.read() == "hunter3"
    (tmp_path / "secret").write_text("hunter4\n")
    assert Text(file=tmp_path / "secret").read() == "hunter4"
    with pytest.raises(UserError, match="/nowhere: "):
        config.actions[1].password.read()


def test_a_source_from_the_environment_is_in_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR", "no/such/hunter2.mp4")
    config, _ = read_config(write(tmp_path, "cameras: [{name: door, source: {env: DOOR}}]"))
    with pytest.raises(UserError) as error:
        watch_loop.open_sources(config)
    assert str(error.value) == "camera door: its source names nothing that exists."


def test_an_address_from_the_environment_that_cannot_be_split_is_said_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOOR", "rtsp://admin:#hunter2@camera/stream")
    config, _ = read_config(write(tmp_path, "cameras: [{name: door, source: {env: DOOR}}]"))
    with pytest.raises(UserError, match=r"camera door: .* Percent-encode") as error:
        watch_loop.open_sources(config)
    assert "hunter2" not in str(error.value)


def test_a_path_from_the_environment_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR", "http://127.0.0.1:9/hunter2")
    config, _ = read_config(write(tmp_path, "cameras: [{name: door, source: {env: DOOR}}]"))
    footage = watch_loop.open_sources(config)["door"]
    assert footage.title == "the source of door"
    with pytest.raises(UserError, match="the source of door: gives no picture") as error:
        next(iter(footage.frames(lambda: False, lambda words: None)))
    assert "hunter2" not in str(error.value)


def test_a_folder_of_pictures_is_no_camera(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), cv2.UMat(4, 4, cv2.CV_8UC3).get())
    config, _ = read_config(write(tmp_path, f"cameras: [{{name: door, source: {tmp_path}/a.png}}]"))
    with pytest.raises(UserError, match=r"camera door: .*a\.png"):
        watch_loop.open_sources(config)


# ---- 500 bad files ----

JUNK: list[Any] = [
    None,
    True,
    -1,
    2.5,
    10**30,
    float("nan"),
    "",
    "x y",
    "\x07",
    "é" * 3000,
    [],
    [[]],
    {},
    {"a": 1},
    [None],
]


WORDS = [
    "2026-02-30",
    "2026-13-45 25:00",
    "0b",
    "1e999",
    "1:99:99",
    "!!int x",
    "!!binary é",
    "!!python/name:x y",
    "<<: 1",
]
"""Values that YAML takes for something else than a text, and that are then not possible."""


def spoil_text(text: str, draw: random.Random) -> str:
    at = draw.randrange(len(text))
    kinds: list[Callable[[], str]] = [
        lambda: text[:at] + draw.choice("[]{}:&*!|>%@`'\"\t\n#,?\0\x1b") + text[at:],
        lambda: text[:at],
        lambda: text[:at] + text[at + draw.randrange(1, 30) :],
        lambda: text[:at] + "[" * 400 + text[at:],
        lambda: text[:at] + re.sub(r"(?<=: )[^:\n]+(?=\n)", draw.choice(WORDS), text[at:], count=1),
        lambda: "\n".join(draw.sample(lines := text.splitlines(), len(lines))),
    ]
    return draw.choice(kinds)()


def places(value: Any) -> list[tuple[Any, Any]]:
    """All containers with their keys, from the top down."""
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else [])
    return [(value, key) for key, _ in items] + [place for _, inner in items for place in places(inner)]


def spoil_value(text: str, draw: random.Random) -> str:
    value = yaml.safe_load(text)
    for _ in range(draw.randrange(1, 4)):
        container, key = draw.choice(places(value))
        kind = draw.randrange(4)
        if kind == 0:
            del container[key]
        elif kind == 1 and isinstance(container, dict):
            container[draw.choice(["", "nam", "Name ", 7, "kind", "zone"])] = draw.choice(JUNK)
        else:
            container[key] = draw.choice(JUNK)
    return yaml.safe_dump(value, allow_unicode=True)


def test_of_500_spoilt_files_none_ends_in_a_traceback_or_opens_a_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a camera was opened")

    monkeypatch.setattr(cv2, "VideoCapture", refuse)
    monkeypatch.setattr("facemask.media.recordings.open_container", refuse)
    monkeypatch.setattr(watch_config.Text, "read", refuse)
    path, draw, refused = tmp_path / "watch.yaml", random.Random(15), 0
    for number in range(900):
        text = (spoil_value if number % 2 else spoil_text)(GOOD, draw)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            read_config(path)
        except UserError as error:
            refused += 1
            assert str(path) in str(error) and "hunter2" not in str(error) and "Traceback" not in str(error)
            for line in str(error).splitlines()[1:]:
                assert re.match(rf"  {re.escape(str(path))}:\d+: ", line)
        if refused == 500:
            break
    assert refused == 500
