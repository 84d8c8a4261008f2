"""The detectors that a server offers: the chosen one, and the same in the other runtimes that are here."""

import dataclasses
import importlib.util
from collections.abc import Callable
from functools import partial

from scripts.detect import choosing
from scripts.detect.choosing import Choice, Chosen
from scripts.detect.detector import RUNTIMES, Detector
from scripts.serving.service import AUTO


def openers_of(chosen: Chosen, choice: Choice) -> dict[str, Callable[[], Detector]]:
    """What loads each of them, by name: `AUTO` is the one that was chosen; of the others those that are installed."""
    others = [name for name, runtime in RUNTIMES.items() if importlib.util.find_spec(runtime.package) is not None]
    return {AUTO: chosen.open} | {
        name: partial(_open, dataclasses.replace(choice, runtime=name, precision="auto")) for name in others
    }


def _open(choice: Choice) -> Detector:
    return choosing.choose(choice).open()
