"""The front door, against a project whose environment is a stand-in that says what it was asked to run."""

import enum
import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]

STAND_IN = f"""#!{sys.executable}
import json, sys
print(json.dumps(sys.argv[1:]))
"""

NASTY = [
    "with space.png",
    'it\'s a "quote".png',
    "$(shell touch pwned)",
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME}/$HOME/$$",
    "a; touch pwned",
    "a && touch pwned | b > pwned",
    "hash # and % and * and ? and ~",
    "back\\slash\\",
    "a=b:=c",
    "-x --run=other",
    "new\nline",
    "space at the end ",  # make itself drops spaces at the start
    "größe-マスク-😷.png",
    "$(error stop)$(info pwned)",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what make needs, with all groups of packages "installed"."""
    folder = tmp_path / "a project"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts")
    for kind in ("lock", ".venv/locks"):
        (folder / kind).mkdir(parents=True)
        for lock in (ROOT / "lock").glob("*.txt"):
            (folder / kind / lock.name).write_text(lock.stem)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text(STAND_IN)
    python.chmod(0o755)
    return folder


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a plain shell, even where these tests are themselves run by make."""
    of_make = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}
    environment = {name: value for name, value in os.environ.items() if name not in of_make | set(listed_variables())}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment | variables, capture_output=True, text=True, check=False
    )


@functools.cache
def listed() -> dict[str, dict[str, str]]:
    """What plain `make` lists: the variables of each target, with their defaults."""
    done = subprocess.run(
        ["make"], cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )
    targets = {}
    for line in done.stdout.splitlines():
        if found := re.fullmatch(r"  make ([a-z-]+) +(\S.*?)(?:  \[(.*)\])?", line):
            name, _, variables = found.groups()
            assert name not in targets, f"{name} is listed twice"
            targets[name] = dict(pair.split("=", 1) for pair in (variables or "").split())
    return targets


def listed_variables() -> list[str]:
    return [name for variables in listed().values() for name in variables]


def options(step: str) -> dict[str, tuple[str, bool]]:
    """A script's options as variables: default, and whether it is a switch."""
    app = typer.Typer(add_completion=False)
    app.command()(importlib.import_module(f"scripts.{step}").main)
    found = {}
    for parameter in typer.main.get_command(app).params:
        default = parameter.default
        if isinstance(default, enum.Enum):
            default = default.value
        if parameter.name == "help":
            continue
        switch = bool(getattr(parameter, "is_flag", False))
        text = "" if default is None or parameter.required else str(int(default) if switch else default)
        found[parameter.opts[0].removeprefix("--").replace("-", "_").upper()] = (text, switch)
    return found


def steps() -> list[str]:
    """Every step, by the scripts that belong to the project."""
    tracked = subprocess.run(["git", "ls-files", "scripts/*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    scripts = [ROOT / path for path in tracked.stdout.splitlines() if path.count("/") == 1]
    return [path.stem for path in scripts if "command.run(main)" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("given", ["on the command line", "in the environment"])
def test_a_value_reaches_the_step_as_it_is_and_runs_nothing(project: Path, value: str, given: str) -> None:
    if given == "on the command line":
        done = make(project, "infer", f"IMG={value}")
    else:
        done = make(project, "infer", IMG=value)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ["-m", "scripts.infer", f"--img={value}"]
    assert not list(project.rglob("pwned"))


@pytest.mark.parametrize("name", sorted(set(listed_variables()) - {"PYTHON", "UV"}))
def test_no_variable_of_any_target_is_expanded(project: Path, name: str) -> None:
    target = next(target for target, variables in listed().items() if name in variables)
    done = make(project, target, f"{name}=$(shell touch pwned)`touch pwned`$$(touch pwned)")
    assert not list(project.rglob("pwned")), done


def test_only_what_is_given_is_passed_on(project: Path) -> None:
    done = make(project, "train", "LEARNING_RATE=0.1", "STEPS=", "FRESH=0", RUN="a b")
    assert json.loads(done.stdout) == ["-m", "scripts.train", "--run=a b", "--learning-rate=0.1"]


@pytest.mark.parametrize(("value", "expected"), [("1", ["--fresh"]), ("yes", ["--fresh"]), ("0", []), ("no", [])])
def test_a_switch_is_given_as_one(project: Path, value: str, expected: list[str]) -> None:
    assert json.loads(make(project, "train", f"FRESH={value}").stdout) == ["-m", "scripts.train", *expected]


@pytest.mark.parametrize(
    ("formats", "groups"),
    [("", "openvino"), ("saved_model", ""), ("onnx,tflite", "onnx tflite"), ("saved_model, int8", "int8 openvino")],
)
def test_the_formats_say_which_packages_are_installed(project: Path, formats: str, groups: str) -> None:
    done = make(project, "-n", "export", f"FORMATS={formats}")
    wanted = re.findall(r"setup.sh --quiet base (\w+)", done.stdout)
    assert (done.returncode, wanted) == (0, groups.split())


def test_a_failing_step_fails_the_target(project: Path) -> None:
    (project / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 2\n")
    assert make(project, "infer", "IMG=x").returncode == 2


def test_tests_can_be_picked_by_a_path_with_spaces(project: Path) -> None:
    done = make(project, "test-long", "TESTS=tests/a b.py")
    assert json.loads(done.stdout.splitlines()[-1]) == ["-m", "pytest", "-m", "long", "tests/a b.py"]


def test_clean_in_a_fresh_clone_installs_nothing(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    done = make(project, "clean")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert not (project / ".venv").exists()


def test_plain_make_lists_the_targets_and_runs_none(project: Path) -> None:
    done = make(project)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"setup", "doctor", "sample", "records", "train", "export", "infer", "demo", "test", "clean"} <= set(
        listed()
    )
    for target in listed():
        assert make(project, "-n", target).returncode == 0


@pytest.mark.parametrize("step", steps())
def test_the_listed_variables_are_the_scripts_options_with_their_defaults(step: str) -> None:
    expected = options(step)
    assert listed()[step] == {name: default for name, (default, _) in expected.items()}
    switches = re.search(r"^SWITCHES := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert switches
    for name, (_, switch) in expected.items():
        assert (name in switches[1].split()) is switch, f"{name}: a switch belongs in SWITCHES, and nothing else does"
