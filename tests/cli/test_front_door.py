"""One definition of a step, reached by make, by `python -m scripts.<step>` and by `facemask <step>`."""

import ast
import errno
import os
import runpy
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from facemask.cli import make_variables, options
from facemask.cli.app import command_of, step_names, summary_of
from facemask.core import command_line
from facemask.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ["numpy", "cv2", "tensorflow", "supervision", "matplotlib", "jinja2", "pycocotools"]


def python(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=60)


def from_make(step: str, **given: str) -> subprocess.CompletedProcess[str]:
    return python("-m", f"scripts.{step}", FACEMASK_MAKE_VARIABLES=" ".join(given), **given)


def arguments_of(step: str, **given: str) -> list[str]:
    return make_variables.to_arguments(command_of(step), step, given)


@pytest.mark.parametrize(
    "way",
    [("facemask", "infer", "a b.jpg"), ("facemask", "infer", "--img", "a b.jpg"),
     ("scripts.infer", "--img", "a b.jpg"), ("scripts.infer", "a b.jpg")],
)  # fmt: skip
def test_a_picture_is_given_with_and_without_the_options_name(
    way: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", list(way))
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(way[0], run_name="__main__", alter_sys=True)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert printed.err.startswith("error: a b.jpg: ")


def test_a_picture_that_is_given_twice_is_refused() -> None:
    done = python("-m", "facemask", "infer", "a.jpg", "--img", "b.jpg")
    assert done.returncode == 2
    assert "a.jpg" in done.stderr
    assert "b.jpg" in done.stderr


def test_make_gives_the_same_as_an_option() -> None:
    done = from_make("infer", IMG="no such $(picture).jpg")
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "error")
    assert "no such $(picture).jpg: " in done.stderr


def test_help_lists_every_step_and_imports_none() -> None:
    code = (
        "import sys; from facemask.cli import app_main\n"
        "try: sys.argv = ['facemask', '--help']; app_main()\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.endswith('_command') or name in ('numpy', 'cv2', 'tensorflow')])"
    )
    done = python("-c", code)
    *listing, imported = done.stdout.splitlines()
    assert imported == "[]"
    listing = listing[listing.index("Steps:") + 1 :]
    assert [line.split()[0] for line in listing if line[2:3].islower()] == step_names()


def test_a_steps_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from facemask.cli.app import command_of\n"
        f"for step in {step_names()}:\n"
        "    command_of(step)\n"
        f"    print(step, [name for name in {HEAVY} if name in sys.modules])"
    )
    # The first line that is not as expected names the step.
    assert python("-c", code).stdout.splitlines() == [f"{step} []" for step in step_names()]


@pytest.mark.parametrize("step", step_names())
def test_every_step_and_every_option_says_what_it_is(step: str) -> None:
    command = command_of(step)
    assert len(summary_of(step)) <= 80
    assert command.help
    assert all(option.help for option in make_variables.variables_of(command).values())


def test_no_option_is_written_down_twice() -> None:
    """An option that two steps have belongs in `options.py`; one that only has the same name says another thing."""
    helps = [
        keyword.value.value
        for file in sorted((ROOT / "facemask" / "cli").glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Option"
        for keyword in node.keywords
        if keyword.arg == "help" and isinstance(keyword.value, ast.Constant)
    ]
    assert len(helps) > 50
    assert sorted({text for text in helps if helps.count(text) > 1}) == []


def test_variables_become_options() -> None:
    assert arguments_of("train", RUN="a b", LEARNING_RATE="0.1", STEPS="") == ["--run=a b", "--learning-rate=0.1"]


@pytest.mark.parametrize(("value", "expected"), [("1", ["--fresh"]), ("yes", ["--fresh"]), ("0", []), ("", [])])
def test_a_switch_is_on_or_off(value: str, expected: list[str]) -> None:
    assert arguments_of("train", FRESH=value) == expected


def test_a_switch_that_is_neither_is_refused() -> None:
    with pytest.raises(UserError, match="FRESH=maybe"):
        arguments_of("train", FRESH="maybe")


@pytest.mark.parametrize("wrong", ["LERNING_RATE", "learning_rate"])
def test_an_unknown_variable_names_the_nearest_and_lists_all(wrong: str) -> None:
    with pytest.raises(UserError) as error:
        arguments_of("train", **{wrong: "0.1"})
    assert f"{wrong}: " in str(error.value)
    assert "Did you mean LEARNING_RATE?" in str(error.value)
    assert "EVAL_EVERY" in str(error.value)


@pytest.mark.parametrize(
    ("step", "name", "value"), [("train", "STEPS", "a"), ("train", "PRECISION", "a"), ("infer", "FACES_SIZE", "10")]
)
def test_a_refused_value_is_named_once_and_its_sentence_ends(step: str, name: str, value: str) -> None:
    with pytest.raises(UserError) as error:
        make_variables.run_with_variables(command_of(step), step, {name: value}, [])
    said = str(error.value)
    assert said.startswith(f"{name}={value}: ") and said.endswith(f". See `make {step} HELP=1`.")
    assert said.count(name) == 1 and ".." not in said and "Value error" not in said


@pytest.mark.parametrize(
    ("step", "given"),
    [
        ("import", {"FROM": "~/gone"}),
        ("import", {"FROM": "configs", "PICTURES": "~/gone"}),
        ("import", {"FROM": "configs", "CLASSES": "~/gone"}),
        ("data", {"ARCHIVE": "~/gone"}),
        ("records", {"IMAGES": "~/gone"}),
        ("infer", {"IMG": "docs/augmentations.jpg", "RUN": "x", "EXPORTED": "~/gone"}),
    ],
)
def test_every_path_may_begin_with_the_home_folder(
    step: str, given: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    done = from_make(step, **given)
    assert done.returncode == 2
    assert str(tmp_path / "gone") in done.stderr


def test_a_name_that_is_no_users_stays() -> None:
    done = from_make("import", FROM="~no-such-user/x")
    assert "~no-such-user/x: no such file" in done.stderr


def test_a_variable_of_another_target_of_the_same_make_is_no_error() -> None:
    given = {"RUN": "a", "IMAGES": "b"}
    found = make_variables.to_arguments(command_of("records"), "records", given, [command_of("train")])
    assert found == ["--images=b"]
    with pytest.raises(UserError, match="Did you mean STEPS"):
        make_variables.to_arguments(command_of("records"), "records", {"STEP": "1"}, [command_of("train")])


def test_a_wrong_value_names_its_variable() -> None:
    done = from_make("train", STEPS="many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: STEPS=many: ")
    assert "make train HELP=1" in done.stderr
    sizes = from_make("infer", FACES_SIZE="10").stderr
    assert sizes.startswith("error: FACES_SIZE=10: ") and sizes.count("FACES_SIZE=10") == 1 and ". See `make" in sizes


def test_help_lists_the_variables_with_their_defaults() -> None:
    done = from_make("train", HELP="1", STEPS="many")
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("RUN=default ", "BATCH=8 ", "FRESH=0 ", "LEARNING_RATE= ", "FREEZE=none "):
        assert f"  {part}" in done.stdout


def test_a_step_that_a_step_starts_does_not_see_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMASK_MAKE_VARIABLES", "RUN")
    monkeypatch.setenv("FACEMASK_MAKE_GOALS", "train export")
    monkeypatch.setenv("RUN", "a")
    assert make_variables.take_given() == ({"RUN": "a"}, ["train", "export"])
    assert make_variables.take_given() is None


def test_a_step_that_does_not_exist_names_the_nearest() -> None:
    done = python("-m", "facemask", "infr")
    assert done.returncode == 2
    assert "Did you mean infer?" in done.stderr


def test_a_group_of_options_is_one_parameter() -> None:
    taken = []

    @options.expand_groups
    def step(which: options.DetectorOptions = options.DETECTOR, threshold: float = 0.5) -> None:
        taken.append((which, threshold))

    step(faces="haar", threshold=0.3)
    step()
    assert taken == [(options.DetectorOptions(faces="haar"), 0.3), (options.DETECTOR, 0.5)]


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    code = (
        "from facemask.core.command_line import run_command\n"
        "def step(): raise ModuleNotFoundError('No module named', name=name)\n"
    )
    done = python("-c", f"name = 'tensorflow.keras'\n{code}run_command(step)")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: tensorflow.keras ")
    assert "facemask[train]" in done.stderr
    done = python("-c", f"name = 'facemask.no_such_module'\n{code}run_command(step)")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("module", ["scripts.train", "facemask"])
def test_an_environment_without_packages_asks_for_the_set_up(tmp_path: Path, module: str) -> None:
    """As a set-up leaves it that was stopped before it installed anything."""
    venv.create(tmp_path / ".venv", symlinks=True)
    command = [tmp_path / ".venv" / "bin" / "python", "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: typer is not installed: ")
    assert "make setup" in done.stderr


def test_the_extras_are_the_projects() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in command_line.EXTRAS.values():
        assert f"\n{extra} = [" in project


def test_steps_that_only_read_data_need_nothing_that_windows_lacks() -> None:
    code = "import sys; sys.modules['fcntl'] = None; import facemask.data.records_summary, facemask.data.label_import"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_ends_a_step_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def write() -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "metrics.json"))

    with pytest.raises(SystemExit) as ended:
        command_line.run_command(write)
    assert ended.value.code == command_line.USER_ERROR
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"Make {tmp_path} writable" in said


def test_other_errors_of_the_system_keep_their_traceback() -> None:
    def fail() -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file"):
        command_line.run_command(fail)
