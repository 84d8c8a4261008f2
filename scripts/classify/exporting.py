"""A trained run -> an exported classifier: SavedModel and OpenVINO, checked against each other, measured, described."""

import dataclasses
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.classify import figures
from scripts.classify.classifier import BATCH
from scripts.classify.exported import ExportedClassifier
from scripts.classify.faceset import Faces, FaceSet
from scripts.classify.figures import Figures
from scripts.classify.network import build
from scripts.classify.runtimes import openvino, tensorflow
from scripts.classify.training import Settings
from scripts.support import openvino_model
from scripts.support.errors import UserError
from scripts.support.files import replacing_folder

FORMATS = ("saved_model", "openvino")

FARTHEST = 0.001
"""Probabilities of the two forms, both in float32, may be so far apart: they differ by the order of additions alone."""


@dataclass(frozen=True)
class Exported:
    """What was exported, its figures on each split that has faces, and how far OpenVINO's probabilities are off."""

    classifier: ExportedClassifier
    figures: dict[str, Figures]
    apart: float | None


def choose(formats: str) -> bool:
    """Whether OpenVINO is among the formats in a list such as `saved_model,openvino`; "" means where it is installed.

    Raises:
        UserError: An unknown format, or OpenVINO is asked for and not installed.
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


def refuse_a_detector(target: Path) -> None:
    """Raise a UserError where an exported detector would be overwritten."""
    if (target / "model.json").exists():
        raise UserError(f"{target}: an exported detector is there. Give the classifier another name: RUN=<name>.")


def export(
    run: Path, settings: Settings, margin: float, faces: FaceSet, target: Path, made: dict[str, Any], *, openvino: bool
) -> Exported:
    """Export the best epoch of a run, whole or not at all.

    Args:
        run: The run's folder.
        settings: The run's settings.
        margin: The margin that its faces were cut with.
        faces: To compare the forms and to measure on; nothing is chosen by them.
        target: Where to, `workspace/exported/<RUN>`.
        made: What `provenance.made_by` says of it.
        openvino: Export for OpenVINO too.

    Raises:
        UserError: The run has no best epoch yet, or the two forms do not agree.
    """
    refuse_a_detector(target)
    with replacing_folder(target) as beside:
        _write_saved_model(run, settings, len(faces.label_map), beside / "saved_model")
        described = ExportedClassifier(
            beside, settings.backbone, faces.label_map, settings.size, margin, target.name, metrics={}
        )
        found = {
            split: _probabilities(described, faces.splits[split])
            for split in ("val", "test")
            if len(faces.splits[split])
        }
        measured = {
            split: figures.measure(probabilities, faces.splits[split].labels, faces.label_map)
            for split, probabilities in found.items()
        }
        apart = _write_openvino(described, faces.splits["val"], found["val"]) if openvino else None
        metrics = {split: one.as_json() for split, one in measured.items()}
        described = dataclasses.replace(described, metrics=metrics)
        described.write(made)
    return Exported(dataclasses.replace(described, folder=target), measured, apart)


def _write_saved_model(run: Path, settings: Settings, classes: int, folder: Path) -> None:
    network = build(settings.backbone, settings.size, classes, alpha=settings.alpha)
    import tensorflow as tf

    best = tf.train.latest_checkpoint(str(run / "best"))
    if best is None:
        raise UserError(f"{run}: no epoch is through yet, so there is nothing to export. Run `make classifier` again.")
    checkpoint = network.as_checkpoint()
    checkpoint.restore(best).assert_existing_objects_matched().expect_partial()

    module = tf.Module()
    module.network = checkpoint  # what holds the variables has to be reachable from what is saved
    shape = (None, settings.size, settings.size, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="crops")])
    def serve(crops: Any) -> dict[str, Any]:
        return {"probabilities": tf.nn.softmax(network.logits(tf.cast(crops, tf.float32)))}

    tf.saved_model.save(module, str(folder), signatures=serve)


def _probabilities(classifier: ExportedClassifier, faces: Faces) -> np.ndarray:
    run = tensorflow.load(classifier, "fp32")
    return np.concatenate([run(part) for part in np.split(faces.crops, range(BATCH, len(faces), BATCH))])


def _write_openvino(classifier: ExportedClassifier, faces: Faces, expected: np.ndarray) -> float:
    """Convert the SavedModel; give how far the probabilities on these faces are apart at most."""
    openvino_model.write(classifier.saved_model, classifier.openvino)
    run = openvino.load(classifier, "fp32")
    parts = np.split(faces.crops, range(BATCH, len(faces), BATCH))
    apart = float(np.abs(np.concatenate([run(part) for part in parts]) - expected).max())
    if not apart <= FARTHEST:
        raise UserError(
            f"{classifier.openvino}: OpenVINO gives probabilities up to {apart:.4f} off, so nothing is "
            "kept. FORMATS=saved_model exports without it."
        )
    return apart
