"""Delivers what is in the outbox: a thread for each action."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from facemask.watch.actions.event_receiver import DeliveryError, EventReceiver
from facemask.watch.outbox import Outbox, Waiting

FIRST_PAUSE = 1.0
"""Seconds after a failed delivery. Each further failure doubles the pause."""

LONGEST_PAUSE = 60.0

IDLE = 30.0
"""Seconds after which the outbox is looked at even if nobody has called `Delivery.wake`."""


class Delivery:
    """Delivers the events of one action, one at a time, until it is stopped.

    An event is sent again only if its delivery was not recorded: the receiver did not confirm it, or the process died
    between the confirmation and the record.
    """

    def __init__(self, name: str, receiver: EventReceiver, database: Path, say: Callable[[str], None]) -> None:
        """Deliver the events for the action `name` in the database; `say` takes lines for people."""
        self._name, self._receiver, self._database, self._say = name, receiver, database, say
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"delivery-{name}")

    def start(self) -> None:
        """Begin, with what an earlier process has left."""
        self._thread.start()

    def wake(self) -> None:
        """Tell that the outbox has a new event."""
        self._changed.set()

    def stop(self, seconds: float) -> None:
        """Stop after the event that is under way; wait for it at most so many seconds."""
        self._stopped.set()
        self._changed.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        outbox = Outbox(self._database)
        pause = FIRST_PAUSE
        try:
            while not self._stopped.is_set():
                self._changed.clear()
                try:
                    event = outbox.next_waiting(self._name)
                    if event is None:
                        self._changed.wait(IDLE)
                        continue
                    failure = self._deliver(outbox, event)
                except sqlite3.OperationalError as error:
                    failure = DeliveryError(f"database: {error}")
                except Exception as error:  # a bug in one action must not end the deliveries for good
                    failure = DeliveryError(f"{type(error).__name__}: a bug in this action")
                if failure is None:
                    pause = FIRST_PAUSE
                    self._tell_success()
                else:
                    self._tell_failure(failure)
                    # A new event goes before a refused one, so it need not wait.
                    (self._changed if failure.refused else self._stopped).wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            outbox.close()

    def _deliver(self, outbox: Outbox, event: Waiting) -> DeliveryError | None:
        try:
            self._receiver.deliver(event)
        except DeliveryError as failure:
            if failure.refused:
                outbox.record_refusal(event.number, self._name)
            return failure
        # The event is delivered: nothing else is sent before that is recorded, however full the disk is.
        while True:
            try:
                outbox.record_delivery(event.number, self._name, time.time())
            except sqlite3.OperationalError as error:
                self._tell_failure(DeliveryError(f"the delivery cannot be recorded: {error}"))
                if self._stopped.wait(FIRST_PAUSE):
                    return None
            else:
                return None

    def _tell_failure(self, failure: DeliveryError) -> None:
        if not self._failing:
            self._say(f"{self._name}: cannot deliver ({failure}); its events wait in {self._database}")
        self._failing = True

    def _tell_success(self) -> None:
        if self._failing:
            self._say(f"{self._name}: delivers again")
        self._failing = False


@contextlib.contextmanager
def delivering(
    receivers: Mapping[str, EventReceiver], database: Path, say: Callable[[str], None], patience: float = 15.0
) -> Iterator[Callable[[], None]]:
    """Deliver for the block, and close the receivers after it.

    Yields:
        A function that tells that the outbox has a new event.
    """
    deliveries = [Delivery(name, receiver, database, say) for name, receiver in receivers.items()]
    for receiver in receivers.values():
        receiver.start()
    for delivery in deliveries:
        delivery.start()

    def wake() -> None:
        for delivery in deliveries:
            delivery.wake()

    try:
        yield wake
    finally:
        # The stack closes every receiver, even if another one's `close` raises.
        with contextlib.ExitStack() as stack:
            for receiver in receivers.values():
                stack.callback(receiver.close)
            end = time.monotonic() + patience
            for delivery in deliveries:
                delivery.stop(max(0.0, end - time.monotonic()))
