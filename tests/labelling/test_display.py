import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from facemask.core.errors import UserError
from facemask.labelling import display

installed = pytest.mark.skipif(
    not all(util.find_spec(module) for module in ("PyQt5", "labelImg")),
    reason="needs the dependency group label",
)


@pytest.fixture
def pretend_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display.util, "find_spec", lambda module: object())


def interpreter(folder: Path, stderr: str, code: int) -> str:
    """An interpreter that ends as Qt would end it."""
    script = folder / "python"
    message = folder / "stderr"
    message.write_text(stderr)
    script.write_text(f"#!/bin/sh\ncat '{message}' >&2\nexit {code}\n")
    script.chmod(0o755)
    return str(script)


def test_a_missing_labelimg_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display.util, "find_spec", lambda module: None if module == "labelImg" else object())
    with pytest.raises(UserError, match="make label"):
        display.check_display({"DISPLAY": ":0"})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
def test_no_display_is_said_before_qt_is_asked(pretend_installed: None) -> None:
    with pytest.raises(UserError, match="DISPLAY"):
        display.check_display({"DISPLAY": ""}, python="/does/not/exist")


def test_missing_libraries_are_named_with_what_to_install(tmp_path: Path, pretend_installed: None) -> None:
    # What Qt 5.15.19 writes with QT_DEBUG_PLUGINS=1, shortened.
    stderr = """QFactoryLoader::QFactoryLoader() checking directory path "/v/plugins/platforms" ...
Cannot load library /v/plugins/platforms/libqxcb.so: (libxcb-icccm.so.4: cannot open shared object file: No such file)
qt.qpa.plugin: Could not load the Qt platform plugin "xcb" in "" even though it was found.
This application failed to start because no Qt platform plugin could be initialized."""
    with pytest.raises(UserError) as caught:
        display.check_display({"DISPLAY": ":0"}, python=interpreter(tmp_path, stderr, 134))
    assert "(libxcb-icccm.so.4)" in str(caught.value)
    assert "apt-get install" in str(caught.value)
    assert "libxcb-icccm4" in str(caught.value)


def test_any_other_failure_shows_what_qt_said_last(tmp_path: Path, pretend_installed: None) -> None:
    python = interpreter(tmp_path, "the reason\nQFactoryLoader::noise\n\n", 1)
    with pytest.raises(UserError, match="the reason"):
        display.check_display({"DISPLAY": ":0"}, python=python)


@installed
def test_a_display_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"':9876'|Qt's system libraries"):
        display.check_display({"DISPLAY": ":9876", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)})


@installed
def test_a_platform_that_works_passes(tmp_path: Path) -> None:
    try:
        display.check_display({"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)})
    except UserError as error:
        if "system libraries are missing" in str(error):
            pytest.skip(str(error))
        raise


def test_only_the_plugins_of_cv2_are_forgotten() -> None:
    theirs = {"QT_QPA_PLATFORM_PLUGIN_PATH": "/v/site-packages/cv2/qt/plugins", "QT_QPA_FONTDIR": "/v/cv2/qt/fonts"}
    display.forget_cv2(theirs)
    assert theirs == {}
    own = {"QT_QPA_PLATFORM_PLUGIN_PATH": "/opt/qt/plugins", "DISPLAY": ":0"}
    display.forget_cv2(own)
    assert own == {"QT_QPA_PLATFORM_PLUGIN_PATH": "/opt/qt/plugins", "DISPLAY": ":0"}


def test_the_command_ends_in_one_line(tmp_path: Path) -> None:
    for options, said in ((["--images", tmp_path / "none"], "none"), (["--classes", tmp_path / "no.txt"], "no.txt")):
        command = [sys.executable, "-m", "scripts.label", *map(str, options)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert answer.returncode == 2
        assert said in answer.stderr
        assert len(answer.stderr.splitlines()) == 1
