"""Set up the project: install uv in `.uv`, and let it make `.venv` and install the locked packages.

`scripts/setup.sh` runs this file with any Python from 3.8 on, before anything is installed. So it uses only the
standard library and imports nothing of this project.
"""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

UV = Path(".uv")
VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "locks"
UNFINISHED = VENV / "unfinished"
"""Exists while packages are being installed. If it still exists later, the installation was cut off, and packages may
be damaged."""

DISK_NEEDED = 5 * 10**9
"""Bytes: `base` takes 3.6 GB on Linux, and some space is kept in reserve."""

PYTHONS = ">=3.10,<3.14"

TOLERATED = ("The package `tf-models-research-object-detection` requires `tensorflow-io`, but it's not installed",)
"""Accepted messages of `uv pip check`. tensorflow-io has no wheels for Python 3.13, and no model of this project needs
it."""

SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
"""pip's settings, which uv does not read, and the variables with the same meaning for uv."""

# These variables would make pip or uv install to another place, or other packages.
MISLEADING = (
    *("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT"),
    *("UV_SYSTEM_PYTHON", "UV_CONSTRAINT", "UV_OVERRIDE"),
)


class SetupError(Exception):
    """The set-up cannot continue. The message is one line for the user."""


def set_up(groups: Sequence[str]) -> None:
    """Make `.venv` unless it is there, and install `groups` in it; the working directory is the project's.

    The copies of the locks in `.venv/locks` are written last.

    Args:
        groups: Names of `lock/<group>.txt`.

    Raises:
        SetupError: Something is missing or fails. Packages that were installed before are kept.
    """
    started = time.monotonic()
    for name in MISLEADING:
        os.environ.pop(name, None)
    os.environ.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_USER="0")
    with _alone():
        pip = _find_pip()
        uv = _find_uv(pip)
        for name, value in _settings_of_pip(pip).items():
            os.environ.setdefault(name, value)
        if not _works(PYTHON, "-c", ""):
            _make_venv(uv)

        # The group that builds the source packages comes first. In a damaged environment all packages are reinstalled.
        wanted = {group: Path("lock", group + ".txt").read_bytes() for group in ("build", *groups)}
        damaged = UNFINISHED.exists()
        changed = [group for group in wanted if damaged or _installed_lock(group) != wanted[group]]
        if changed:
            UNFINISHED.touch()
            again = ["--reinstall"] if damaged else []
            if "build" in changed:
                _install(uv, ["build"], *again)
            if others := [group for group in changed if group != "build"]:
                _install(uv, others, *again)
            if "base" in changed:
                _choose_opencv(uv)
            _check(uv)
            STAMPS.mkdir(exist_ok=True)
            for group in changed:
                (STAMPS / (group + ".txt")).write_bytes(wanted[group])
            UNFINISHED.unlink()
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    print(f"setup: .venv is ready after {minutes} min {seconds} s: {', '.join(groups)}", flush=True)


def _find_pip() -> list[str]:
    """The command of a pip: this Python's, or if it has only ensurepip, one in a separate environment."""
    if _works(sys.executable, "-m", "pip", "--version"):
        return [sys.executable, "-m", "pip"]
    python = UV / "pip" / "bin" / "python"
    if not _works(python, "-m", "pip", "--version"):
        _works(sys.executable, "-m", "venv", "--clear", UV / "pip")
    return [str(python), "-m", "pip"]


def _find_uv(pip: Sequence[str]) -> str:
    """The uv of `lock/uv.txt`, which pip downloads if it is not there; if that fails, the uv on the PATH."""
    lock, stamp, uv = Path("lock/uv.txt"), UV / "lock.txt", UV / "bin" / "uv"
    if uv.exists() and stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return str(uv)
    print("setup: fetching uv, which installs the packages", flush=True)
    stamp.unlink(missing_ok=True)
    options = ("--quiet", "--upgrade", "--no-deps", "--require-hashes", "--only-binary", ":all:")
    if _run(*pip, "install", *options, "--target", UV, "-r", lock):
        shutil.copyfile(lock, stamp)
        return str(uv)
    if found := shutil.which("uv"):
        print(f"setup: pip could not fetch uv; using {found}", flush=True)
        return found
    raise SetupError(
        f"{sys.executable} could not fetch uv (see above), and there is none on the PATH. Run it again, or install uv."
    )


def _settings_of_pip(pip: Sequence[str]) -> dict[str, str]:
    """The settings of the user's pip configuration about the index, as variables for uv."""
    try:
        listing = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return {}
    found = dict(line.split("=", 1) for line in listing.splitlines() if "=" in line)
    settings = {}
    for name, variable in SETTINGS.items():
        for section in ("global", "install", ":env:"):  # a later one wins
            with contextlib.suppress(KeyError, ValueError, SyntaxError):
                settings[variable] = ",".join(str(ast.literal_eval(found[f"{section}.{name}"])).split())
    return settings


def _make_venv(uv: str) -> None:
    free = shutil.disk_usage(".").free
    if free < DISK_NEEDED:
        raise SetupError(f"{free / 1e9:.1f} GB free on this disk, and .venv takes up to {DISK_NEEDED / 1e9:.0f} GB.")
    shutil.rmtree(VENV, ignore_errors=True)
    wanted = os.environ.get("PYTHON") or PYTHONS
    remedy = "Install Python 3.10, 3.11, 3.12 or 3.13, or name one: make setup PYTHON=/path/to/python"
    if not _run(uv, "venv", "--no-project", "--python", wanted, VENV):
        raise SetupError(f"found no Python that fits ({wanted}), and could not fetch one. {remedy}")
    if not _works(PYTHON, "-c", "import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))"):
        shutil.rmtree(VENV)
        raise SetupError(f"PYTHON={wanted} is too old or too new. {remedy}")


def _install(uv: str, groups: Sequence[str], *options: str) -> None:
    """Install lock files together.

    The locks are complete, so dependencies need not be resolved. The few source packages are built with the locked
    setuptools; an isolated build would download another one.
    """
    locks = [f"lock/{group}.txt" for group in groups]
    command = (uv, "pip", "install", "--python", PYTHON, "--require-hashes", "--no-deps", "--no-build-isolation")
    if not _run(*command, *options, *(part for lock in locks for part in ("-r", lock))):
        raise SetupError(f"uv could not install {' '.join(locks)} (see above). Run it again to continue.")


def _choose_opencv(uv: str) -> None:
    """Reinstall the build of OpenCV that this machine can load, over the files that both builds install.

    Other packages require both builds. The build with windows needs libGL, which servers and containers often lack.
    """
    if b"\nopencv-python-headless==" in Path("lock/base.txt").read_bytes():
        no_gl = sys.platform == "linux" and not _works(PYTHON, "-c", "import ctypes; ctypes.CDLL('libGL.so.1')")
        build = "opencv-python-headless" if no_gl else "opencv-python"
        _install(uv, ["base"], "--quiet", "--reinstall-package", build)


def _check(uv: str) -> None:
    command = [uv, "pip", "check", "--python", str(PYTHON)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    conflicts = [line for line in said.splitlines() if line.startswith("The package ") and line not in TOLERATED]
    if conflicts:
        raise SetupError(f"packages conflict: {'; '.join(conflicts)}. Remove .venv and run it again.")


def _installed_lock(group: str) -> bytes | None:
    path = STAMPS / (group + ".txt")
    return path.read_bytes() if path.exists() else None


def _run(*command: str | Path) -> bool:
    """Whether a command succeeds, with its output on the terminal."""
    try:
        return subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError as error:
        print(error, file=sys.stderr)
        return False


def _works(*command: str | Path) -> bool:
    """Whether a command succeeds, without its output."""
    try:
        done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other set-up works on this project."""
    import fcntl

    with Path("lock/base.txt").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: another set-up of this project is running; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield


def main(groups: Sequence[str]) -> int:
    """Set up the project and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that uv is stopped too
    try:
        set_up(groups)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsetup: stopped; `make setup` continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
