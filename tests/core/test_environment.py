"""The set-up: real environments that uv makes, with packages and an index that are made here."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts import environment

ROOT = Path(__file__).resolve().parents[2]
UV = next((str(path) for path in (ROOT / ".uv/bin/uv", Path(sys.executable).parent / "uv") if path.exists()), None)


def wheel(folder: Path, name: str, version: str, requires: str = "", files: dict[str, str] | None = None) -> str:
    """Put a package of one module in the index that `folder` is, and give its line for a lock file."""
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = (files or {f"{module}.py": f"VERSION = {version!r}\n"}) | {
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            entry = zipfile.ZipInfo(file)
            entry.external_attr = 0o755 << 16  # pip makes executable what was
            archive.writestr(entry, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    links = "".join(f'<a href="../{wheel.name}">{wheel.name}</a>\n' for wheel in folder.glob(f"{module}-*.whl"))
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Project:
    """A folder with the set-up's scripts, locks, and the wheels that they name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.wheels = folder / "a project", folder / "wheels"
        shutil.copytree(ROOT / "scripts", self.folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        self.wheels.mkdir()
        (self.folder / "lock").mkdir()
        self.lock("build", wheel(self.wheels, "builder", "1.0"))
        self.lock("base", wheel(self.wheels, "first", "1.0"), wheel(self.wheels, "second", "1.0"))
        self.lock("uv", "uv==1\n")

    def lock(self, group: str, *lines: str) -> None:
        (self.folder / "lock" / f"{group}.txt").write_text("".join(lines))

    def put_uv(self) -> None:
        """Put uv where the set-up would have put it."""
        if UV is None:
            pytest.skip("uv is not here: `make setup` puts it in .uv")
        (self.folder / ".uv" / "bin").mkdir(parents=True)
        (self.folder / ".uv" / "bin" / "uv").symlink_to(UV)
        shutil.copy(self.folder / "lock" / "uv.txt", self.folder / ".uv" / "lock.txt")

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        # The index as pip is told of it, for uv to follow; and a setting that would lead pip elsewhere.
        settings = {"PIP_INDEX_URL": self.wheels.as_uri(), "PIP_USER": "1"}
        own = {"PYTHON": sys.executable, "HOME": str(self.folder.parent), "PIP_CONFIG_FILE": os.devnull}
        return subprocess.Popen(
            [str(self.folder / "scripts" / "setup.sh"), *(arguments or ("base",))],
            env={"PATH": os.environ["PATH"]} | settings | own | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def set_up(self, *arguments: str, fails: bool = False, **variables: str) -> str:
        """Run it, and give what it printed; where it is to fail, the one line about that."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate()
        assert process.returncode == (2 if fails else 0), out + err
        lines = [line for line in err.splitlines() if line.startswith("setup: ")]
        assert len(lines) == fails and "Traceback" not in err
        return lines[0] if fails else out

    def versions(self, *modules: str) -> list[str]:
        """The versions of these modules as the environment's Python imports them."""
        code = f"import {', '.join(modules)}; print({', '.join(f'{module}.VERSION' for module in modules)})"
        command = [self.folder / ".venv" / "bin" / "python", "-I", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def installed_groups(self) -> set[str]:
        stamps = {path.stem: path.read_text() for path in (self.folder / ".venv" / "locks").glob("*.txt")}
        return {name for name, text in stamps.items() if text == (self.folder / "lock" / f"{name}.txt").read_text()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.put_uv()
    return project


def test_the_locked_packages_are_installed_once(project: Project) -> None:
    assert "setup: .venv is ready" in project.set_up()
    assert project.versions("builder", "first", "second") == ["1.0", "1.0", "1.0"]
    assert project.installed_groups() == {"build", "base"}
    # From now on nothing is run, whatever the dates are.
    (project.folder / "scripts" / "environment.py").write_text("raise SystemExit('was run')")
    os.utime(project.folder / "lock" / "base.txt")
    assert project.set_up("--quiet", "base") == ""
    assert "setup: .venv is ready" in project.set_up()


def test_what_was_installed_once_is_kept_up_to_date(project: Project) -> None:
    project.lock("label", wheel(project.wheels, "third", "1.0", requires="first"))
    project.lock("gpu", wheel(project.wheels, "cuda", "1.0"))
    project.set_up("base", "label", GPU="1")
    project.lock("base", wheel(project.wheels, "first", "2.0"), wheel(project.wheels, "second", "1.0"))
    project.lock("label", wheel(project.wheels, "third", "3.0"))
    project.set_up("base")
    assert project.versions("first", "second", "third", "cuda") == ["2.0", "1.0", "3.0", "1.0"]
    assert project.installed_groups() == {"build", "base", "label", "gpu"}


def test_a_set_up_that_was_killed_is_repaired(project: Project) -> None:
    project.set_up()
    # As if it had been killed while it installed: a package has neither its module nor
    # its list of files.
    packages = next(project.folder.glob(".venv/lib/python3*/site-packages"))
    for file in ("second.py", "second-1.0.dist-info/INSTALLER", "second-1.0.dist-info/RECORD"):
        (packages / file).unlink()
    (project.folder / ".venv" / "unfinished").touch()
    project.set_up()
    assert project.versions("first", "second") == ["1.0", "1.0"]
    assert not (project.folder / ".venv" / "unfinished").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(project: Project) -> None:
    project.set_up()
    (project.folder / ".venv" / "bin" / "python").unlink()
    (project.folder / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    project.set_up()
    assert project.versions("first") == ["1.0"]


def test_two_set_ups_at_once_wait_for_each_other(project: Project) -> None:
    processes = [project.start(), project.start()]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert project.versions("first", "second") == ["1.0", "1.0"]


def test_a_package_that_is_not_the_locked_one_is_refused(project: Project) -> None:
    project.set_up()
    project.lock("base", "first==2.0 --hash=sha256:" + "0" * 64 + "\n")
    wheel(project.wheels, "first", "2.0")
    assert "lock/base.txt" in project.set_up(fails=True)
    assert project.versions("first") == ["1.0"]
    assert project.installed_groups() == {"build"}


def test_packages_that_do_not_fit_are_refused_but_for_the_one_known_line(project: Project) -> None:
    project.lock("base", wheel(project.wheels, "tf-models-research-object-detection", "1.0", requires="tensorflow-io"))
    project.set_up()
    project.lock("base", wheel(project.wheels, "first", "2.0", requires="second>=2"))
    assert "second>=2" in project.set_up(fails=True)
    assert project.installed_groups() == {"build"}


def test_the_locked_uv_is_fetched_and_no_other(tmp_path: Path) -> None:
    project = Project(tmp_path)
    uv = {"uv-1.data/scripts/uv": "#!/bin/sh\necho locked uv >&2\nexit 1\n"}
    locked = wheel(project.wheels, "uv", "1", files=uv)
    project.lock("uv", locked.replace("sha256:", "sha256:00")[: len(locked) - 1] + "\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "dirname", "basename", "cmp", "uname"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    assert "could not fetch uv" in project.set_up(fails=True, PATH=str(tools))
    assert not (project.folder / ".venv").exists()
    project.lock("uv", locked)
    assert "found no Python that fits" in project.set_up(fails=True, PATH=str(tools))
    assert (project.folder / ".uv" / "bin" / "uv").exists()


@pytest.mark.parametrize("python", ["no-such-python", "2.7"])
def test_a_python_that_is_not_there_is_named(project: Project, python: str) -> None:
    said = project.set_up(fails=True, PYTHON=python, UV_PYTHON_DOWNLOADS="never")
    assert python in said and "make setup PYTHON=" in said


def test_native_windows_is_told_what_works_there(project: Project, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uname").write_text("#!/bin/sh\necho MINGW64_NT-10.0-22631\n")
    (tmp_path / "bin" / "uname").chmod(0o755)
    said = project.set_up(fails=True, PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert "WSL" in said and "pip install ." in said


def test_too_little_room_is_said_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    with pytest.raises(environment.SetupError, match=r"1\.0 GB"):
        environment._make_venv("uv")
