"""The detectors that a server offers: the chosen one, and the same model in the other installed runtimes."""

import dataclasses
from collections.abc import Callable

from facemask.detect import detector_choice
from facemask.detect.detector import Detector
from facemask.detect.detector_choice import ChosenDetector, DetectorChoice
from facemask.serving.detection_service import AUTO


def openers_of(chosen: ChosenDetector, choice: DetectorChoice) -> dict[str, Callable[[], Detector]]:
    """What loads each of them, by name.

    `AUTO` is the one that was chosen; the others are those that are installed and exported for. Names that mean the
    same runtime and precision have the same opener.
    """
    openers: dict[str, Callable[[], Detector]] = {AUTO: chosen.open}
    by_networks = {chosen.networks: openers[AUTO]}
    for name in detector_choice.ready_runtimes(choice):
        same = dataclasses.replace(choice, runtime=name, precision="auto")
        other = detector_choice.choose_detector(same, report=lambda line: None)  # the chosen one's lines were said
        openers[name] = by_networks.setdefault(other.networks, other.open)
    return openers
