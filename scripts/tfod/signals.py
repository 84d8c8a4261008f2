"""Ctrl-C and SIGTERM, heard at any moment and acted on between two steps."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType

HEARD = (signal.SIGINT, signal.SIGTERM)
"""The signals that are listened for."""
ONCE = 1.0
"""Seconds in which the same signal counts once: where a whole job is stopped, make passes on what came here too."""


class Stop:
    """Whether someone asked the process to stop.

    Attributes:
        signal: Number of the signal that asked, or None.
        nothing_to_save: Whether a signal may end the process at once, as it may until the first step is through.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.nothing_to_save = True
        self._since = 0.0

    def hear(self, number: int) -> None:
        """Note a signal; a second one, or one while there is nothing to save, ends the process here."""
        if self.signal == number and time.monotonic() - self._since < ONCE:
            return
        if self.nothing_to_save or self.signal is not None:
            os.write(2, b"\nstopped; nothing was saved.\n" if self.nothing_to_save else b"\nstopped at once.\n")
            # Python's own way out would wait for the C++ call that the main thread is in, for up to a minute.
            os._exit(exit_code(number))
        self.signal, self._since = number, time.monotonic()
        os.write(2, b"\nstopping after this step; once more to stop at once.\n")


def exit_code(number: int) -> int:
    """The shell's exit code for a process that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def listen_again() -> None:
    """Take back, inside `listening`, the signals that a library has put a C-level handler of its own on."""
    if threading.current_thread() is threading.main_thread():
        for number in HEARD:
            signal.signal(number, signal.getsignal(number))


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Listen for SIGINT and SIGTERM while the block runs.

    Python runs signal handlers in the main thread between two bytecodes, so not while it is inside TensorFlow. The
    wake-up descriptor is written by the C-level handler at once, and a thread of ours reads it. Outside the main thread
    (in a test, say) signals cannot be handled: the block runs without.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def listen() -> None:
        while number := reader.recv(1):
            if number[0] in HEARD:
                stop.hear(number[0])

    def nothing(number: int, frame: FrameType | None) -> None:
        pass

    threading.Thread(target=listen, daemon=True, name="signals").start()
    before = {number: signal.signal(number, nothing) for number in HEARD}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        reader.close()
