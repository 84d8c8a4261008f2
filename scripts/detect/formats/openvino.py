"""OpenVINO's form of the SavedModel: the same operations, non-maximum suppression too, in float32."""

from pathlib import Path

from scripts.support import telemetry
from scripts.tfod.exported import ExportedModel


def write(model: ExportedModel, folder: Path) -> None:
    """Write `model.xml` and `model.bin` into `folder`."""
    telemetry.refuse()
    import openvino as ov

    converted = ov.convert_model(str(model.saved_model))
    # It would store float32 weights as float16.
    ov.save_model(converted, folder / "model.xml", compress_to_fp16=False)
