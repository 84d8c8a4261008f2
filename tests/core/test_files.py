import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from facemask.core import files
from facemask.core.errors import UserError

REPLACE = """
import os, signal, sys
from pathlib import Path
from facemask.core import files

path, at, exchange = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "exchange"
if not exchange:
    files._exchange = lambda one, other: False
step = 0

def kill_at(event, arguments):
    global step
    if event.startswith(("os.", "shutil.", "ctypes.")) and event != "os.kill":
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)
        step += 1

with files.replacing_folder(path) as beside:
    for name in ("one", "other"):
        (beside / name).write_text("new")
    sys.addaudithook(kill_at)
"""
"""Replaces a folder, and is killed before the given change of the file system."""


def content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.mark.parametrize("way", ["exchange", "fallback"])
def test_a_folder_is_the_old_or_the_new_whenever_the_process_is_killed(tmp_path: Path, way: str) -> None:
    path = tmp_path / "best"
    found, at = [], 0
    while True:
        shutil.rmtree(tmp_path)
        path.mkdir(parents=True)
        for name in ("one", "other"):
            (path / name).write_text("old")
        done = subprocess.run([sys.executable, "-c", REPLACE, str(path), str(at), way], check=False, timeout=60)
        if way == "fallback":
            files.recover_folder(path)
        assert path.is_dir(), f"gone when killed before step {at}"
        found.append(content(path))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        at += 1
    old, new = ({"one": text, "other": text} for text in ("old", "new"))
    assert found[0] == old and found[-1] == new and at > 2
    assert all(one in (old, new) for one in found)
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_fallback_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    path, old = tmp_path / "best", tmp_path / ".best.old"
    for folder in (path, old):
        folder.mkdir()
    with files.replacing_folder(path) as beside:
        (beside / "new").write_text("new")
    assert content(path) == {"new": "new"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "best"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing_folder(path) as beside:
        (beside / "new").write_text("new")
        raise ZeroDivisionError
    assert content(path) == {"old": "old"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_a_symbolic_link_and_leaves_what_it_names(tmp_path: Path) -> None:
    named, path = tmp_path / "named", tmp_path / "link"
    named.mkdir()
    (named / "kept").write_text("kept")
    path.symlink_to(named)
    with files.replacing_folder(path) as beside:
        (beside / "new").write_text("new")
    assert content(path) == {"new": "new"} and not path.is_symlink()
    assert content(named) == {"kept": "kept"}


def test_modes_are_those_of_a_plain_open_and_the_umask_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patched:
            patched.delattr(os, "umask")  # it is the whole process's: for a moment, other threads would write with it
            files.write_json(tmp_path / "file.json", {})
            with files.replacing_folder(tmp_path / "folder"):
                pass
    finally:
        os.umask(before)
    assert (tmp_path / "file.json").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_lock_is_held_by_one_process_and_falls_with_it(tmp_path: Path) -> None:
    hold = (
        "import sys, pathlib, facemask.core.files as f\nwith f.holding_lock(pathlib.Path(sys.argv[1]), 'mine'): input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{hold.replace('input()', 'print(1, flush=True); input()')}", str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(UserError, match="busy"), files.holding_lock(tmp_path / ".lock", "busy"):
            pass
        holder.kill()
    with files.holding_lock(tmp_path / ".lock", "busy"):
        pass
    (tmp_path / "file").touch()
    for unwritable in (tmp_path, tmp_path / "file" / ".lock"):
        with (
            pytest.raises(UserError, match=rf"^{unwritable}: cannot be written \(.+\)\. Make its folder writable"),
            files.holding_lock(unwritable, "busy"),
        ):
            pass


def test_a_lock_needs_no_module_that_windows_lacks(tmp_path: Path) -> None:
    code = "import sys, pathlib; sys.modules['fcntl'] = None; import facemask.core.files as f\n"
    code += "with f.holding_lock(pathlib.Path(sys.argv[1]), 'busy'): print('held')"
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / ".lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("held\n", "")


def test_a_pipe_and_a_file_that_is_too_large_are_not_opened(tmp_path: Path) -> None:
    plain, pipe = tmp_path / "plain", tmp_path / "pipe"
    plain.write_bytes(b"four")
    os.mkfifo(pipe)
    assert files.read_plain_file(plain, 4) == b"four"
    for path, most, reason in ((plain, 3, "limit"), (pipe, 4, "not a file"), (tmp_path, 4, "not a file")):
        with pytest.raises(OSError, match=reason):
            files.read_plain_file(path, most)


def test_json_holds_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    value = {"picture": os.fsdecode(b"\xe9.png"), "back\\slash": "\U0001f637"}
    files.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


def test_a_path_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.expand_home("~/a") == tmp_path / "a"
    assert files.expand_home("~no-such-user/a") == Path("~no-such-user/a")
