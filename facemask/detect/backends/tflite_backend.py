"""TensorFlow Lite: builtin operations alone, non-maximum suppression too, in float32; run by LiteRT.

Input `input_tensor`: uint8 of shape (1, height, width, 3), a picture of any size, for which the interpreter is resized.
Outputs `detection_boxes`, `detection_scores`, `detection_classes` and `num_detections`, as the SavedModel's. Running it
needs no TensorFlow, writing it does.

It is made from the checkpoint, since the SavedModel prepares its pictures in a loop over the batch with operations that
TensorFlow Lite does not have. The API's own converter, `export_tflite_graph_tf2`, replaces non-maximum suppression by
another operation, which finds other boxes; this module keeps the model's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import supervision as sv

from facemask.core import litert_model
from facemask.core.exported_model import ExportedModel
from facemask.core.label_map import LabelMap
from facemask.detect.model_outputs import NAMES, detections_from_outputs

FILE = "model.tflite"


@dataclass(frozen=True)
class TfliteDetector:
    """A `RawDetector` that runs a model converted to TensorFlow Lite, one picture at a time: it is made for no more.

    If a picture has another size than the one before, the interpreter plans its memory again, which takes time.
    """

    name: str
    label_map: LabelMap
    run: Callable[..., Mapping[str, np.ndarray]]

    def detect_all(self, images: Sequence[np.ndarray]) -> list[sv.Detections]:
        """See `RawDetector.detect_all`."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: np.ndarray) -> sv.Detections:
        outputs = self.run(input_tensor=np.ascontiguousarray(image[np.newaxis]))
        return detections_from_outputs(outputs, image, self.label_map)


def load_tflite_detector(model: ExportedModel, precision: str, folder: Path | None = None) -> TfliteDetector:
    """Load the TensorFlow Lite form of an exported model.

    Args:
        model: The exported model.
        precision: `fp32`.
        folder: Where `FILE` is, if it is not in the exported model's folder.

    Raises:
        UserError: LiteRT is not installed, or the model was not exported for it.
    """
    path = (folder or model.folder / "tflite") / FILE
    run = litert_model.load_litert(path, f"`make export RUN={model.folder.name} FORMATS=tflite` writes it.")
    return TfliteDetector(f"tflite {precision}", model.label_map, run)


def export_tflite(model: ExportedModel, folder: Path) -> None:
    """Convert an exported model's checkpoint: write `FILE` into `folder`."""
    from facemask.tfod import saved_model_export

    detect, owner = saved_model_export.detection_function(model, NAMES)

    with saved_model_export.without_warnings():
        content = litert_model.convert_function(detect, owner)
    (folder / FILE).write_bytes(content)
