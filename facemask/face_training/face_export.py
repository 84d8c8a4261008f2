"""The folder of an exported face detector, which `make faces` writes: YuNet's file with other weights.

workspace/exported/<RUN>/
    yunet.onnx    the network, for FACES_MODEL= and for OpenCV's FaceDetectorYN
    faces.json    its metrics on val and test, before and after, and its provenance
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from facemask.core.files import replacing_folder, write_json
from facemask.core.label_map import LabelMap
from facemask.core.run_names import refuse_another_kind
from facemask.data import ground_truth, manifest
from facemask.detect.faces.face_finder import FaceFinder
from facemask.detect.faces.yunet import TRAINED, load_yunet
from facemask.evaluation.coco import evaluate_detections
from facemask.face_training import yunet_network

FORMAT = 1
NAME = "faces.json"


@dataclasses.dataclass(frozen=True)
class FaceMetrics:
    """How well a face detector finds the labelled faces of a split, whatever their class, as COCO measures it.

    Attributes:
        images: Pictures measured.
        faces: Labelled faces.
        ap50: AP at IoU 0.5, from 0 to 1.
        ap: Mean AP over IoU 0.50, 0.55, ... 0.95.
        recall50: Recall at IoU 0.5.
    """

    images: int
    faces: int
    ap50: float
    ap: float
    recall50: float

    def __str__(self) -> str:
        return f"AP@0.5 {self.ap50:.3f}, AP@[.5:.95] {self.ap:.3f}, recall@0.5 {self.recall50:.3f}"


def measure_faces(finder: FaceFinder, annotations: Path, split: str) -> FaceMetrics | None:
    """Measure a face detector on a split of the records; None if the split has no face.

    Raises:
        UserError: The records are missing or damaged.
    """
    truths, found = [], []
    for image, truth in ground_truth.read_records(annotations, split):
        truths.append(dataclasses.replace(truth, class_ids=np.ones(len(truth.boxes), dtype=np.int64)))
        [faces] = finder.find([image])
        faces.class_id = np.ones(len(faces), int)
        found.append(faces)
    if not truths:
        return None
    metrics = evaluate_detections(truths, found, LabelMap(("face",)))
    if metrics.map50 is None or metrics.map is None or metrics.recall50 is None:
        return None
    return FaceMetrics(metrics.images, metrics.boxes, metrics.map50, metrics.map, metrics.recall50)


def export_faces(
    start: Path, weights: Mapping[str, np.ndarray], size: int, annotations: Path, target: Path, made: dict[str, Any]
) -> dict[str, dict[str, FaceMetrics]]:
    """Write the network with its trained weights, and measure it and the first one.

    Args:
        start: The file of the first weights (.onnx).
        weights: The trained weights; see `yunet_network.read_weights`.
        size: The longer side in pixels to which pictures are scaled for the measurements.
        annotations: The folder of the records.
        target: The folder to write.
        made: The provenance, from `provenance.made_by`.

    Returns:
        For val and test, as far as they have faces, the metrics "before" and "after".

    Raises:
        UserError: There is another export, or the records are damaged.
    """
    refuse_another_kind(target, NAME, "the face detector another name: RUN=")
    with replacing_folder(target) as beside:
        yunet_network.write_weights(beside / TRAINED, yunet_network.read_onnx(start), weights)
        finders = {"before": load_yunet([start], size), "after": load_yunet([beside / TRAINED], size)}
        measured: dict[str, dict[str, FaceMetrics]] = {}
        for split in ("val", "test"):
            if not manifest.read_manifest(annotations).splits[split].files:
                continue
            for when, finder in finders.items():
                if (metrics := measure_faces(finder, annotations, split)) is not None:
                    measured.setdefault(split, {})[when] = metrics
        values = {
            split: {when: dataclasses.asdict(one) for when, one in both.items()} for split, both in measured.items()
        }
        write_json(beside / NAME, {"format": FORMAT, "size": size, "metrics": values, "made": made})
    return measured
