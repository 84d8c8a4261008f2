"""The Makefile, in a copy of the project whose Python is a stand-in that prints what it was asked to run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facemask.cli.app import step_names

ROOT = Path(__file__).resolve().parents[1]

STAND_IN = f"""#!{sys.executable}
import json, os, sys
names = os.environ.get("FACEMASK_MAKE_VARIABLES", "").split()
print(json.dumps({{"run": sys.argv[1:], "given": {{name: os.environ[name] for name in names}}}}))
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
    shutil.copytree(ROOT / "facemask" / "cli", folder / "facemask" / "cli")
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
    environment = {name: value for name, value in os.environ.items() if name not in of_make}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment | variables, capture_output=True, text=True, check=False
    )


def ran(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The variables that the step was given."""
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)["given"]


@pytest.mark.parametrize("value", NASTY)
def test_a_value_reaches_the_step_as_it_is_and_runs_nothing(project: Path, value: str) -> None:
    done = make(project, "infer", f"IMG={value}")
    assert json.loads(done.stdout) == {"run": ["-m", "scripts.infer"], "given": {"IMG": value}}
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(project.rglob("pwned"))


@pytest.mark.parametrize("name", ["FORMATS", "RUNNER", "TESTS", "HELP", "ANY_OTHER"])
@pytest.mark.parametrize("target", ["export", "records", "test-long", "clean", "help"])
def test_no_variable_is_expanded_by_any_kind_of_target(project: Path, target: str, name: str) -> None:
    done = make(project, target, f"{name}=$(shell touch pwned)`touch pwned`$$(touch pwned)")
    assert not list(project.rglob("pwned")), done


@pytest.mark.parametrize("stray", ["PORT", "MODEL", "HOST", "RUN", "IMG", "FORMATS", "RUNNER", "HELP"])
def test_a_variable_of_the_shell_changes_nothing(project: Path, stray: str) -> None:
    for target in ("serve", "export", "records"):
        assert ran(make(project, target, "OUT=a", **{stray: "onnx"})) == {"OUT": "a"}


def test_only_what_is_given_is_passed_on(project: Path) -> None:
    given = {"LEARNING_RATE": "0.1", "STEPS": "", "FRESH": "0"}
    assert ran(make(project, "train", *(f"{name}={value}" for name, value in given.items()))) == given
    assert ran(make(project, "train", "PYTHON=python3", "GPU=0", "RUN=a")) == {"RUN": "a"}


@pytest.mark.parametrize(
    ("target", "variable", "groups"),
    [
        ("export", "FORMATS=", ""),
        ("export", "FORMATS=saved_model", ""),
        ("export", "FORMATS=onnx,tflite", "onnx tflite"),
        ("export", "FORMATS=saved_model, int8", "int8"),
        ("records", "RUNNER=FlinkRunner", "beam"),
        ("records", "RUN=x", ""),
        ("label", "IMAGES=x", "label"),
        ("serve", "RUN=x", "serve"),
    ],
)
def test_a_target_installs_the_packages_that_it_needs(project: Path, target: str, variable: str, groups: str) -> None:
    done = make(project, "-n", target, variable)
    assert (done.returncode, re.findall(r"setup.sh --quiet base (\w+)", done.stdout)) == (0, groups.split())


def test_a_failing_step_fails_the_target(project: Path) -> None:
    (project / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 2\n")
    assert make(project, "infer", "IMG=x").returncode == 2


def test_tests_can_be_picked_by_a_path_with_spaces(project: Path) -> None:
    done = make(project, "test-long", "TESTS=tests/a b.py")
    assert json.loads(done.stdout.splitlines()[-1])["run"] == ["-m", "pytest", "-m", "long", "tests/a b.py"]


@pytest.mark.parametrize("arguments", [("test", "TEST=tests/a.py"), ("lint", "HELP=1"), ("docs", "RUN=a")])
def test_a_target_without_options_refuses_variables(project: Path, arguments: tuple[str, str]) -> None:
    done = make(project, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{arguments[1].partition('=')[0]}: no variable of `make {arguments[0]}`. It takes PYTHON" in done.stderr


def test_clean_in_a_fresh_clone_installs_nothing(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    done = make(project, "clean")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert not (project / ".venv").exists()


def test_help_installs_nothing(project: Path) -> None:
    (project / ".venv" / "locks" / "serve.txt").unlink()
    assert ran(make(project, "serve", "HELP=1")) == {"HELP": "1"}
    # A set-up that did not finish leaves .venv without its packages.
    (project / ".venv" / "locks" / "base.txt").unlink()
    unfinished = make(project, "train", "HELP=1")
    shutil.rmtree(project / ".venv")
    missing = make(project, "train", "HELP=1")
    assert not (project / ".venv").exists()
    for done in (unfinished, missing):
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("HELP=1 needs .venv with its packages: run `make setup`")


def test_plain_make_lists_every_target_without_an_environment_and_runs_none(project: Path) -> None:
    shutil.rmtree(project / ".venv")
    done = make(project)
    assert (done.returncode, done.stderr) == (0, "")
    listed = dict(re.findall(r"^  make ([a-z-]+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert {*step_names(), "setup", "test", "test-long", "lint", "help"} <= set(listed)
    assert all(re.fullmatch(r"[A-Z].*[.\]]", text) for text in listed.values())
    assert not (project / ".venv").exists()
    for target in listed:
        assert make(project, "-n", target).returncode == 0


def test_every_step_has_its_script() -> None:
    for step in step_names():
        assert f'run_step("{step}")' in (ROOT / "scripts" / f"{step}.py").read_text(encoding="utf-8")
