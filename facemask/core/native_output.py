"""Filter the output that compiled code writes directly to a file descriptor, past Python's `sys.stderr`."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator

_FILTER = """
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
pattern = re.compile(sys.argv[1].encode("latin-1"), int(sys.argv[2]))
for line in sys.stdin.buffer:
    if not pattern.search(line):
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
"""

_PATIENCE = 10.0
"""Seconds to wait for the filter at the end of the block. Another process may keep the filter's input open."""


@contextlib.contextmanager
def without_lines(pattern: re.Pattern[bytes], descriptor: int = 2) -> Iterator[None]:
    """Drop the lines that match `pattern` from everything that is written to a file descriptor, also by C++.

    Another process filters the lines as they are written, so the last lines of a process that aborts or is killed still
    appear. The descriptor belongs to the whole process: two threads must not do this at the same time.

    Args:
        pattern: Lines in which it is found are dropped.
        descriptor: The file descriptor; 2 is stderr.

    Example:
        >>> with without_lines(re.compile(rb"^INFO: ")):
        ...     interpreter = Interpreter(path)
    """
    try:
        original = os.dup(descriptor)
    except OSError:  # A process without stderr.
        yield
        return
    try:
        arguments = [pattern.pattern.decode("latin-1"), str(int(pattern.flags))]
        # In a session of its own, so that Ctrl-C does not end it before this process has written its last line.
        filtering = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FILTER, *arguments],
            stdin=subprocess.PIPE,
            stdout=original,
            start_new_session=True,
        )
        assert filtering.stdin is not None
        with filtering.stdin as pipe:
            os.dup2(pipe.fileno(), descriptor)
        try:
            yield
        finally:
            os.dup2(original, descriptor)
            with contextlib.suppress(subprocess.TimeoutExpired):
                filtering.wait(_PATIENCE)
    finally:
        os.close(original)
