"""Choose the thresholds that an export carries: for each class that with the highest F1 on val."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facemask.classifier import exported_classifier
from facemask.core import exported_model
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.files import write_json
from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.detector_choice import DetectorChoice, choose_detector
from facemask.detect.opened_detector import OpenedDetector, one_box_per_face, open_detector
from facemask.detect.score_thresholds import DEFAULT_THRESHOLD
from facemask.evaluation import coco, evaluated_pictures
from facemask.evaluation.evaluated_pictures import PictureSource
from facemask.evaluation.measurement import measure_detector
from facemask.evaluation.thresholds import best_operating_point

if TYPE_CHECKING:
    import supervision as sv

MIN_FACES = 10
"""Least number of labelled faces of a class from which its threshold is learned: fewer give a threshold by chance."""


def choose_thresholds(
    truths: Sequence[GroundTruth], detections: "Sequence[sv.Detections]", label_map: LabelMap
) -> dict[str, float]:
    """The threshold with the highest F1 of each class, where a face has one box, as pictures and videos report it.

    Args:
        truths: The ground truth of each picture.
        detections: All detections of each picture, in the same order.
        label_map: The classes.

    Returns:
        The thresholds by class. A class with fewer than `MIN_FACES` faces, or that was never found, is left out.
    """
    reduced = [one_box_per_face(found) for found in detections]
    chosen = {}
    for matches in coco.match_detections(truths, reduced, label_map, coco.MAX_DETECTIONS):
        best = best_operating_point(matches)
        if best is not None and int(matches.truths.sum()) >= MIN_FACES:
            chosen[matches.name] = best.threshold
    return chosen


def write_thresholds(
    model: ExportedModel, annotations: Path, records_digest: str, report: Callable[[str], None]
) -> ExportedModel:
    """Choose the thresholds of an exported model on the val split, and add them to its `model.json`.

    Args:
        model: The exported model.
        annotations: The folder of the records.
        records_digest: The digest of the records that the model was trained on. On others, a picture of val may be one
            that it has learned.
        report: Called with each line for the user.

    Returns:
        The model with its thresholds; without, if there is no val split of these records.
    """
    try:
        where = evaluated_pictures.records_source(annotations, "val", model.label_map)
    except UserError as error:
        report(f"thresholds: {DEFAULT_THRESHOLD} for each class, because there is no val to choose them on. {error}")
        return model
    if where.digest != records_digest:
        report(f"thresholds: {DEFAULT_THRESHOLD} for each class: {annotations} has other records than the run's")
        return model
    chosen, chosen_from = _choose_on(where, open_detector(model.folder), report)
    _add_to_json(model.folder / exported_model.NAME, thresholds=chosen, thresholds_from=chosen_from)
    return dataclasses.replace(model, thresholds=chosen)


def write_two_stage_thresholds(
    folder: Path, faces_model: Path | None, annotations: Path, report: Callable[[str], None]
) -> None:
    """Choose the thresholds of YuNet with an exported classifier on the val split, and add them to `classifier.json`.

    Without a val split, or without a YuNet that can be loaded, there are none, which a line for the user says.

    Args:
        folder: The exported classifier's folder.
        faces_model: The file of YuNet's network; None for the published one.
        annotations: The folder of the records on which the classifier was trained.
        report: Called with each line for the user.

    Raises:
        UserError: The records are damaged.
    """
    choice = DetectorChoice(folder.parent, detector="two_stage", classifier=folder.name, faces_model=faces_model)
    try:
        pair = choose_detector(choice, report=lambda line: None)  # it would say that there are no thresholds yet
        where = evaluated_pictures.records_source(annotations, "val", pair.label_map)
        opened = pair.open()
    except UserError as error:
        report(f"thresholds with YuNet: none, so {DEFAULT_THRESHOLD} for each class. {error}")
        return
    scores, chosen_from = _choose_on(where, opened, report)
    [size], [digest] = pair.model["faces"]["sizes"], pair.model["faces"]["files"].values()
    found = {"sha256": digest, "size": size, "scores": scores, "from": chosen_from}
    _add_to_json(folder / exported_classifier.NAME, thresholds={choice.faces: found})


def _choose_on(
    where: PictureSource, detector: OpenedDetector, report: Callable[[str], None]
) -> tuple[dict[str, float], dict[str, Any]]:
    """The thresholds by class, and the description of the pictures as JSON values."""
    label_map = detector.label_map
    measured = measure_detector(detector, evaluated_pictures.read_pictures(where, label_map))
    chosen = choose_thresholds(measured.truths, measured.detections, label_map)
    told = ", ".join(
        f"{name} {chosen[name]:g}" if name in chosen else f"{name} {DEFAULT_THRESHOLD} (too few faces of it)"
        for name in label_map.names
    )
    report(f"thresholds, with the highest F1 on the {len(measured.truths)} pictures of val: {told}")
    return chosen, {"split": "val", "images": len(measured.truths), "digest": where.digest}


def _add_to_json(path: Path, **values: Any) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | values)
