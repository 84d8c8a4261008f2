"""The search for a Python, with a PATH of stand-ins; and what is done when nothing is to do."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIM = '#!/bin/sh\necho "shim: $0: command not found" >&2\nexit 127\n'
TOOLS = ("basename", "cmp", "dirname", "sh", "uname")


def python(version: str) -> str:
    """A stand-in for a working Python: gives its version, and says so where it is to run a script."""
    return f'#!/bin/sh\ncase "$*" in *" -c "*) echo {version} ;; *) echo "$0 runs $*" ;; esac\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts")
    (folder / "lock").mkdir()
    for group in ("base", "dev", "label"):
        (folder / "lock" / f"{group}.txt").write_text(f"{group} 1\n")
    for tool in TOOLS:
        put(tmp_path / "tools", tool, f'#!/bin/sh\nexec {shutil.which(tool)} "$@"\n' if tool != "sh" else None)
    return folder


def put(folder: Path, name: str, script: str | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if script is None:
        (folder / name).symlink_to(shutil.which(name) or name)
    else:
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder / name


def setup(
    project: Path, *groups: str, path: tuple[str, ...] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run setup.sh with a PATH of these folders beside the project's, and nothing of this machine's but a few tools."""
    folders = [str(project.parent / name) for name in (*path, "tools")]
    environment = {"PATH": os.pathsep.join(folders)} | variables
    command = [str(project / "scripts" / "setup.sh"), *(groups or ("base",))]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)


def installed(project: Path, *groups: str) -> None:
    """Make it look as if these groups were installed."""
    put(project / ".venv" / "bin", "python", python("3.11"))
    (project / ".venv" / "locks").mkdir(exist_ok=True)
    for group in groups:
        shutil.copy(project / "lock" / f"{group}.txt", project / ".venv" / "locks")


def ran(done: subprocess.CompletedProcess[str]) -> str:
    """Which Python ran the set-up."""
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.split(" runs ")[0]


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    return done.stderr


def test_a_shim_that_runs_nothing_is_passed_over(project: Path) -> None:
    put(project.parent / "shims", "python3.12", SHIM)
    put(project.parent / "shims", "python3", SHIM)
    real = put(project.parent / "bin", "python3.12", python("3.12"))
    assert ran(setup(project, path=("shims", "bin"))) == str(real)


def test_the_newest_that_works_is_taken(project: Path) -> None:
    put(project.parent / "bin", "python3.10", python("3.10"))
    put(project.parent / "bin", "python3.12", SHIM)
    put(project.parent / "bin", "python3.13", python("3.13"))
    real = put(project.parent / "later", "python3.11", python("3.11"))
    assert ran(setup(project, path=("bin", "later"))) == str(real)


def test_plain_python3_counts_by_its_version(project: Path) -> None:
    put(project.parent / "bin", "python3.10", python("3.10"))
    put(project.parent / "bin", "python", python("3.13"))
    real = put(project.parent / "bin", "python3", python("3.12"))
    assert ran(setup(project, path=("bin",))) == str(real)


def test_a_path_with_spaces_and_stars_is_one_folder(project: Path) -> None:
    real = put(project.parent / "my * bin", "python3.12", python("3.12"))
    assert ran(setup(project, path=("none", "my * bin"))) == str(real)


def test_the_projects_own_environment_does_not_make_itself(project: Path) -> None:
    put(project / ".venv" / "bin", "python3.12", python("3.12"))
    real = put(project.parent / "bin", "python3.10", python("3.10"))
    assert ran(setup(project, path=("a project/.venv/bin", "bin"))) == str(real)


def test_none_is_one_line_that_names_what_was_tried(project: Path) -> None:
    shim = put(project.parent / "shims", "python3.12", SHIM)
    put(project.parent / "shims", "python3", python("3.9"))
    said = refusal(setup(project, path=("shims",)))
    assert "3.12, 3.11 or 3.10" in said
    assert str(shim) in said
    assert "PYTHON=" in said


def test_pythons_that_uv_has_or_fetches(project: Path) -> None:
    real = put(project.parent / "managed", "python3.12", python("3.12"))
    marker = project.parent / "fetched"
    uv = f"""#!/bin/sh
case "$1 $2" in
"python find") [ "${{UV_PYTHON_PREFERENCE}}" = only-managed ] && [ -e '{marker}' ] && echo '{real}' ;;
"python install") [ "${{UV_PYTHON_DOWNLOADS:-}}" != never ] && : >'{marker}' ;;
esac
"""
    put(project.parent / "bin", "uv", uv)
    done = setup(project, path=("bin",))
    assert done.stdout.startswith("setup: no Python on the PATH fits; uv fetches Python 3.12\n")
    assert f"{real} runs" in done.stdout
    assert ran(setup(project, path=("bin",))) == str(real)


def test_uv_without_a_network_is_one_line_too(project: Path) -> None:
    put(project.parent / "bin", "uv", "#!/bin/sh\nexit 1\n")
    done = setup(project, path=("bin",))
    assert done.returncode == 2
    assert done.stderr.startswith("setup: found no Python")


def test_python_says_which(project: Path) -> None:
    put(project.parent / "bin", "python3.12", python("3.12"))
    own = put(project.parent / "my own", "snake", python("3.10"))
    assert ran(setup(project, path=("bin",), PYTHON=str(own))) == str(own)
    assert ran(setup(project, path=("bin", "my own"), PYTHON="snake")) == str(own)


@pytest.mark.parametrize(
    ("script", "reason"),
    [(None, "no such program"), (SHIM, "does not run"), (python("3.9"), "is Python 3.9"), (python("3.13"), "3.13")],
)
def test_a_python_that_will_not_do_is_refused(project: Path, script: str | None, reason: str) -> None:
    put(project.parent / "bin", "python3.12", python("3.12"))
    if script:
        put(project.parent / "bin", "snake", script)
    said = refusal(setup(project, path=("bin",), PYTHON="snake"))
    assert "PYTHON=snake" in said
    assert reason in said


def test_native_windows_is_refused_before_a_python_is_asked_for(project: Path) -> None:
    put(project.parent / "bin", "uname", "#!/bin/sh\necho MINGW64_NT-10.0-22631\n")
    said = refusal(setup(project, path=("bin",)))
    assert "Windows" in said
    assert "WSL" in said


def test_nothing_is_run_while_the_locks_are_unchanged(project: Path) -> None:
    installed(project, "base", "dev")
    assert setup(project, "--quiet", "base", "dev").stdout == ""
    assert "is ready" in setup(project, "base").stdout
    # Times do not count, content does.
    os.utime(project / "lock" / "base.txt")
    assert setup(project, "--quiet", "base").stdout == ""


def test_a_changed_lock_and_a_new_group_are_installed(project: Path) -> None:
    installed(project, "base")
    assert setup(project, "base", "label").stdout.endswith("environment.py base label\n")
    (project / "lock" / "base.txt").write_text("base 2\n")
    assert setup(project, "base").stdout.startswith(".venv/bin/python runs ")


def test_what_was_installed_once_is_kept_up_to_date(project: Path) -> None:
    installed(project, "base", "dev")
    (project / "lock" / "dev.txt").write_text("dev 2\n")
    assert setup(project, "base").stdout.endswith("environment.py base dev\n")


def test_gpu_1_adds_cudas_libraries(project: Path) -> None:
    installed(project, "base")
    assert setup(project, "--quiet", "base", GPU="0").stdout == ""
    assert setup(project, "base", GPU="1").stdout.endswith("environment.py base gpu\n")


def test_an_environment_whose_python_is_gone_is_made_anew(project: Path) -> None:
    installed(project, "base")
    (project / ".venv" / "bin" / "python").unlink()
    (project / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    real = put(project.parent / "bin", "python3.12", python("3.12"))
    assert ran(setup(project, path=("bin",))) == str(real)
