"""A picture in, boxes out: what every detector does, and which of them runs an exported model."""

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scripts.dataset.label_map import LabelMap
from scripts.detect import precisions
from scripts.support import hardware
from scripts.support.errors import UserError
from scripts.tfod import exported
from scripts.tfod.exported import ExportedModel

if TYPE_CHECKING:
    import supervision as sv


class Detector(Protocol):
    """Finds faces in pictures and says how they wear their masks."""

    @property
    def name(self) -> str:
        """What runs it, for people: the runtime and the precision."""
        ...

    @property
    def label_map(self) -> LabelMap:
        """Its classes."""
        ...

    def detect(self, images: Sequence[np.ndarray]) -> "list[sv.Detections]":
        """Find the faces in each picture.

        Args:
            images: uint8 arrays of shape (height, width, 3), RGB, each of any size.

        Returns:
            For each picture all that the model reports, whatever its score, best first: `xyxy` in pixels of the
            picture, `confidence` in 0..1, `class_id` as in the label map (from 1), and `data["class_name"]`.
        """
        ...


@dataclass(frozen=True)
class Runtime:
    """One way to run an exported model.

    Attributes:
        package: What has to be installed.
        files: What it computes in, and the file that it reads for that, relative to the exported model's folder.
        auto_bf16: Take bf16 unasked where the processor computes it natively.
    """

    package: str
    files: dict[str, str]
    auto_bf16: bool = False


RUNTIMES = {
    "openvino": Runtime(
        "openvino",
        {"fp32": "openvino/model.xml", "bf16": "openvino/model.xml", "int8": "int8/model.xml"},
        auto_bf16=True,
    ),
    "onnx": Runtime("onnxruntime", {"fp32": "onnx/model.onnx"}),
    "tflite": Runtime("ai_edge_litert", {"fp32": "tflite/model.tflite"}),
    "tensorflow": Runtime("tensorflow", dict.fromkeys(("fp32", "bf16"), "saved_model/saved_model.pb")),
}
"""The runtimes by name, the fastest first; each is the module of that name in `runtimes`."""

PRECISIONS = tuple(dict.fromkeys(precision for runtime in RUNTIMES.values() for precision in runtime.files))


def open_detector(folder: Path, runtime: str = "auto", precision: str = "auto") -> Detector:
    """Load an exported model.

    Args:
        folder: What `make export` wrote, `workspace/exported/<RUN>`.
        runtime: One of `RUNTIMES`, or `auto` for the fastest that is installed and that the model was exported for.
        precision: One of the runtime's, or `auto`: fp32, but bf16 with OpenVINO on processors that compute it natively,
            if the export did not find that it costs accuracy. Never int8 unless asked for.

    Raises:
        UserError: No exported model in `folder`; or no such runtime or precision, or it is not installed.

    Example:
        >>> detector = open_detector(Path("workspace/exported/default"))
        >>> [detections] = detector.detect([image])
    """
    model = exported.read(folder)
    if runtime not in (*RUNTIMES, "auto"):
        raise UserError(f"RUNTIME={runtime}: must be one of auto, {', '.join(RUNTIMES)}.")
    name = next(ready(model, precision), "tensorflow") if runtime == "auto" else runtime
    if precision == "auto":
        bf16 = RUNTIMES[name].auto_bf16 and hardware.cpu_has_bf16() and not precisions.is_refused(folder, "bf16")
        precision = "bf16" if bf16 else "fp32"
    if precision not in RUNTIMES[name].files:
        known = ", ".join(RUNTIMES[name].files)
        raise UserError(f"PRECISION={precision}: with {name} it must be one of auto, {known}.")
    detector: Detector = importlib.import_module(f"scripts.detect.runtimes.{name}").load(model, precision)
    return detector


def ready(model: ExportedModel, precision: str = "auto") -> Iterator[str]:
    """The runtimes that could run the model here in a precision, the fastest first."""
    for name, runtime in RUNTIMES.items():
        file = runtime.files.get("fp32" if precision == "auto" else precision)
        if file and (model.folder / file).is_file() and importlib.util.find_spec(runtime.package) is not None:
            yield name
