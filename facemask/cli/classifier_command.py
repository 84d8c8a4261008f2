"""Train a face classifier, measure it and export it."""

import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facemask.classifier import MIN_FACE
from facemask.cli import options

if TYPE_CHECKING:
    import numpy as np

    from facemask.detect.faces.face_finder import FaceFinder


class Backbone(str, Enum):
    """The backbone of the classifier."""

    MOBILENET_V2 = "mobilenet_v2"
    RESNET50 = "resnet50"


class ClassWeights(str, Enum):
    """The weights in the loss: equal for each class, or equal for each face."""

    BALANCED = "balanced"
    NONE = "none"


class Align(str, Enum):
    """The face detector whose boxes are aligned with the labels."""

    YUNET = "yunet"
    RES10 = "res10"
    HAAR = "haar"
    NONE = "none"


class Augment(str, Enum):
    """The augmentation of the training faces."""

    LIGHT = "light"
    STRONG = "strong"
    NONE = "none"


EPOCHS = 4
"""Epochs with a frozen backbone. A head with random weights would otherwise spoil the backbone's."""
EPOCHS_FROM_SCRATCH = 40
"""Epochs with WEIGHTS=none."""
FOUND = 0.25
"""FOUND= where the pictures are known. Chosen on the folds of docs/results.md."""


def main(
    run: options.ResumedRun = "classifier",
    annotations: options.Annotations = options.ANNOTATIONS,
    dataset: Annotated[
        Path | None, typer.Option(help="Folder of face pictures, one sub-folder for each class; replaces the records.")
    ] = None,
    classes: options.Classes = options.CLASSES,
    split: options.Shares = options.SHARES,
    backbone: Annotated[Backbone, typer.Option(help="mobilenet_v2 or resnet50.")] = Backbone.MOBILENET_V2,
    weights: Annotated[
        str,
        typer.Option(
            help='"imagenet" (downloaded from Keras), "ready" (the classifier that comes with facemask), a file of '
            'Keras weights (.h5), or "none": random.'
        ),
    ] = "imagenet",
    size: Annotated[int, typer.Option(help="Side in pixels to which faces are resized.", min=32)] = 96,
    margin: Annotated[
        float, typer.Option(help="Margin around a box on each side, as a share of its longer side.", min=0, max=1)
    ] = 0.1,
    min_face: Annotated[
        float, typer.Option(help="Boxes with a shorter side of fewer pixels are left out.", min=1)
    ] = MIN_FACE,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs with a frozen backbone; with WEIGHTS=none all epochs. Default: 4; none: 40.", min=1),
    ] = None,
    fine_tune_epochs: Annotated[int, typer.Option(help="Epochs after that, with all layers trained.", min=0)] = 14,
    batch: Annotated[int, typer.Option(help="Faces in a step.", min=2)] = 32,
    learning_rate: Annotated[float, typer.Option(help="Learning rate while the backbone is frozen.", min=0)] = 0.001,
    fine_tune_rate: Annotated[float, typer.Option(help="Learning rate of the epochs after that.", min=0)] = 0.0005,
    dropout: Annotated[float, typer.Option(help="Share of the head's units dropped in a step.", min=0, max=0.95)] = 0.2,
    class_weights: Annotated[
        ClassWeights, typer.Option(help="balanced gives a rare class the same weight as a frequent one; none does not.")
    ] = ClassWeights.NONE,
    augment: Annotated[
        Augment,
        typer.Option(
            help="light flips, rotates, zooms, shifts and brightens; strong also changes contrast, saturation and "
            "resolution; none changes nothing."
        ),
    ] = Augment.STRONG,
    found: Annotated[
        float | None,
        typer.Option(
            help="Boxes that YuNet finds in train and that an epoch learns too, as a share of the labelled faces: so "
            "many with a labelled face, and so many without one. Default: 0.25; with DATASET 0.",
            min=0,
        ),
    ] = None,
    faces_model: Annotated[
        Path | None,
        typer.Option(
            help="The YuNet (.onnx) of FOUND and of the thresholds, such as one of make faces, or ready (that which "
            "comes with facemask). Default: the published."
        ),
    ] = None,
    average: Annotated[
        float, typer.Option(help="Decay of averaged weights a step; 0: the last step's weights.", min=0, max=0.9999)
    ] = 0.997,
    precision: options.TrainingPrecision = options.TRAINING_PRECISION,
    seed: options.Seed = options.SEED,
    fresh: options.Fresh = False,
    align: Annotated[
        Align, typer.Option(help="Face detector whose boxes are aligned with the labels (learned on train), or none.")
    ] = Align.YUNET,
    formats: Annotated[
        str, typer.Option(help="saved_model, openvino, or both; empty: saved_model, and openvino if it is installed.")
    ] = "",
    models: options.Models = options.MODELS,
    exported: options.Exported = options.EXPORTED,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Train a classifier in <models>/<run>/ and export it to <exported>/<run>/, with curves in <reports>/<run>/."""
    given = {name: value.value if isinstance(value, Enum) else value for name, value in locals().items()}
    from functools import partial

    import numpy as np

    from facemask.classifier import (
        classifier_curves,
        classifier_export,
        classifier_network,
        classifier_training,
        labelled_faces,
    )
    from facemask.core import charts
    from facemask.core.errors import UserError
    from facemask.core.files import holding_lock, write_bytes
    from facemask.core.label_map import read_classes
    from facemask.core.provenance import READY, made_by
    from facemask.core.run_names import refuse_another_kind, run_folder
    from facemask.data.splits import Proportions
    from facemask.evaluation import seen_pictures
    from facemask.export import threshold_choice
    from facemask.ready import shipped_detector

    if dataset is not None and (found or faces_model):
        raise UserError("FOUND= and FACES_MODEL= need whole pictures, and DATASET= has faces alone. Leave them out.")
    folder = run_folder(models, run)
    with_openvino = classifier_export.wants_openvino(formats)
    refuse_another_kind(exported / run, classifier_training.NAME, "the classifier another name: RUN=")
    file = classifier_network.find_weights(weights, backbone.value, size)
    share = 0.0 if dataset else FOUND if found is None else found
    finder = _load_yunet(faces_model) if share else None
    alignments = {} if dataset or align is Align.NONE else _learn_alignment(align.value, annotations)
    if dataset is None:
        published = None if faces_model else alignments.get("yunet")
        find = _find_boxes(finder, published) if finder else None
        faces = labelled_faces.faces_from_records(annotations, size, margin, min_face, find)
    else:
        faces = labelled_faces.faces_from_folder(dataset, read_classes(classes), Proportions.parse(split), size)
    print(faces, flush=True)
    if weights == READY and dataset is None:
        learned = shipped_detector.open_shipped().training_pictures
        seen_pictures.warn_of_start(f"WEIGHTS={weights}", annotations, learned)
    settings = classifier_training.Settings(
        backbone=backbone.value,
        weights=weights,
        size=size,
        epochs=epochs or (EPOCHS_FROM_SCRATCH if weights == "none" else EPOCHS),
        fine_tune_epochs=fine_tune_epochs,
        batch=batch,
        learning_rate=learning_rate,
        fine_tune_rate=fine_tune_rate,
        dropout=dropout,
        class_weights=class_weights.value,
        augment=augment.value,
        found=share,
        average=average,
        precision="bf16" if classifier_network.choose_bf16(precision.value, backbone.value) else "fp32",
        seed=seed,
    )
    with holding_lock(
        folder.with_name(f".{folder.name}.lock"), f"{folder}: another `make classifier` uses it. Wait until that ends."
    ):
        made = made_by("classifier", **given) | {"started_from": READY if weights == READY else None}
        classifier_training.prepare_classifier_run(folder, settings, faces, made, fresh=fresh)
        outcome = classifier_training.train_classifier(folder, settings, faces, file)
        panels = classifier_curves.history_panels(outcome.history, outcome.best)
        write_bytes(reports / run / "curves.png", charts.panels_png(panels))
        if outcome.signal is not None:
            print(f"{folder}: stopped; the same command continues")
            sys.exit(outcome.exit_code)
        if outcome.best is not None:
            how = "the last" if outcome.best.val_loss is None else "the best on val"
            print(f"exporting epoch {outcome.best.epoch}, {how}", flush=True)
        result = classifier_export.export_classifier(
            folder, settings, margin, faces, exported / run, made, openvino=with_openvino, alignments=alignments
        )
        if dataset is None:
            threshold_choice.write_two_stage_thresholds(
                exported / run, faces_model, annotations, partial(print, flush=True)
            )
    for part, figures in result.metrics.items():
        print(f"\n{part}\n{figures}")
        picture = charts.confusion_png(np.array(figures.confusion), faces.label_map.names, f"{run} on {part}")
        write_bytes(reports / run / f"confusion-{part}.png", picture)
    agreed = (
        "" if result.difference is None else f"; OpenVINO's probabilities differ by at most {result.difference:.1e}"
    )
    print(f"\n{result.classifier.folder}: written{agreed}. Curves and confusions: {reports / run}")


def _load_yunet(file: Path | None) -> "FaceFinder":
    """The YuNet of a file, or the published one."""
    from facemask.detect.faces import face_finder

    return face_finder.load_face_finder("yunet", face_finder.face_finder_files("yunet", file))


def _find_boxes(finder: "FaceFinder", alignment: dict[str, Any] | None) -> "Callable[[np.ndarray], np.ndarray]":
    """Wrap a face detector as `labelled_faces.FindBoxes`, and align its boxes if an alignment is given."""
    from facemask.detect.faces import box_alignment

    if alignment is not None:
        finder = box_alignment.AlignedFaces(finder, box_alignment.BoxAlignment(**alignment))
    return lambda image: finder.find([image])[0].xyxy


def _learn_alignment(name: str, annotations: Path) -> dict[str, dict[str, Any]]:
    """A face detector's alignment, by its name. If it cannot be learned, print the reason and return nothing."""
    from facemask.core.errors import UserError
    from facemask.detect.faces import box_alignment, face_finder

    try:
        finder = face_finder.load_face_finder(name, face_finder.face_finder_files(name, None))
    except UserError as error:
        print(f"the boxes of {name} are not aligned to the labels: {error}")
        return {}
    alignment = box_alignment.learn_alignment_from_records(finder, annotations)
    if alignment is None:
        print(f"the boxes of {name} are not aligned to the labels: it finds too few of the faces in train")
        return {}
    print(f"the boxes of {name} are aligned to the labels by {alignment.faces} faces of train: {alignment}", flush=True)
    return {name: alignment.as_json()}
