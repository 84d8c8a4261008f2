"""OpenVINO's form of a network: written from a SavedModel, and compiled for the processor."""

from pathlib import Path
from typing import Any

from scripts.support import telemetry
from scripts.support.errors import UserError

FILE = "model.xml"
"""The network's file; its weights are in `model.bin` beside it."""


def write(saved_model: Path, folder: Path) -> None:
    """Write `FILE` and its weights into `folder`: the same operations as the SavedModel's, in float32."""
    telemetry.refuse()
    import openvino as ov

    # It would store float32 weights as float16.
    ov.save_model(ov.convert_model(str(saved_model)), folder / FILE, compress_to_fp16=False)


def compiled(folder: Path, in_bf16: bool, again: str) -> Any:
    """Load the network of a folder: OpenVINO's `CompiledModel`, made to answer one request soon.

    Args:
        folder: Where `FILE` is.
        in_bf16: Compute in bfloat16; on a processor without it that is slower.
        again: What the user can do where it is missing or damaged, a sentence.

    Raises:
        UserError: OpenVINO is not installed, or there is no such network.
    """
    telemetry.refuse()
    try:
        import openvino as ov
    except ImportError as error:
        raise UserError(f"OpenVINO cannot be loaded ({error}). RUNTIME=tensorflow does without it.") from None
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file. {again}")
    options = {"INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32", "PERFORMANCE_HINT": "LATENCY"}
    try:
        return ov.Core().compile_model(path, "CPU", options)
    except RuntimeError as error:
        raise UserError(f"{path}: cannot be loaded ({str(error).splitlines()[-1]}). {again}") from None
