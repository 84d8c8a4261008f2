"""The set-up itself: real environments, with packages made here and no index."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.support import environment

ROOT = Path(__file__).resolve().parents[2]
GLIBC = ("glibc", "2.36")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (("Linux", "x86_64", 64, GLIBC, ""), None),
        (("Linux", "aarch64", 64, GLIBC, ""), None),
        (("Linux", "x86_64", 64, ("glibc", "2.28"), ""), None),
        (("Darwin", "arm64", 64, ("", ""), "14.0"), None),
        (("Linux", "x86_64", 64, ("glibc", "2.17"), ""), "glibc 2.17"),
        (("Linux", "x86_64", 64, ("", ""), ""), "C library"),
        (("Linux", "x86_64", 32, GLIBC, ""), "32-bit"),
        (("Linux", "armv7l", 32, GLIBC, ""), "32-bit"),
        (("Linux", "ppc64le", 64, GLIBC, ""), "ppc64le"),
        (("Darwin", "x86_64", 64, ("", ""), "15.1"), "Darwin on x86_64"),
        (("Darwin", "arm64", 64, ("", ""), "12.7.1"), "macOS 12.7.1"),
        (("Windows", "AMD64", 64, ("", ""), ""), "WSL"),
    ],
)
def test_platforms_without_wheels_are_named_in_one_line(
    where: tuple[str, str, int, tuple[str, str], str], expected: str | None
) -> None:
    said = environment.unsupported(*where)
    if expected is None:
        assert said is None
    else:
        assert said is not None
        assert expected in said
        assert "\n" not in said


def wheel(folder: Path, name: str, version: str, requires: str = "") -> str:
    """Make a package of one module, and give its line for a lock file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Project:
    """A folder with locks, and the wheels that they name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder.parent / "wheels"  # without a space, which separates pip's places
        self.wheels.mkdir()
        (folder / "lock").mkdir(parents=True)
        self.lock("build", wheel(self.wheels, "builder", "1.0"))
        self.lock("base", wheel(self.wheels, "first", "1.0"), wheel(self.wheels, "second", "1.0"))

    def lock(self, group: str, *lines: str) -> None:
        (self.folder / "lock" / f"{group}.txt").write_text("".join(lines))

    def set_up(self, *groups: str, disk_needed: int = 0) -> subprocess.CompletedProcess[str]:
        code = (
            "import sys; from scripts.support import environment; "
            f"environment.DISK_NEEDED = {disk_needed}; sys.exit(environment.main(sys.argv[1:]))"
        )
        of_pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), "PIP_CONFIG_FILE": os.devnull}
        return subprocess.run(
            [sys.executable, "-c", code, *(groups or ("base",))],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PIP_USER": "1"} | of_pip,
            capture_output=True,
            text=True,
            check=False,
        )

    def imports(self, *modules: str) -> Sequence[str]:
        """The versions of these modules as the environment's Python imports them."""
        code = f"import {', '.join(modules)}; print({', '.join(f'{module}.VERSION' for module in modules)})"
        command = [self.folder / ".venv" / "bin" / "python", "-I", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def stamps(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in (self.folder / ".venv" / "locks").glob("*.txt")}

    def packages(self) -> Path:
        return next(self.folder.glob(".venv/lib/python3*/site-packages"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that is set up. Not to be changed."""
    project = Project(tmp_path_factory.mktemp("made") / "a project")
    done = project.set_up()
    assert (done.returncode, done.stderr) == (0, ""), done
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A copy of it; environments can be moved as long as nothing runs their scripts."""
    project = Project.__new__(Project)
    project.folder = tmp_path / "another project"
    project.wheels = tmp_path / "wheels"
    shutil.copytree(made.folder, project.folder, symlinks=True)
    shutil.copytree(made.wheels, project.wheels)
    return project


def test_a_set_up_leaves_the_locked_packages_and_copies_of_the_locks(made: Project) -> None:
    assert made.imports("builder", "first", "second") == ["1.0", "1.0", "1.0"]
    assert made.stamps() == {name: (made.folder / "lock" / f"{name}.txt").read_text() for name in ("build", "base")}


def test_it_says_what_it_does_and_is_quick_where_there_is_nothing_to_do(project: Project) -> None:
    (project.folder / ".venv" / "setup.log").unlink()
    done = project.set_up()
    assert done.returncode == 0
    assert done.stdout.startswith("setup: .venv is ready")
    assert not (project.folder / ".venv" / "setup.log").exists(), "pip ran"


def test_a_changed_lock_changes_its_packages_only(project: Project) -> None:
    project.lock("base", wheel(project.wheels, "first", "2.0"), wheel(project.wheels, "second", "1.0"))
    assert project.set_up().returncode == 0
    assert project.imports("first", "second") == ["2.0", "1.0"]
    assert "first==2.0" in project.stamps()["base"]


def test_a_group_is_added_to_what_is_there(project: Project) -> None:
    project.lock("label", wheel(project.wheels, "third", "3.0", requires="first"))
    assert project.set_up("base", "label").returncode == 0
    assert project.imports("first", "third") == ["1.0", "3.0"]
    assert set(project.stamps()) == {"build", "base", "label"}


def test_a_cut_off_installation_goes_on(project: Project) -> None:
    # As if pip had been killed while it unpacked: the last file of a package's own and all that pip adds are missing.
    (project.folder / ".venv" / "locks" / "base.txt").unlink()
    info = project.packages() / "second-1.0.dist-info"
    for file in (project.packages() / "second.py", info / "INSTALLER", info / "RECORD"):
        file.unlink()
    (project.packages() / "~irst-0.9.dist-info").mkdir()
    done = project.set_up()
    assert done.returncode == 0, done
    assert project.imports("first", "second") == ["1.0", "1.0"]
    assert not list(project.packages().glob("~*"))


def test_an_environment_without_its_pip_is_repaired(project: Project) -> None:
    shutil.rmtree(project.folder / ".venv" / "locks")
    shutil.rmtree(project.packages() / "pip")
    assert project.set_up().returncode == 0
    assert set(project.stamps()) == {"build", "base"}


def test_a_package_that_is_not_the_locked_one_is_refused(project: Project) -> None:
    project.lock("base", "first==2.0 --hash=sha256:" + "0" * 64 + "\n")
    wheel(project.wheels, "first", "2.0")
    done = project.set_up()
    assert done.returncode == 2
    assert done.stderr.startswith("setup: pip could not install lock/base.txt: THESE PACKAGES DO NOT MATCH THE HASHES")
    assert done.stderr.count("\n") == 1
    assert project.imports("first") == ["1.0"]
    assert "base" not in project.stamps()


def test_a_package_that_cannot_be_had_is_one_line(project: Project) -> None:
    project.lock("base", "nowhere==1.0 --hash=sha256:" + "0" * 64 + "\n")
    done = project.set_up()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nowhere==1.0" in done.stderr
    assert ".venv/setup.log" in done.stderr


def test_packages_that_do_not_fit_each_other_are_no_ready_environment(project: Project) -> None:
    project.lock("base", wheel(project.wheels, "first", "2.0", requires="second>=2"))
    done = project.set_up()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "first 2.0 has requirement second>=2" in done.stderr
    assert "base" not in project.stamps()


def test_too_little_room_is_said_before_anything_is_made(tmp_path: Path) -> None:
    project = Project(tmp_path / "full")
    done = project.set_up(disk_needed=1 << 60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "GB free" in done.stderr
    assert not (project.folder / ".venv").exists()


def test_progress_is_read_off_pips_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "_installed", lambda: [Path("x")] * 7)
    progress = environment._Progress("base", packages=5, before=6)
    lines = [
        "Ignoring winpkg: markers 'sys_platform == \"win32\"' don't match your environment\n",
        "Collecting tensorflow==2.20.0 (from -r lock/base.txt (line 1))\n",
        "  Downloading tensorflow-2.20.0-cp312-cp312-manylinux_2_17_x86_64.whl (620.6 MB)\n",
    ]
    with (tmp_path / "log").open("w") as log:
        progress.read(lines, log)
        assert str(progress) == "setup: base: fetching, 1 of 4: tensorflow==2.20.0 (620.6 MB)"
        progress.read(["Installing collected packages: absl-py, tensorflow\n"], log)
    assert str(progress) == "setup: base: installing, 1 of 4"
    assert (tmp_path / "log").read_text().startswith("Ignoring winpkg")
