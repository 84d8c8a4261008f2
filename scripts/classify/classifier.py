"""A face in, its class out: what every classifier does, and which runtime runs an exported one."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from scripts.classify import crops as cutting
from scripts.classify import exported
from scripts.classify.exported import ExportedClassifier
from scripts.dataset.label_map import LabelMap
from scripts.support import hardware
from scripts.support.errors import UserError

BATCH = 64
"""Faces that go through the network at once, at most: more cost memory and are no faster."""


class Classifier(Protocol):
    """Says of each face how it wears its mask."""

    @property
    def name(self) -> str:
        """What runs it, for people: the backbone, the runtime and the precision."""
        ...

    @property
    def label_map(self) -> LabelMap:
        """Its classes: column k of the probabilities is the class with id k + 1."""
        ...

    @property
    def size(self) -> int:
        """Side in pixels to which it brings a crop."""
        ...

    @property
    def margin(self) -> float:
        """The margin that crops for it are cut with (`crops.cut`)."""
        ...

    def classify(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Classify faces, all those of a picture at once.

        Args:
            crops: What `crops.cut` gives: uint8 arrays of shape (h, w, 3), RGB, each of any size.

        Returns:
            (n, K) float32 probabilities of the classes; each row adds up to 1.
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
        run: From (n, size, size, 3) uint8 to (n, K) float32; threads may call it at the same time.
    """

    name: str
    label_map: LabelMap
    size: int
    margin: float
    run: Callable[[np.ndarray], np.ndarray]

    def classify(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """See `Classifier.classify`."""
        parts = [
            self.run(cutting.to_batch(crops[start : start + BATCH], self.size)) for start in range(0, len(crops), BATCH)
        ]
        return np.concatenate([np.zeros((0, len(self.label_map)), np.float32), *parts])


@dataclass(frozen=True)
class Runtime:
    """One way to run an exported classifier.

    Attributes:
        package: What has to be installed.
        file: What it reads, relative to the exported classifier's folder.
        precisions: What it computes in.
        auto_bf16: Take bf16 unasked where the processor computes it natively.
    """

    package: str
    file: str
    precisions: tuple[str, ...]
    auto_bf16: bool


RUNTIMES = {
    "openvino": Runtime("openvino", "openvino/model.xml", ("fp32", "bf16"), auto_bf16=True),
    "tensorflow": Runtime("tensorflow", "saved_model/saved_model.pb", ("fp32",), auto_bf16=False),
}
"""The runtimes by name, the fastest first; each is the module of that name in `runtimes`."""


def open_classifier(folder: Path, runtime: str = "auto", precision: str = "auto") -> Classifier:
    """Load an exported classifier.

    Args:
        folder: What `make classifier` wrote, `workspace/exported/<RUN>`.
        runtime: One of `RUNTIMES`, or `auto` for the fastest that is installed and that it was exported for.
        precision: One of the runtime's, or `auto`: fp32, but bf16 with OpenVINO on processors that compute it natively.

    Raises:
        UserError: No exported classifier in `folder`; or no such runtime or precision, or it is not installed.

    Example:
        >>> classifier = open_classifier(Path("workspace/exported/classifier"))
        >>> probabilities = classifier.classify(cut(image, boxes, classifier.margin))
        >>> [classifier.label_map.name_of(best + 1) for best in probabilities.argmax(axis=1)]
        ['with_mask', 'without_mask']
    """
    model = exported.read(folder)
    if runtime not in (*RUNTIMES, "auto"):
        raise UserError(f"RUNTIME={runtime}: for a classifier it must be one of auto, {', '.join(RUNTIMES)}.")
    name = next(_ready(model), "tensorflow") if runtime == "auto" else runtime
    precisions = RUNTIMES[name].precisions
    if precision == "auto":
        precision = "bf16" if RUNTIMES[name].auto_bf16 and hardware.cpu_has_bf16() else "fp32"
    if precision not in precisions:
        raise UserError(
            f"PRECISION={precision}: for a classifier with {name} it must be one of auto, {', '.join(precisions)}."
        )
    run = importlib.import_module(f"scripts.classify.runtimes.{name}").load(model, precision)
    return ExportedNetwork(f"{model.backbone} {name} {precision}", model.label_map, model.size, model.margin, run)


def _ready(model: ExportedClassifier) -> Iterator[str]:
    """The runtimes that could run the classifier here, the fastest first."""
    for name, runtime in RUNTIMES.items():
        if (model.folder / runtime.file).is_file() and importlib.util.find_spec(runtime.package) is not None:
            yield name
