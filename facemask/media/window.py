"""A window that shows the drawn frames."""

import os
import subprocess
import sys

import cv2
import numpy as np

from facemask.core.errors import UserError

_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"

_ESCAPE = 27


def check_window() -> None:
    """Check that a window can be opened. It is tried in a process of its own, because a failure may be an abort.

    Raises:
        UserError: No window can be opened.
    """
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
    """A window that opens with its first image. Use it from the main thread only, which macOS requires."""

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
        """Whether the user closed the window, or pressed q or Escape. Call it often: it handles the window's events."""
        if not self._open:
            return False
        key = cv2.waitKey(1) & 0xFF
        return key in (ord("q"), _ESCAPE) or cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()
