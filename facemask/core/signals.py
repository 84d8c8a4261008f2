"""Receive Ctrl-C and SIGTERM at any moment, and act on them between two training steps."""

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
"""Seconds in which the same signal counts once. Ctrl-C reaches the whole job, and make passes its signal on as well."""


class Stop:
    """Whether a signal has asked the process to stop.

    Attributes:
        signal: Number of the signal that was received, or None.
        nothing_to_save: Whether a signal may end the process at once. True until the first step is done.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.nothing_to_save = True
        self._since = 0.0

    def hear(self, number: int) -> None:
        """Record a signal. A second signal, or one while there is nothing to save, ends the process at once."""
        if self.signal == number and time.monotonic() - self._since < ONCE:
            return
        if self.nothing_to_save or self.signal is not None:
            os.write(2, b"\nstopped; nothing was saved.\n" if self.nothing_to_save else b"\nstopped at once.\n")
            # A normal exit of Python would wait for the C++ call in the main thread, for up to a minute.
            os._exit(exit_code(number))
        self.signal, self._since = number, time.monotonic()
        os.write(2, b"\nstopping after this step; once more to stop at once.\n")


def exit_code(number: int) -> int:
    """The shell's exit code for a process that a signal ended: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def listen_again() -> None:
    """Restore the handlers of `listening_for_signals` after a library has installed C-level handlers of its own."""
    if threading.current_thread() is threading.main_thread():
        for number in HEARD:
            signal.signal(number, signal.getsignal(number))


@contextlib.contextmanager
def listening_for_signals() -> Iterator[Stop]:
    """Listen for SIGINT and SIGTERM while the block runs.

    Python runs signal handlers in the main thread between two bytecodes, but not while that thread is inside
    TensorFlow. So a thread reads the wake-up descriptor, to which the C-level handler writes at once. Signals can only
    be handled in the main thread; in another one (such as a test's) the block runs without.
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

    listener = threading.Thread(target=listen, daemon=True, name="signals")
    listener.start()
    before = {number: signal.signal(number, nothing) for number in HEARD}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        # The listener reads what was written, and ends. To close would not do: a forked child may hold the socket too.
        writer.shutdown(socket.SHUT_WR)
        listener.join()
        writer.close()
        reader.close()
