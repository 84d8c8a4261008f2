"""What all actions have in common."""

from collections.abc import Mapping

from facemask.watch.outbox import Waiting


class DeliveryError(Exception):
    """An event was not delivered. The message is the reason; it holds no address and no secret.

    Attributes:
        refused: The receiver answered, and did not take this event: others may fare better. Otherwise it is away.
    """

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class EventReceiver:
    """Delivers events, one at a time, from one thread. Opening one connects to nothing."""

    def start(self) -> None:
        """Connect in the background, where that takes time."""

    def deliver(self, event: Waiting) -> None:
        """Deliver an event, and return when the receiver has confirmed it. Raises DeliveryError otherwise."""
        raise NotImplementedError

    def show_people(self, camera: str, counts: Mapping[str, int]) -> None:
        """Take the number of people in front of a camera, by class. Most actions ignore it."""

    def close(self) -> None:
        """Give up connections."""
