"""Convert a TensorFlow function to a TensorFlow Lite file, and load such files into LiteRT."""

import contextlib
import io
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core import hardware, native_output
from facemask.core.errors import UserError

FORMS = ("int8", "dynamic", "fp32")
"""Forms of a network, from the smallest numbers on: weights and activations in 8 bits; weights in 8 bits, with which
float activations are multiplied; all in float32."""

_LOGGED = re.compile(rb"^INFO: |^fully_quantize: |Skipping runtime version metadata")
"""LiteRT logs that it uses the delegate XNNPACK, and the converter its settings and what it leaves out."""


def convert_function(
    function: Any, owner: Any, form: str = "fp32", samples: Callable[[], Iterable[np.ndarray]] = tuple
) -> bytes:
    """The content of a TensorFlow Lite file, with builtin operations alone.

    Args:
        function: A concrete function of TensorFlow.
        owner: The object that holds its variables.
        form: One of `FORMS`.
        samples: Gives inputs of the function, which has one, from which int8 takes the ranges of the activations.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], owner)
    # The small interpreters do not support the other set, SELECT_TF_OPS.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if form != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "int8":
        converter.representative_dataset = lambda: ([sample] for sample in samples())
    with contextlib.redirect_stderr(io.StringIO()), native_output.without_lines(_LOGGED):
        content: bytes = converter.convert()
    return content


def load_litert(path: Path, again: str) -> Callable[..., dict[str, np.ndarray]]:
    """Load a TensorFlow Lite file.

    Args:
        path: The file.
        again: What the user can do if the file is missing or damaged; a sentence.

    Returns:
        A function from the inputs, by name, to the outputs, by name. Threads may call it at the same time; they take
        turns, since an interpreter has one memory. If an input has another shape than in the call before, the
        interpreter plans that memory again, which takes time.

    Raises:
        UserError: LiteRT is not installed, or the file is missing or damaged.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(
            f"LiteRT cannot be loaded ({error}). Install ai-edge-litert, or choose another RUNTIME."
        ) from None
    if not path.is_file():
        raise UserError(f"{path}: no such file. {again}")
    try:
        with native_output.without_lines(_LOGGED):
            interpreter = Interpreter(str(path), num_threads=hardware.usable_cores())
            interpreter.allocate_tensors()  # so that it logs here and not at the first picture
            signature = interpreter.get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be loaded ({str(error).splitlines()[0]}). {again}") from None
    turn = threading.Lock()

    def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        with turn:
            outputs: dict[str, np.ndarray] = signature(**inputs)
        return outputs

    return run
