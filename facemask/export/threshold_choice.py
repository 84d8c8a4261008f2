"""Choose the thresholds that an exported model carries: for each class that with the highest F1 on val."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facemask.core import exported_model
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.files import write_json
from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.opened_detector import one_box_per_face, open_detector
from facemask.detect.score_thresholds import DEFAULT_THRESHOLD
from facemask.evaluation import coco, evaluated_pictures
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
    measured = measure_detector(open_detector(model.folder), evaluated_pictures.read_pictures(where, model.label_map))
    chosen = choose_thresholds(measured.truths, measured.detections, model.label_map)
    path = model.folder / exported_model.NAME
    described = json.loads(path.read_text(encoding="utf-8"))
    described["thresholds"] = chosen
    described["thresholds_from"] = {"split": "val", "images": len(measured.truths), "digest": where.digest}
    write_json(path, described)
    told = ", ".join(
        f"{name} {chosen[name]:g}" if name in chosen else f"{name} {DEFAULT_THRESHOLD} (too few faces of it)"
        for name in model.label_map.names
    )
    report(f"thresholds, with the highest F1 on the {len(measured.truths)} pictures of val: {told}")
    return dataclasses.replace(model, thresholds=chosen)
