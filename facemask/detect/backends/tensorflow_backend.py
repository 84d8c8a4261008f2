"""TensorFlow: the SavedModel as the API's exporter writes it (`facemask.tfod.saved_model_export`)."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.core.exported_model import ExportedModel
from facemask.core.label_map import LabelMap
from facemask.detect.model_outputs import detections_from_outputs


@dataclass(frozen=True)
class TensorFlowDetector:
    """A `RawDetector` that runs a SavedModel of the API, one picture at a time: its signature takes no more."""

    name: str
    label_map: LabelMap
    saved_model: Any
    in_bf16: bool

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: np.ndarray) -> sv.Detections:
        import tensorflow as tf

        with _rewriting_to_bf16(self.in_bf16):
            outputs = self.saved_model.signatures["serving_default"](input_tensor=tf.constant(image[np.newaxis]))
        return detections_from_outputs(outputs, image, self.label_map)


def load_tensorflow_detector(model: ExportedModel, precision: str, folder: Path | None = None) -> TensorFlowDetector:
    """Load the SavedModel of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`, or `bf16` by the rewrite of TensorFlow's graph for oneDNN.
        folder: Where the SavedModel is, if it is not in the exported model's folder.

    Raises:
        UserError: The SavedModel does not exist or cannot be loaded.
    """
    from facemask.tfod import saved_model

    loaded = saved_model.load_saved_model(folder or model.saved_model, "Run `make export` again.")
    return TensorFlowDetector(f"tensorflow {precision}", model.label_map, loaded, precision == "bf16")


@contextlib.contextmanager
def _rewriting_to_bf16(wanted: bool) -> Iterator[None]:
    """Compute graphs that run in this block in bfloat16 or not. The setting affects the whole process."""
    import tensorflow as tf

    option = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: wanted})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})
