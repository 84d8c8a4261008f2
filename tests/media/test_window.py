import subprocess
import sys

import pytest

from facemask.core.errors import UserError
from facemask.media import window


def test_no_display_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"SHOW=1: .*DISPLAY"):
        window.check_window()


def test_a_display_that_is_not_there_ends_another_process_than_this(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_PROBE", "import sys, os; print('could not connect', file=sys.stderr); os.abort()")
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(UserError, match="could not connect"):
        window.check_window()


@pytest.mark.parametrize("module", ["recordings", "mp4"])
def test_opencv_is_loaded_before_pyav(module: str) -> None:
    """Each brings libraries of X11: with PyAV's loaded first, OpenCV's first window never opens."""
    code = (
        f"import sys, facemask.media.{module}; names = list(sys.modules); print(names.index('cv2') < names.index('av'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
