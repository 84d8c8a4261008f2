"""The action `json`: each event as a line of JSON."""

import os
import stat
import sys
from pathlib import Path

from facemask.core.errors import UserError
from facemask.watch.actions.event_receiver import DeliveryError, EventReceiver
from facemask.watch.outbox import Waiting
from facemask.watch.watch_config import JsonLines


class JsonLinesReceiver(EventReceiver):
    """Writes to stdout, or appends to a file. The file is opened for each event, so it may be rotated."""

    def __init__(self, file: Path | None) -> None:
        """Append to `file`; None for stdout."""
        self._file = file

    def deliver(self, event: Waiting) -> None:
        """See `EventReceiver.deliver`. A line is whole or not there."""
        if self._file is None:
            try:
                sys.stdout.write(event.payload + "\n")
                sys.stdout.flush()
            except OSError as error:
                raise DeliveryError(f"stdout: {error.strerror}") from None
            return
        try:
            _append(self._file, event.payload.encode() + b"\n")
        except OSError as error:
            raise DeliveryError(f"{self._file}: {error.strerror}") from None


def open_json_lines(action: JsonLines) -> JsonLinesReceiver:
    """Open the action. Raises a UserError if its file cannot be written."""
    if action.file is not None:
        try:
            action.file.parent.mkdir(parents=True, exist_ok=True)
            action.file.open("ab").close()
        except OSError as error:
            raise UserError(f"{action.file}: cannot be written ({error.strerror}).") from None
    return JsonLinesReceiver(action.file)


def _append(path: Path, line: bytes) -> None:
    with path.open("a+b", buffering=0) as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        size = file.seek(0, os.SEEK_END) if regular else 0
        if size:
            file.seek(size - 1)
            # A process that was killed while it wrote leaves a line without an end.
            if file.read(1) != b"\n":
                line = b"\n" + line
        if file.write(line) != len(line):
            if regular:
                file.truncate(size)
            raise OSError(28, "No space left on device")
        if regular:
            os.fsync(file.fileno())
