"""Export a trained classifier as SavedModel and OpenVINO, compare the two, and measure the result."""

import dataclasses
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facemask.classifier import classifier_metrics
from facemask.classifier.backends import classifier_openvino, classifier_tensorflow
from facemask.classifier.classifier_metrics import ClassifierMetrics
from facemask.classifier.classifier_network import build_network
from facemask.classifier.classifier_training import NAME, Settings
from facemask.classifier.exported_classifier import ExportedClassifier
from facemask.classifier.face_classifier import BATCH
from facemask.classifier.labelled_faces import FaceSet
from facemask.core import openvino_model
from facemask.core.errors import UserError
from facemask.core.files import replacing_folder
from facemask.core.keras_saving import saving_without_layer_functions
from facemask.core.run_names import refuse_another_kind

FORMATS = ("saved_model", "openvino")

MAX_DIFFERENCE = 0.001
"""Largest allowed difference between the probabilities of the two formats. Both compute in float32; only the order of
additions differs."""

_COMPARED = 1000
"""Largest number of faces on which the two formats are compared: of val, or of train if val has none."""


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        classifier: The exported classifier.
        metrics: The metrics on val and test, as far as they have faces.
        difference: Largest difference between OpenVINO's probabilities and the SavedModel's; None without OpenVINO.
    """

    classifier: ExportedClassifier
    metrics: dict[str, ClassifierMetrics]
    difference: float | None


def wants_openvino(formats: str) -> bool:
    """Whether a list of formats such as `saved_model,openvino` names OpenVINO; "" names it if it is installed.

    Raises:
        UserError: The list names an unknown format, or OpenVINO while it is not installed.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if not formats:
        return installed
    wanted = formats.replace(" ", "").split(",")
    for name in wanted:
        if name not in (*FORMATS, ""):
            raise UserError(f"FORMATS={formats}: for a classifier {name} must be one of {', '.join(FORMATS)}.")
    if "openvino" in wanted and not installed:
        raise UserError(f"FORMATS={formats}: the package openvino is not installed.")
    return "openvino" in wanted


def export_classifier(
    run: Path,
    settings: Settings,
    margin: float,
    faces: FaceSet,
    target: Path,
    made: dict[str, Any],
    *,
    openvino: bool,
    alignments: dict[str, dict[str, Any]] | None = None,
) -> Exported:
    """Export the best epoch of a run, completely or not at all.

    Args:
        run: The run's folder.
        settings: The run's settings.
        margin: The margin around the boxes of its faces.
        faces: The faces on which the formats are compared and measured. They influence no choice.
        target: The folder of the export, `workspace/exported/<RUN>`.
        made: The provenance, from `provenance.made_by`.
        openvino: Whether to export for OpenVINO too.
        alignments: See `ExportedClassifier`.

    Raises:
        UserError: The run has no best epoch yet, or the two formats give different probabilities.
    """
    refuse_another_kind(target, NAME, "the classifier another name: RUN=")
    with replacing_folder(target) as beside:
        _write_saved_model(run, settings, faces, beside / "saved_model")
        described = ExportedClassifier(
            folder=beside,
            backbone=settings.backbone,
            label_map=faces.label_map,
            size=settings.size,
            margin=margin,
            run=target.name,
            metrics={},
            alignments=alignments or {},
            outputs=faces.outputs,
        )
        run_saved_model = classifier_tensorflow.load_tensorflow_classifier(described, "fp32")
        found = {
            split: _run_in_batches(run_saved_model, faces.splits[split].crops)
            for split in ("val", "test")
            if len(faces.splits[split])
        }
        measured = {
            split: classifier_metrics.measure_classifier(probabilities, faces.splits[split].labels, faces.label_map)
            for split, probabilities in found.items()
        }
        crops = faces.splits["val" if "val" in found else "train"].crops[:_COMPARED]
        difference = _write_openvino(described, run_saved_model, crops) if openvino else None
        metrics = {split: one.as_json() for split, one in measured.items()}
        described = dataclasses.replace(described, metrics=metrics)
        described.write(made)
    return Exported(dataclasses.replace(described, folder=target), measured, difference)


def _write_saved_model(run: Path, settings: Settings, faces: FaceSet, folder: Path) -> None:
    network = build_network(settings.backbone, settings.size, faces.outputs, alpha=settings.alpha)
    import tensorflow as tf

    best = tf.train.latest_checkpoint(str(run / "best"))
    if best is None:
        raise UserError(f"{run}: no epoch has ended yet, so there is nothing to export. Run `make classifier` again.")
    checkpoint = network.as_checkpoint()
    checkpoint.restore(best).assert_existing_objects_matched().expect_partial()

    module = tf.Module()
    module.network = checkpoint  # the saved module must reference the object that holds the variables
    shape = (None, settings.size, settings.size, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="crops")])
    def serve(crops: Any) -> dict[str, Any]:
        return {"probabilities": network.probabilities(tf.cast(crops, tf.float32), len(faces.label_map))}

    with saving_without_layer_functions():
        tf.saved_model.save(module, str(folder), signatures=serve)


def _run_in_batches(run: Callable[[np.ndarray], np.ndarray], crops: np.ndarray) -> np.ndarray:
    return np.concatenate([run(part) for part in np.split(crops, range(BATCH, len(crops), BATCH))])


def _write_openvino(
    classifier: ExportedClassifier, run_saved_model: Callable[[np.ndarray], np.ndarray], crops: np.ndarray
) -> float:
    """Convert the SavedModel to OpenVINO. Returns the largest difference between the two formats' probabilities."""
    openvino_model.write_openvino(classifier.saved_model, classifier.openvino)
    run = classifier_openvino.load_openvino_classifier(classifier, "fp32")
    difference = float(np.abs(_run_in_batches(run, crops) - _run_in_batches(run_saved_model, crops)).max())
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"{classifier.openvino}: OpenVINO's probabilities differ by up to {difference:.4f} from the SavedModel's, "
            "so nothing was exported. FORMATS=saved_model exports without OpenVINO."
        )
    return difference
