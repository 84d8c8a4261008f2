"""Which detector: what the options of a step mean, put together as one `Detector` with what is to be said of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.classify import exported as classifiers
from scripts.classify.exported import ExportedClassifier
from scripts.dataset.label_map import LabelMap
from scripts.detect import detector as detectors
from scripts.detect.detector import Detector
from scripts.detect.faces import finder
from scripts.support import downloads
from scripts.support.errors import UserError
from scripts.support.files import sha256
from scripts.tfod import exported as models
from scripts.tfod import runs

NAMES = ("ssd", "two_stage", "rescored")
"""What DETECTOR= takes."""


@dataclass(frozen=True)
class Choice:
    """The options, as the user gives them.

    Attributes:
        exported: Folder of the exported models and classifiers.
        run: Name of the exported detector.
        detector: One of `NAMES`: the exported detector alone, faces and a classifier, or the exported detector with
            its boxes scored again by a classifier.
        faces: One of `finder.NAMES`, for two_stage.
        faces_model: The user's own file for it; None takes the published one.
        faces_size: The longer side in pixels at which faces are looked for; 0 for the face detector's own.
        classifier: Name of the exported classifier.
        runtime: What runs the networks; the face detectors that OpenCV brings are run by it.
        precision: What they compute in.
        pretrained: Folder of the downloads.
    """

    exported: Path
    run: str = "default"
    detector: str = "ssd"
    faces: str = "yunet"
    faces_model: Path | None = None
    faces_size: int = 0
    classifier: str = "classifier"
    runtime: str = "auto"
    precision: str = "auto"
    pretrained: Path = downloads.PRETRAINED


@dataclass(frozen=True)
class Chosen:
    """A detector that is there and can be opened.

    Attributes:
        name: Name of the folder for its results: the run's, or one made of the parts.
        label_map: Its classes.
        model: What results say of it, as JSON values: `run`, `model`, `steps`, `input`, `config_sha256`, `exported` as
            for an exported detector, None where that means nothing; and of two stages `faces` (`name`, `size`, `files`
            with their SHA-256) and `classifier` (`run`, `backbone`, `size`, `margin`, `files`).
        open: Loads it.
    """

    name: str
    label_map: LabelMap
    model: dict[str, Any]
    open: Callable[[], Detector]


def choose(choice: Choice, say: Callable[[str], None] = print) -> Chosen:
    """Find all that the detector is made of, fetching the face detector's files where need be; load nothing yet.

    Raises:
        UserError: An unknown name, a part that is missing, or parts that do not go together.
    """
    if choice.detector not in NAMES:
        raise UserError(f"DETECTOR={choice.detector}: must be one of {', '.join(NAMES)}.")
    if choice.detector == "ssd":
        return _ssd(choice)
    if choice.detector == "rescored":
        return _rescored(choice)
    if choice.faces not in finder.NAMES:
        raise UserError(f"FACES={choice.faces}: must be one of {', '.join(finder.NAMES)}.")
    return _ssd_and_classifier(choice) if choice.faces == "ssd" else _faces_and_classifier(choice, say)


def _ssd(choice: Choice) -> Chosen:
    folder = runs.folder_of(choice.exported, choice.run)
    model = models.read(folder)
    about = {
        "run": model.run,
        "model": model.model,
        "steps": model.steps,
        "input": [model.width, model.height],
        "config_sha256": model.config_sha256,
        "exported": str(folder),
    }

    def load() -> Detector:
        return detectors.open_detector(folder, choice.runtime, choice.precision)

    return Chosen(choice.run, model.label_map, about, load)


def _rescored(choice: Choice) -> Chosen:
    ssd, classifier = _ssd(choice), _classifier(choice)
    if classifier.label_map != ssd.label_map:
        raise UserError(
            f"{classifier.folder}: its classes are {', '.join(classifier.label_map.names)}; those of "
            f"{choice.exported / choice.run} are {', '.join(ssd.label_map.names)}. DETECTOR=rescored needs the same."
        )

    def load() -> Detector:
        from scripts.detect.two_stage import RescoredDetector

        return RescoredDetector(ssd.open(), _open_classifier(choice))

    about = ssd.model | {
        "model": f"{ssd.model['model']}, rescored by {classifier.backbone}",
        "classifier": _about_classifier(choice),
    }
    return Chosen(f"rescored-{choice.run}-{choice.classifier}", ssd.label_map, about, load)


def _ssd_and_classifier(choice: Choice) -> Chosen:
    if choice.faces_model is not None or choice.faces_size:
        raise UserError("FACES=ssd is the exported detector of RUN=: leave FACES_MODEL and FACES_SIZE out.")
    ssd, classifier = _ssd(choice), _classifier(choice)

    def load() -> Detector:
        from scripts.detect.faces.as_faces import DetectorFaces
        from scripts.detect.two_stage import TwoStageDetector

        return TwoStageDetector(DetectorFaces(ssd.open()), _open_classifier(choice))

    about = ssd.model | {
        "model": f"{ssd.model['model']} as face detector + {classifier.backbone}",
        "faces": {"name": "ssd", "size": None, "files": {}},
        "classifier": _about_classifier(choice),
    }
    return Chosen(f"two_stage-ssd-{choice.run}-{choice.classifier}", classifier.label_map, about, load)


def _faces_and_classifier(choice: Choice, say: Callable[[str], None]) -> Chosen:
    classifier = _classifier(choice)
    files = finder.files_of(choice.faces, choice.faces_model, choice.pretrained, say=say)
    size = choice.faces_size or finder.KINDS[choice.faces].size

    def load() -> Detector:
        from scripts.detect.two_stage import TwoStageDetector

        return TwoStageDetector(finder.load(choice.faces, files, size), _open_classifier(choice))

    name = f"two_stage-{choice.faces}-{choice.classifier}"
    about = {
        "run": name,
        "model": f"{choice.faces} + {classifier.backbone}",
        "steps": None,
        "input": None,
        "config_sha256": None,
        "exported": str(classifier.folder),
        "faces": {"name": choice.faces, "size": size, "files": _digests(files)},
        "classifier": _about_classifier(choice),
    }
    return Chosen(name, classifier.label_map, about, load)


def _classifier(choice: Choice) -> ExportedClassifier:
    return classifiers.read(runs.folder_of(choice.exported, choice.classifier))


def _open_classifier(choice: Choice) -> Any:
    from scripts.classify.classifier import RUNTIMES, open_classifier

    # What names the detector's runtime may be nothing that the classifier was exported for.
    known = choice.runtime in (*RUNTIMES, "auto") or (choice.detector == "two_stage" and choice.faces != "ssd")
    runtime, precision = (choice.runtime, choice.precision) if known else ("auto", "auto")
    return open_classifier(_classifier(choice).folder, runtime, precision)


def _about_classifier(choice: Choice) -> dict[str, Any]:
    classifier = _classifier(choice)
    weights = sorted((classifier.saved_model / "variables").glob("*"))
    return {
        "run": choice.classifier,
        "backbone": classifier.backbone,
        "size": classifier.size,
        "margin": classifier.margin,
        "files": _digests([classifier.folder / classifiers.NAME, *weights]),
    }


def _digests(files: Sequence[Path]) -> dict[str, str]:
    return {file.name: sha256(file) for file in files}
