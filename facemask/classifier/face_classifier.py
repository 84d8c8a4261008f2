"""The interface of all face classifiers, and the runtimes of exported ones."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from facemask.classifier import exported_classifier, face_crops
from facemask.classifier.backends import classifier_openvino, classifier_tensorflow, classifier_tflite
from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.core import hardware
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.core.run_names import run_folder

BATCH = 64
"""The most faces in a batch. Larger batches need more memory and are not faster."""


class Classifier(Protocol):
    """Classifies faces by how they wear a mask."""

    @property
    def name(self) -> str:
        """A name to display: the backbone, the runtime and the precision."""
        ...

    @property
    def label_map(self) -> LabelMap:
        """Its classes: column k of the probabilities is the class with id k + 1."""
        ...

    @property
    def size(self) -> int:
        """Side in pixels of its crops, for `face_crops.cut_faces`."""
        ...

    @property
    def margin(self) -> float:
        """The margin of its crops, for `face_crops.cut_faces`."""
        ...

    def classify(self, crops: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Classify faces, all those of a picture at once.

        Args:
            crops: From `face_crops.cut_faces`; or uint8 arrays of shape (h, w, 3), RGB, each of any size, which it
                resizes.

        Returns:
            (n, K) float32 probabilities of the classes; each row adds up to at most 1 (`ExportedClassifier.outputs`).
        """
        ...


@dataclass(frozen=True)
class ExportedNetwork:
    """A `Classifier` that runs an exported network.

    Attributes:
        name: See `Classifier`.
        label_map: See `Classifier`.
        size: See `Classifier`.
        margin: See `Classifier`.
        run: Maps (n, size, size, 3) uint8 to (n, K) float32. Threads may call it at the same time.
    """

    name: str
    label_map: LabelMap
    size: int
    margin: float
    run: Callable[[np.ndarray], np.ndarray]

    def classify(self, crops: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """See `Classifier.classify`."""
        parts = [
            self.run(face_crops.resize_crops(crops[start : start + BATCH], self.size))
            for start in range(0, len(crops), BATCH)
        ]
        return np.concatenate([np.zeros((0, len(self.label_map)), np.float32), *parts])


@dataclass(frozen=True)
class AveragedClassifiers:
    """A `Classifier` whose probabilities are the means of several classifiers'.

    Attributes:
        members: The classifiers, with the same classes and margin, of any sizes.
    """

    members: tuple[Classifier, ...]

    @property
    def name(self) -> str:
        """See `Classifier`."""
        return " and ".join(dict.fromkeys(member.name for member in self.members)) + ", averaged"

    @property
    def label_map(self) -> LabelMap:
        """See `Classifier`."""
        return self.members[0].label_map

    @property
    def size(self) -> int:
        """See `Classifier`: that of the first."""
        return self.members[0].size

    @property
    def margin(self) -> float:
        """See `Classifier`."""
        return self.members[0].margin

    def classify(self, crops: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """See `Classifier.classify`."""
        return np.stack([member.classify(crops) for member in self.members]).mean(axis=0)


@dataclass(frozen=True)
class ClassifierRuntime:
    """One way to run an exported classifier.

    Attributes:
        package: The package that must be installed.
        files: The precisions in which it can compute, each with the file that it reads, relative to the exported
            classifier's folder.
        load: Loads a classifier in a precision. Returns a function from (n, size, size, 3) uint8 to (n, K) float32.
        auto_bf16: Whether `auto` means bf16 on a processor that computes it natively.
    """

    package: str
    files: dict[str, str]
    load: Callable[[ExportedClassifier, str], Callable[[np.ndarray], np.ndarray]]
    auto_bf16: bool = False


RUNTIMES = {
    "openvino": ClassifierRuntime(
        "openvino",
        dict.fromkeys(("fp32", "bf16"), "openvino/model.xml"),
        classifier_openvino.load_openvino_classifier,
        auto_bf16=True,
    ),
    "tflite": ClassifierRuntime("ai_edge_litert", classifier_tflite.FILES, classifier_tflite.load_tflite_classifier),
    "tensorflow": ClassifierRuntime(
        "tensorflow", {"fp32": "saved_model/saved_model.pb"}, classifier_tensorflow.load_tensorflow_classifier
    ),
}
"""The runtimes by name, the fastest first."""


def ready_runtimes(model: ExportedClassifier) -> Iterator[str]:
    """The runtimes that are installed and that the classifier was exported for, the fastest first."""
    for name, runtime in RUNTIMES.items():
        if _written(model, runtime) and importlib.util.find_spec(runtime.package) is not None:
            yield name


def _written(model: ExportedClassifier, runtime: ClassifierRuntime) -> list[str]:
    """The precisions of a runtime whose file the classifier was exported to."""
    return [precision for precision, file in runtime.files.items() if (model.folder / file).is_file()]


def resolve_classifier_runtime(
    model: ExportedClassifier, runtime: str = "auto", precision: str = "auto"
) -> tuple[str, str]:
    """The runtime and the precision that these options select on this machine.

    Args:
        model: The exported classifier.
        runtime: One of `RUNTIMES`, or `auto` for the fastest that is installed and that it was exported for.
        precision: One of the runtime's, or `auto`: the first that it was exported for, which is fp32 where that is
            there, but bf16 with OpenVINO on processors that compute it natively.

    Raises:
        UserError: No such runtime or precision.
    """
    if runtime not in (*RUNTIMES, "auto"):
        raise UserError(f"RUNTIME={runtime}: for a classifier it must be one of auto, {', '.join(RUNTIMES)}.")
    name = next(ready_runtimes(model), "tensorflow") if runtime == "auto" else runtime
    if precision == "auto":
        bf16 = RUNTIMES[name].auto_bf16 and hardware.cpu_has_bf16()
        precision = "bf16" if bf16 else next(iter(_written(model, RUNTIMES[name])), "fp32")
    if precision not in RUNTIMES[name].files:
        known = ", ".join(RUNTIMES[name].files)
        raise UserError(f"PRECISION={precision}: for a classifier with {name} it must be one of auto, {known}.")
    return name, precision


def open_classifier(folder: Path, runtime: str = "auto", precision: str = "auto") -> Classifier:
    """Load an exported classifier.

    Args:
        folder: What `make classifier` wrote, `workspace/exported/<RUN>`.
        runtime: See `resolve_classifier_runtime`.
        precision: See `resolve_classifier_runtime`.

    Raises:
        UserError: `folder` holds no exported classifier, or the runtime or precision is unknown or not installed.

    Example:
        >>> classifier = open_classifier(Path("workspace/exported/classifier"))
        >>> probabilities = classifier.classify(cut_faces(image, boxes, classifier.margin, classifier.size))
        >>> [classifier.label_map.name_of(best + 1) for best in probabilities.argmax(axis=1)]
        ['with_mask', 'without_mask']
    """
    model = exported_classifier.read_exported_classifier(folder)
    name, precision = resolve_classifier_runtime(model, runtime, precision)
    run = RUNTIMES[name].load(model, precision)
    return ExportedNetwork(f"{model.backbone} {name} {precision}", model.label_map, model.size, model.margin, run)


def read_classifiers(exported: Path, names: str) -> list[ExportedClassifier]:
    """Read exported classifiers that are averaged.

    Args:
        exported: The folder of the exported models, `workspace/exported`.
        names: Their names, separated by commas.

    Raises:
        UserError: A name is empty or named twice, a classifier is missing, or it has other classes, another margin or
            other formats than the first.
    """
    parts = [name.strip() for name in names.split(",")]
    if not all(parts) or len({*parts}) < len(parts):
        raise UserError(f"CLASSIFIER={names}: write different names, separated by commas, such as first,second.")
    found = [exported_classifier.read_exported_classifier(run_folder(exported, name, "CLASSIFIER")) for name in parts]
    first = found[0]
    for one in found[1:]:
        if (one.label_map, one.margin) != (first.label_map, first.margin):
            raise UserError(f"{one.folder}: has other classes or another margin than {first.folder}.")
        if list(ready_runtimes(one)) != list(ready_runtimes(first)):
            raise UserError(f"{one.folder}: was exported in other formats than {first.folder}. Export both alike.")
    return found


def open_classifiers(folders: Sequence[Path], runtime: str = "auto", precision: str = "auto") -> Classifier:
    """Load exported classifiers with the same classes and margin as one that averages their probabilities; a single one
    as it is.

    Raises:
        UserError: See `open_classifier`.
    """
    members = [open_classifier(folder, runtime, precision) for folder in folders]
    return members[0] if len(members) == 1 else AveragedClassifiers(tuple(members))
