"""An exported classifier's folder: what `make classifier` writes and `open_classifier` reads. Imports no TensorFlow.

workspace/exported/<RUN>/
    saved_model/      TensorFlow's SavedModel: "crops", uint8 (n, size, size, 3) RGB -> "probabilities", float32 (n, K)
    openvino/         the same for OpenVINO
    label_map.pbtxt   its classes
    classifier.json   what it is, how good it is and what made it (`ExportedClassifier`)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.dataset.label_map import LabelMap
from scripts.support import written
from scripts.support.files import write_json

FORMAT = 1
NAME = "classifier.json"


@dataclass(frozen=True)
class ExportedClassifier:
    """What `classifier.json` says.

    Attributes:
        folder: The exported classifier's folder.
        backbone: The network under the classes, `mobilenet_v2` or `resnet50`.
        label_map: The classes, in the order of the probabilities.
        size: Side in pixels to which crops are brought.
        margin: What was added around the boxes that it learned from, as `crops.cut` takes it.
        run: The training run it comes from.
        metrics: For each split that had faces ("val", "test") its figures, as `figures.as_json` gives them.
    """

    folder: Path
    backbone: str
    label_map: LabelMap
    size: int
    margin: float
    run: str
    metrics: dict[str, Any]

    @property
    def saved_model(self) -> Path:
        """The folder of the SavedModel."""
        return self.folder / "saved_model"

    @property
    def openvino(self) -> Path:
        """The folder of the OpenVINO form, where it was exported."""
        return self.folder / "openvino"

    def write(self, made: dict[str, Any]) -> None:
        """Write `classifier.json` and the label map; `made` is what `provenance.made_by` says of it."""
        (self.folder / "label_map.pbtxt").write_text(self.label_map.to_pbtxt(), encoding="utf-8")
        value = {
            "format": FORMAT,
            "backbone": self.backbone,
            "classes": list(self.label_map.names),
            "size": self.size,
            "margin": self.margin,
            "run": self.run,
            "metrics": self.metrics,
            "made": made,
        }
        write_json(self.folder / NAME, value)


def read(folder: Path) -> ExportedClassifier:
    """Read an exported classifier's `classifier.json`.

    Raises:
        UserError: There is no classifier in `folder`, or `classifier.json` is not what `make classifier` writes.
    """
    path = folder / NAME
    make = f"`make classifier RUN={folder.name}`"
    absent = f"{folder}: no exported classifier. {make} makes one."
    with written.reading(path, FORMAT, step="classifier", absent=absent, again=f"Run {make} again.") as value:
        return ExportedClassifier(
            folder=folder,
            backbone=str(value["backbone"]),
            label_map=LabelMap(tuple(str(name) for name in value["classes"])),
            size=int(value["size"]),
            margin=float(value["margin"]),
            run=str(value["run"]),
            metrics=dict(value["metrics"]),
        )
