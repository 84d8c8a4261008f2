"""The set-up: makes `.venv` and installs locked packages in it.

Run by `scripts/setup.sh` with the Python that it found, before anything is installed: the standard library only, and no
import of ours.
"""

import contextlib
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "locks"
LOG = VENV / "setup.log"

DISK_NEEDED = 5 * 10**9
"""Bytes: what `base` takes on Linux (3.9 GB), and some room."""

GLIBC_NEEDED = (2, 28)
MACOS_NEEDED = (14,)
"""The oldest systems for which every package of lock/base.txt that is no pure Python has a wheel."""


class SetupError(Exception):
    """The set-up cannot go on; the message is one line for the user."""


def unsupported(system: str, machine: str, bits: int, libc: tuple[str, str], macos: str) -> str | None:
    """Say in one line why TensorFlow's packages cannot be had here, or None where they can.

    Args:
        system: As `platform.system()` gives it; `machine`, `libc` and `macos` are its other answers.
        machine: The processor's architecture.
        bits: Of the Python that asks.
        libc: The C library's name and version, ("", "") where it is not the GNU one.
        macos: The version of macOS, "" elsewhere.
    """
    if system == "Windows" or system.startswith(("CYGWIN", "MSYS", "MINGW")):
        return "TensorFlow's packages have no wheels for native Windows. Use WSL 2."
    if bits != 64:
        return f"TensorFlow's packages have no wheels for a {bits}-bit Python. Use a 64-bit one: make setup PYTHON=..."
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        if libc[0] != "glibc":
            return "TensorFlow's packages have no wheels for this C library (musl?). Use a Linux with glibc."
        if _numbers(libc[1]) < GLIBC_NEEDED:
            return f"TensorFlow's packages have no wheels for glibc {libc[1]}. Use a Linux with glibc 2.28 or later."
        return None
    if system == "Darwin" and machine == "arm64":
        if _numbers(macos) < MACOS_NEEDED:
            return f"TensorFlow's packages have no wheels for macOS {macos}. Use macOS 14 or later."
        return None
    return (
        f"TensorFlow's packages have no wheels for {system} on {machine}. "
        "Use Linux (x86_64 or aarch64) or macOS on Apple silicon."
    )


def set_up(groups: Sequence[str]) -> None:
    """Make `.venv` if it is not there and whole, and install `groups` in it; the working directory is the project's.

    An interrupted set-up goes on where it was. The copies of the locks in `.venv/locks` are written last.

    Args:
        groups: Names of `lock/<group>.txt`.

    Raises:
        SetupError: Something is missing or fails; what is installed stays.
    """
    problem = unsupported(
        platform.system(), platform.machine(), struct.calcsize("P") * 8, platform.libc_ver(), platform.mac_ver()[0]
    )
    if problem:
        raise SetupError(problem)
    if "gpu" in groups and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise SetupError("GPU=1: TensorFlow's CUDA libraries are for Linux on x86_64 only. Leave it out.")
    # What builds comes first: see `build` in pyproject.toml.
    locks = {group: Path("lock") / f"{group}.txt" for group in ("build", *groups)}
    wanted = {group: lock.read_bytes() for group, lock in locks.items()}

    with _alone():
        started = time.monotonic()
        _make_venv()
        _forget_half_installed()
        for group, lock in locks.items():
            stamp = STAMPS / lock.name
            if not (stamp.is_file() and stamp.read_bytes() == wanted[group]):
                stamp.unlink(missing_ok=True)
                _install(group, lock)
        check = subprocess.run([PYTHON, "-m", "pip", "check"], capture_output=True, text=True, env=_environment())
        if check.returncode:
            conflicts = "; ".join((check.stdout + check.stderr).split("\n")).strip("; ")
            raise SetupError(f"packages do not fit each other: {conflicts}. Remove the folder .venv and run it again.")
        STAMPS.mkdir(exist_ok=True)
        for group, content in wanted.items():
            (STAMPS / f"{group}.txt").write_bytes(content)
        seconds = round(time.monotonic() - started)
        names = ", ".join(group for group in groups if group != "build")
        print(f"setup: .venv is ready after {seconds // 60} min {seconds % 60} s: {names}", flush=True)


def _make_venv() -> None:
    if not _fails(PYTHON, "-m", "pip", "--version"):
        return
    free = shutil.disk_usage(".").free
    if free < DISK_NEEDED:
        raise SetupError(f"{free / 1e9:.1f} GB free on this disk: .venv takes up to {DISK_NEEDED / 1e9:.0f} GB.")
    # Not the executable of a broken .venv, which is about to be cleared.
    python = getattr(sys, "_base_executable", sys.executable)
    said = f"Python {platform.python_version()} ({python})"
    print(f"setup: making .venv with {said}. This takes some minutes, once.", flush=True)
    for command in ((python, "-m", "venv", "--clear", "--without-pip", VENV), (PYTHON, "-m", "ensurepip")):
        if _fails(*command):
            raise SetupError(f"{' '.join(map(str, command))} fails. Try another Python: make setup PYTHON=...")


def _forget_half_installed() -> None:
    """Remove pip's records of packages whose installation was cut off, so that pip installs them again.

    pip writes the file INSTALLER into a package's `.dist-info` after all else, and moves what it replaces to `~...`.
    """
    for packages in VENV.glob("lib/python3*/site-packages"):
        half = [info for info in packages.glob("*.dist-info") if not (info / "INSTALLER").exists()]
        for rest in (*half, *packages.glob("~*")):
            shutil.rmtree(rest, ignore_errors=True)


def _install(group: str, lock: Path) -> None:
    """Let pip install one lock file, with a line of progress; pip's own words go to `.venv/setup.log`.

    The locks are complete, so pip need not look for dependencies; the few source packages are built with the locked
    setuptools, not with whatever an isolated build would fetch. Python compiles what is really imported when it is.
    """
    options = ("--require-hashes", "--no-deps", "--no-build-isolation", "--no-compile")
    command: list[str | Path] = [PYTHON, "-m", "pip", "install", *options, "-r", lock]
    packages = sum(line[:1].isalnum() for line in lock.read_text(encoding="utf-8").splitlines())
    progress = _Progress(group, packages, len(_installed()))
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as pip,
    ):
        reader = threading.Thread(target=progress.read, args=(pip.stdout, log))
        reader.start()
        try:
            while reader.is_alive():
                reader.join(0.5)
                progress.show()
        except BaseException:
            pip.terminate()
            raise
        finally:
            reader.join()
            progress.end()
    if pip.returncode:
        reason = progress.errors[0] if progress.errors else f"it ended with code {pip.returncode}"
        raise SetupError(f"pip could not install {lock}: {reason} (all it said is in {LOG}). Run it again to go on.")


class _Progress:
    """What pip is doing, read off its output and, while it installs in silence, off the packages that are there."""

    def __init__(self, group: str, packages: int, before: int) -> None:
        self.group, self.packages, self.before = group, packages, before
        self.errors: list[str] = []
        self.collected = 0
        self.fetching = ""
        self.installing = False
        self.shown, self.shown_at = "", 0.0

    def read(self, output: Iterable[str], log: TextIO) -> None:
        for line in output:
            log.write(line)
            words = line.split()
            if line.startswith("ERROR:") and "Ignored the following" not in line:
                self.errors.append(line.removeprefix("ERROR:").strip())
            elif line.startswith(("Ignoring ", "Requirement already")):
                self.packages -= 1
            elif line.startswith("Collecting "):
                self.collected += 1
                self.fetching = words[1]
            elif line.startswith("  Downloading ") and line.rstrip().endswith(")"):
                self.fetching = f"{self.fetching.split()[0]} {line[line.rindex('(') :].strip()}"
            elif line.startswith("Installing collected packages"):
                self.installing = True

    def __str__(self) -> str:
        if self.installing:
            done = min(self.packages, max(0, len(_installed()) - self.before))
            return f"setup: {self.group}: installing, {done} of {self.packages}"
        return f"setup: {self.group}: fetching, {self.collected} of {self.packages}: {self.fetching}"

    def show(self) -> None:
        terminal = sys.stdout.isatty()
        now = time.monotonic()
        if (
            self.packages < 1
            or not (self.fetching or self.installing)
            or now < self.shown_at + (0.2 if terminal else 15)
        ):
            return
        if (text := str(self)) != self.shown:
            print(f"\r{text[: shutil.get_terminal_size().columns - 1]}\x1b[K" if terminal else text, end="", flush=True)
            if not terminal:
                print(flush=True)
            self.shown, self.shown_at = text, now

    def end(self) -> None:
        if self.shown and sys.stdout.isatty():
            print("\r\x1b[K", end="", flush=True)


def _installed() -> list[Path]:
    return list(VENV.glob("lib/python3*/site-packages/*.dist-info/INSTALLER"))


def _environment() -> dict[str, str]:
    """The user's environment (indexes, proxies and certificates among it) without what would lead pip elsewhere."""
    elsewhere = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_CONSTRAINT")
    kept = {name: value for name, value in os.environ.items() if name not in elsewhere}
    return kept | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_USER": "0", "PYTHONUNBUFFERED": "1"}


def _fails(*command: str | Path) -> bool:
    try:
        return (
            subprocess.run(command, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True).returncode != 0
        )
    except OSError:
        return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other set-up works on this project."""
    import fcntl  # not on Windows, which the set-up refuses before this

    with Path("lock/base.txt").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: another set-up of this project is at work; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield


def main(groups: Sequence[str]) -> int:
    """Set up and give the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that pip is stopped too
    try:
        set_up(groups)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nsetup: stopped; `make setup` goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
