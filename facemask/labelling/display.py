"""Checks that labelImg's window can be opened, before Qt aborts the process."""

import re
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from importlib import util

from facemask.core.errors import UserError

INSTALL_LABELIMG = "labelImg is not installed here. `make label` installs it on first use."
QT_PACKAGES = (
    "libgl1 libglib2.0-0 libfontconfig1 libdbus-1-3 libx11-xcb1 libxkbcommon-x11-0 libxcb-icccm4 libxcb-image0 "
    "libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xfixes0 libxcb-xinerama0 libxcb-xkb1"
)
"""The packages of Debian and Ubuntu with the libraries of Qt 5.15's xcb platform plugin."""

_PROBE = "from PyQt5.QtWidgets import QApplication; QApplication(['probe'])"
_MISSING_LIBRARY = re.compile(r"\b(lib[\w.+-]+\.so[.\d]*): cannot open shared object file")


def forget_cv2(environment: MutableMapping[str, str]) -> None:
    """Remove the Qt plugins of opencv-python from the environment; PyQt5's Qt cannot load them.

    On Linux, `import cv2` sets these variables to its own plugins, for the process and its children.
    """
    for name in ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR"):
        if "cv2" in environment.get(name, "").replace("\\", "/").split("/"):
            del environment[name]


def check_display(environment: Mapping[str, str], python: str = sys.executable) -> None:
    """Open an invisible Qt application in a process of its own, because a failure in Qt is an abort.

    Args:
        environment: The environment variables of the window's process.
        python: The interpreter of that process.

    Raises:
        UserError: labelImg is not installed, there is no display, the display does not answer, or Qt's system
            libraries are missing.
    """
    if not all(util.find_spec(module) for module in ("PyQt5", "labelImg")):
        raise UserError(INSTALL_LABELIMG)
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not any(environment.get(name) for name in displays):
        raise UserError(
            "there is no display for labelImg's window (neither DISPLAY nor WAYLAND_DISPLAY is set). Run `make label` "
            "in a desktop session, through `ssh -X`, or on a virtual display that a VNC server shows."
        )
    try:
        answer = subprocess.run(
            [python, "-c", _PROBE],
            env={**environment, "QT_DEBUG_PLUGINS": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        raise UserError("the display does not answer (60 s). Is DISPLAY that of a running session?") from None
    if answer.returncode:
        raise UserError(_explain(answer.stderr, environment))


def _explain(stderr: str, environment: Mapping[str, str]) -> str:
    missing = sorted(set(_MISSING_LIBRARY.findall(stderr)))
    if missing:
        return (
            f"Qt's system libraries are missing ({', '.join(missing)}). Debian, Ubuntu: sudo apt-get install "
            f"{QT_PACKAGES}. Elsewhere: the packages that hold the files named."
        )
    if "could not connect to display" in stderr:
        return (
            f"the display {environment.get('DISPLAY', '')!r} cannot be opened. Set DISPLAY to that of a running "
            "session, and let this user open windows there."
        )
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith(("QFactoryLoader", "Got "))]
    return f"Qt cannot open a window: {lines[-1].strip() if lines else 'it gave no reason'}"
