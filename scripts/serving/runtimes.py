"""The detectors that a server offers: the chosen one, and the same in the other runtimes that are here."""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial

from scripts.classify import classifier
from scripts.detect import choosing, detector
from scripts.detect.choosing import Choice, Chosen
from scripts.detect.detector import Detector
from scripts.serving.service import AUTO
from scripts.tfod import exported


def openers_of(chosen: Chosen, choice: Choice) -> dict[str, Callable[[], Detector]]:
    """What loads each of them, by name: `AUTO` is the one that was chosen, the others are those that are ready."""
    others = {
        name: partial(_open, dataclasses.replace(choice, runtime=name, precision="auto")) for name in _ready(choice)
    }
    return {AUTO: chosen.open} | others


def _ready(choice: Choice) -> Iterator[str]:
    if choice.detector != "two_stage" or choice.faces == "ssd":
        yield from detector.ready(exported.read(choice.exported / choice.run))
        return
    for name, runtime in classifier.RUNTIMES.items():
        if importlib.util.find_spec(runtime.package) is not None:
            yield name


def _open(choice: Choice) -> Detector:
    return choosing.choose(choice).open()
