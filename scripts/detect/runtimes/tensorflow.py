"""The SavedModel, run by TensorFlow as it comes."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import supervision as sv

from scripts.dataset.label_map import LabelMap
from scripts.detect.outputs import from_first
from scripts.tfod import saved_model
from scripts.tfod.exported import ExportedModel


@dataclass(frozen=True)
class TensorFlowDetector:
    """A `Detector` that runs a SavedModel of the API, one picture at a time: its signature takes no more."""

    name: str
    label_map: LabelMap
    saved_model: Any
    in_bf16: bool

    def detect(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> sv.Detections:
        import tensorflow as tf

        with _rewriting_to_bf16(self.in_bf16):
            outputs = self.saved_model.signatures["serving_default"](input_tensor=tf.constant(image[np.newaxis]))
        return from_first(outputs, image, self.label_map)


def load(model: ExportedModel, precision: str) -> TensorFlowDetector:
    """Load the SavedModel of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`, or `bf16` by the rewrite of TensorFlow's graph for oneDNN.

    Raises:
        UserError: There is none, or it cannot be loaded.
    """
    loaded = saved_model.load(model.saved_model, "Run `make export` again.")
    return TensorFlowDetector(f"tensorflow {precision}", model.label_map, loaded, precision == "bf16")


@contextlib.contextmanager
def _rewriting_to_bf16(wanted: bool) -> Iterator[None]:
    """Have graphs that are run in this block computed in bfloat16, or not. The setting is the whole process's."""
    import tensorflow as tf

    option = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: wanted})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})
