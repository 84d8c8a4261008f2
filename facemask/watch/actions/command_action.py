"""The action `command`: a program that gets each event on stdin, without a shell."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import psutil

from facemask.core.errors import UserError
from facemask.watch.actions.event_receiver import DeliveryError, EventReceiver
from facemask.watch.outbox import Waiting
from facemask.watch.watch_config import Command


class CommandReceiver(EventReceiver):
    """Runs a program for each event. Exit code 0 confirms it. What the program prints goes to our stderr."""

    def __init__(self, command: tuple[str, ...], timeout: float) -> None:
        """Run `command`, and kill it with its children after `timeout` seconds."""
        self._command, self._timeout = command, timeout

    def deliver(self, event: Waiting) -> None:
        """See `EventReceiver.deliver`."""
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno(),
                env=os.environ | {"FACEMASK_EVENT_ID": event.event_id},
                # Ctrl-C ends the watch, not the program in the middle of an event. Windows ignores the first, Unix has
                # no such flag.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise DeliveryError(f"{self._command[0]}: {error.strerror}") from None
        try:
            process.communicate(event.payload.encode() + b"\n", timeout=self._timeout)
        except subprocess.TimeoutExpired:
            raise DeliveryError(f"{self._command[0]} took longer than {self._timeout:g} s", refused=True) from None
        finally:
            if process.poll() is None:
                _kill_with_children(process)
                process.communicate()
        if process.returncode:
            raise DeliveryError(f"{self._command[0]} ended with code {process.returncode}", refused=True)


def _kill_with_children(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a session. Windows has no sessions: there, the children of its children are listed."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()


def open_command(action: Command) -> CommandReceiver:
    """Open the action. Raises a UserError if there is no such program."""
    if shutil.which(action.command[0]) is None:
        raise UserError(f"the action {action.name}: {action.command[0]} is not a program that can be run.")
    return CommandReceiver(action.command, action.timeout)
