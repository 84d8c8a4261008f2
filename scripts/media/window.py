"""A window that shows what is drawn, where there is a display."""

import os
import subprocess
import sys
from collections.abc import Sequence

import cv2
import numpy as np

from scripts.media.footage import Footage
from scripts.media.images import Picture
from scripts.support.errors import UserError

_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"

_ESCAPE = 27


def check(found: Sequence[Picture] | Footage) -> None:
    """Open a window in a process of its own, as a failure there may be an abort.

    Raises:
        UserError: `found` is no footage, or no window can be opened.
    """
    if not isinstance(found, Footage):
        raise UserError("SHOW=1 is for videos, cameras and streams; pictures are written to files.")
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in displays):
        raise UserError("SHOW=1: there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set). Leave it out.")
    try:
        answer = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise UserError("SHOW=1: the display does not answer (60 s). Leave it out.") from None
    if answer.returncode:
        lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
        raise UserError(f"SHOW=1: no window can be opened ({lines[0] if lines else 'no reason given'}). Leave it out.")


class Window:
    """A window that opens with its first image. To be used from the main thread only, as macOS wants it."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._open = False

    def show(self, image: np.ndarray) -> None:
        """Show an RGB image."""
        if not self._open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            height, width = image.shape[:2]
            scale = min(1.0, 1280 / width, 720 / height)
            cv2.resizeWindow(self._title, round(width * scale), round(height * scale))
            self._open = True
        cv2.imshow(self._title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def closed(self) -> bool:
        """Whether someone closed it, or pressed q or Escape. To be asked often: it lets the window live."""
        if not self._open:
            return False
        key = cv2.waitKey(1) & 0xFF
        return key in (ord("q"), _ESCAPE) or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1

    def close(self) -> None:
        """Close it."""
        cv2.destroyAllWindows()
