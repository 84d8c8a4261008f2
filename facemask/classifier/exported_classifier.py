"""The folder of an exported classifier, which `make classifier` writes and `open_classifier` reads. No TensorFlow here.

workspace/exported/<RUN>/
    saved_model/      TensorFlow's SavedModel: "crops", uint8 (n, size, size, 3) RGB -> "probabilities", float32 (n, K)
    openvino/         the same network in OpenVINO's format
    label_map.pbtxt   its classes
    classifier.json   its description, metrics and provenance (`ExportedClassifier`)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facemask.core import json_files
from facemask.core.files import write_json
from facemask.core.label_map import LabelMap

FORMAT = 1
NAME = "classifier.json"


@dataclass(frozen=True)
class FaceThresholds:
    """The thresholds of two stages: a face detector, and this classifier.

    Attributes:
        sha256: The digest of the face detector's network.
        scores: The score of each class from which a box counts, by class. A class without one is not in the mapping.
    """

    sha256: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ExportedClassifier:
    """The contents of `classifier.json`.

    Attributes:
        folder: The exported classifier's folder.
        backbone: The backbone's name, `mobilenet_v2` or `resnet50`.
        label_map: The classes, in the order of the probabilities.
        size: Side in pixels to which crops are resized.
        margin: The margin around the boxes of its training faces, for `face_crops.cut_faces`.
        run: The training run it comes from.
        metrics: The metrics on "val" and "test" as far as they have faces, from `ClassifierMetrics.as_json`.
        alignments: The `BoxAlignment` of each face detector as JSON values, by the detector's name. Empty if none was
            learned.
        outputs: The network's outputs: the classes and, where it was trained on found boxes, one for boxes without a
            labelled face, which is not among the probabilities. 0: the classes alone.
        thresholds: Those with each face detector, by its name. `make classifier` chooses them on val after the export.
    """

    folder: Path
    backbone: str
    label_map: LabelMap
    size: int
    margin: float
    run: str
    metrics: dict[str, Any]
    alignments: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: int = 0
    thresholds: Mapping[str, FaceThresholds] = field(default_factory=dict)

    @property
    def saved_model(self) -> Path:
        """The folder of the SavedModel."""
        return self.folder / "saved_model"

    @property
    def openvino(self) -> Path:
        """The folder of the OpenVINO format; it exists only if that format was exported."""
        return self.folder / "openvino"

    def write(self, made: dict[str, Any]) -> None:
        """Write `classifier.json`, without thresholds, and the label map; `made` is from `provenance.made_by`."""
        (self.folder / "label_map.pbtxt").write_text(self.label_map.to_pbtxt(), encoding="utf-8")
        value = {
            "format": FORMAT,
            "backbone": self.backbone,
            "classes": list(self.label_map.names),
            "size": self.size,
            "margin": self.margin,
            "run": self.run,
            "metrics": self.metrics,
            "alignments": self.alignments,
            "outputs": self.outputs or len(self.label_map),
            "made": made,
        }
        write_json(self.folder / NAME, value)


def read_exported_classifier(folder: Path) -> ExportedClassifier:
    """Read an exported classifier's `classifier.json`.

    Raises:
        UserError: There is no classifier in `folder`, or `classifier.json` is not what `make classifier` writes.
    """
    path = folder / NAME
    make = f"`make classifier RUN={folder.name}`"
    absent = f"{folder}: no exported classifier. {make} trains and exports one."
    with json_files.reading_json(path, FORMAT, step="classifier", absent=absent, again=f"Run {make} again.") as value:
        return ExportedClassifier(
            folder=folder,
            backbone=str(value["backbone"]),
            label_map=LabelMap(tuple(str(name) for name in value["classes"])),
            size=int(value["size"]),
            margin=float(value["margin"]),
            run=str(value["run"]),
            metrics=dict(value["metrics"]),
            alignments={name: dict(one) for name, one in value.get("alignments", {}).items()},
            outputs=int(value.get("outputs", len(value["classes"]))),
            thresholds={
                str(name): FaceThresholds(
                    str(one["sha256"]), {str(label): float(score) for label, score in one["scores"].items()}
                )
                for name, one in value.get("thresholds", {}).items()
            },
        )
