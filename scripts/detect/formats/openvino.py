"""OpenVINO's form of the SavedModel: the same operations, non-maximum suppression too, in float32."""

from pathlib import Path

from scripts.support import openvino_model
from scripts.tfod.exported import ExportedModel


def write(model: ExportedModel, folder: Path) -> None:
    """Write `model.xml` and `model.bin` into `folder`."""
    openvino_model.write(model.saved_model, folder)
