"""What compiled code writes past Python's `sys.stderr`."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def without_lines(pattern: re.Pattern[bytes], descriptor: int = 2) -> Iterator[None]:
    """Hold back what is written to a file descriptor, also by C++; at the end pass on the lines without `pattern`.

    The descriptor is the whole process's: not for two threads at the same time.

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
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), descriptor)
            try:
                yield
            finally:
                os.dup2(original, descriptor)
                held.seek(0)
                for line in held:
                    if not pattern.search(line):
                        os.write(descriptor, line)
    finally:
        os.close(original)
