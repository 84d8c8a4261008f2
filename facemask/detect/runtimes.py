"""The runtimes that run an exported model, and the formats that they read: one row each."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from facemask.core import exported_model, hardware
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.detect import precisions
from facemask.detect.backends import onnx_backend, openvino_backend, tensorflow_backend, tflite_backend
from facemask.detect.detector import RawDetector
from facemask.detect.reduction import ReducingDetector
from facemask.detect.several_inputs import SeveralInputs


@dataclass(frozen=True)
class Runtime:
    """One way to run an exported model.

    Attributes:
        package: The package that must be installed to run it.
        files: Its precisions, each with the file that it reads, relative to the exported model's folder.
        load: Loads the model in a precision: `load(model, precision, folder)`, where `folder` holds the format's files
            if they are not in the exported model's folder, and is None otherwise.
        write: Writes the format's files into a folder: `write(model, folder)`; None for the SavedModel, which
            `facemask.tfod` writes. The format has the runtime's name.
        export_packages: The packages that must be installed to write the format, besides TensorFlow.
        auto_bf16: Whether `auto` means bf16 on a processor that computes it natively.
    """

    package: str
    files: dict[str, str]
    load: Callable[[ExportedModel, str, Path | None], RawDetector]
    write: Callable[[ExportedModel, Path], None] | None = None
    export_packages: tuple[str, ...] = ()
    auto_bf16: bool = False


RUNTIMES = {
    "openvino": Runtime(
        "openvino",
        {"fp32": "openvino/model.xml", "bf16": "openvino/model.xml", "int8": "int8/model.xml"},
        openvino_backend.load_openvino_detector,
        openvino_backend.export_openvino,
        ("openvino",),
        auto_bf16=True,
    ),
    "onnx": Runtime(
        "onnxruntime",
        {"fp32": "onnx/model.onnx"},
        onnx_backend.load_onnx_detector,
        onnx_backend.export_onnx,
        ("tf2onnx", "onnxruntime"),
    ),
    "tflite": Runtime(
        "ai_edge_litert",
        {"fp32": "tflite/model.tflite"},
        tflite_backend.load_tflite_detector,
        tflite_backend.export_tflite,
        ("ai_edge_litert",),
    ),
    "tensorflow": Runtime(
        "tensorflow",
        dict.fromkeys(("fp32", "bf16"), "saved_model/saved_model.pb"),
        tensorflow_backend.load_tensorflow_detector,
    ),
}
"""The runtimes by name, the fastest first."""

PRECISIONS = tuple(dict.fromkeys(precision for runtime in RUNTIMES.values() for precision in runtime.files))


def ready_runtimes(model: ExportedModel, precision: str = "auto") -> Iterator[str]:
    """The runtimes that are installed and that the model was exported for in a precision, the fastest first."""
    for name, runtime in RUNTIMES.items():
        file = runtime.files.get("fp32" if precision == "auto" else precision)
        if file and (model.folder / file).is_file() and importlib.util.find_spec(runtime.package) is not None:
            yield name


def resolve_runtime(model: ExportedModel, runtime: str = "auto", precision: str = "auto") -> tuple[str, str]:
    """The runtime and the precision that these options select on this machine.

    Args:
        model: The exported model.
        runtime: One of `RUNTIMES`, or `auto` for the fastest that is installed and that the model was exported for.
        precision: One of the runtime's, or `auto`: fp32, but bf16 with OpenVINO on processors that compute it natively,
            if the export did not find that it costs accuracy. int8 only where it is named.

    Raises:
        UserError: No such runtime or precision.
    """
    if runtime not in (*RUNTIMES, "auto"):
        raise UserError(f"RUNTIME={runtime}: must be one of auto, {', '.join(RUNTIMES)}.")
    name = runtime
    if runtime == "auto":
        # Where no runtime is ready, one that knows the precision: its loader says what is missing.
        known_to = (one for one in reversed(RUNTIMES) if precision in RUNTIMES[one].files)
        name = next(ready_runtimes(model, precision), next(known_to, "tensorflow"))
    if precision == "auto":
        bf16 = RUNTIMES[name].auto_bf16 and hardware.cpu_has_bf16() and not precisions.is_refused(model.folder, "bf16")
        precision = "bf16" if bf16 else "fp32"
    if precision not in RUNTIMES[name].files:
        known = ", ".join(RUNTIMES[name].files)
        raise UserError(f"PRECISION={precision}: with {name} it must be one of auto, {known}.")
    return name, precision


def load_model(folder: Path, runtime: str = "auto", precision: str = "auto") -> RawDetector:
    """Load an exported model into a runtime; with several input sizes, as one detector of them all.

    Args:
        folder: What `make export` wrote, `workspace/exported/<RUN>`.
        runtime: See `resolve_runtime`.
        precision: See `resolve_runtime`.

    Raises:
        UserError: No exported model in `folder`; or no such runtime or precision, or it is not installed.
    """
    loaded = [_load(model, runtime, precision) for model in exported_model.read_input_sizes(folder)]
    return loaded[0] if len(loaded) == 1 else SeveralInputs(tuple(loaded))


def _load(model: ExportedModel, runtime: str, precision: str) -> RawDetector:
    name, precision = resolve_runtime(model, runtime, precision)
    raw = RUNTIMES[name].load(model, precision, None)
    # A network that keeps the aspect ratio would see the picture squeezed.
    return raw if model.keeps_aspect_ratio else ReducingDetector(raw, model.width, model.height)
