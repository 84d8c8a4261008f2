"""LiteRT, the interpreter of TensorFlow Lite's files, on the processor. Needs no TensorFlow."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.detect.outputs import from_first
from scripts.support import hardware, native_output
from scripts.support.errors import UserError
from scripts.tfod.exported import ExportedModel

_LOGGED = re.compile(rb"^INFO: ")
"""That it uses the delegate XNNPACK, as it does wherever there is one."""


@dataclass(frozen=True)
class TfliteDetector:
    """A `Detector` that runs a model converted to TensorFlow Lite, one picture at a time: it is made for no more.

    A picture of another size than the one before has the interpreter plan its memory anew, which costs time.
    """

    name: str
    label_map: LabelMap
    signature: Any
    # One interpreter has one memory; threads that want it at the same time take turns.
    turn: threading.Lock = field(default_factory=threading.Lock)

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        with self.turn:
            outputs = self.signature(input_tensor=np.ascontiguousarray(image[np.newaxis]))
        return from_first(outputs, image, self.label_map)


def load(model: ExportedModel, precision: str, folder: Path | None = None) -> TfliteDetector:
    """Load the TensorFlow Lite form of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`.
        folder: Where `model.tflite` is, if it is not in the exported model's folder.

    Raises:
        UserError: LiteRT is not installed, or the model was not exported for it.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(f"LiteRT cannot be loaded ({error}). RUNTIME=tensorflow does without it.") from None
    path = (folder or model.folder / "tflite") / "model.tflite"
    if not path.is_file():
        raise UserError(f"{path}: no such file. `make export RUN={model.folder.name} FORMATS=tflite` writes it.")
    try:
        with native_output.without_lines(_LOGGED):
            signature = Interpreter(str(path), num_threads=hardware.cores()).get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be loaded ({str(error).splitlines()[0]}). Run `make export` again.") from None
    return TfliteDetector(f"tflite {precision}", model.label_map, signature)
