"""Compute all metrics of one detector on one set of images, and write and read the folder that holds them.

    workspace/reports/<RUN>/
        metrics.json        the metrics; `write_evaluation` lists its keys
        ground_truth.json   the ground truth as a COCO data set
        predictions.json    all detections in COCO's result format

pycocotools, FiftyOne and supervision can read the last two files and compute the same COCO metrics from them.

An evaluation keeps all detections, and a face may have one of each class, because COCO's protocol ranks each class
separately. Pictures, pages and videos show one box per face, as `one_box` in metrics.json is measured.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facemask.core import json_files
from facemask.core.errors import UserError
from facemask.core.files import replacing_file, sha256, write_json
from facemask.core.label_map import LabelMap
from facemask.data import voc
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.opened_detector import one_box_per_face
from facemask.detect.score_thresholds import DEFAULT_THRESHOLD, METRICS
from facemask.evaluation import bootstrap, coco, confusion, mistakes, seen_pictures, thresholds
from facemask.evaluation.calibration import Calibration, measure_calibration
from facemask.evaluation.measurement import MeasuredDetections
from facemask.evaluation.mistakes import Mistake
from facemask.evaluation.thresholds import OperatingPoint

if TYPE_CHECKING:
    import supervision as sv

FORMAT = 1
FEW_FACES = 30
"""A class with fewer faces gets a caveat, because one face then changes its recall by more than 3 points."""

_NAMED = 5
"""The most files that a caveat names."""

CLASSIFIER_REPORT = "classifier.json"
"""The file in the report of a cross-validation of the classifier alone."""
TRUTH_FILE, PREDICTIONS_FILE = "ground_truth.json", "predictions.json"


@dataclass(frozen=True)
class EvaluationResult:
    """The metrics computed from ground truth and detections.

    Attributes:
        coco_metrics: COCO's metrics.
        matches: The matches that they count, one for each class.
        operating: Precision, recall and F1 of each class at its chosen threshold.
        best: The same at the threshold with the highest F1; None for a class without a right detection.
        one_box: As `operating`, but with one box per face, as pictures, pages and videos show them.
        confusion: (K + 1, K + 1) int, from `confusion.confusion_matrix` at the chosen thresholds.
        calibration: How well scores and precision agree.
        mistakes: All mistakes at the chosen thresholds, by kind, the worst of each first.
    """

    coco_metrics: coco.CocoMetrics
    matches: tuple[coco.Matches, ...]
    operating: tuple[OperatingPoint, ...]
    best: tuple[OperatingPoint | None, ...]
    one_box: tuple[OperatingPoint, ...]
    confusion: np.ndarray
    calibration: Calibration
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class SavedEvaluation:
    """An evaluation read from its folder. `metrics` is the content of metrics.json; see `write_evaluation`."""

    folder: Path
    metrics: dict[str, Any]
    truths: tuple[GroundTruth, ...]
    detections: "tuple[sv.Detections, ...]"
    label_map: LabelMap

    def match(self) -> "MatchedEvaluation":
        """Match the detections again, by pycocotools."""
        most = self.metrics["figures"]["max_detections"]
        matches = coco.match_detections(self.truths, self.detections, self.label_map, most)
        return MatchedEvaluation(self.folder, self.metrics, self.truths, self.label_map, matches)


@dataclass(frozen=True)
class MatchedEvaluation:
    """A `SavedEvaluation` with the matches of each class, and without its detections, which take more memory."""

    folder: Path
    metrics: dict[str, Any]
    truths: tuple[GroundTruth, ...]
    label_map: LabelMap
    matches: tuple[coco.Matches, ...]


def compute_metrics(
    truths: Sequence[GroundTruth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    min_scores: Sequence[float] | None,
    max_detections: int = coco.MAX_DETECTIONS,
) -> EvaluationResult:
    """Compute all metrics of an evaluation.

    Args:
        truths: The ground truth of each image.
        detections: The detections of each image, in the same order, unfiltered.
        label_map: The classes of both.
        min_scores: The score threshold of each class; None takes the one with the highest F1.
        max_detections: Detections that count per class and image in COCO's metrics.
    """
    run = coco.run_cocoeval(truths, detections, label_map, max_detections)
    matches = run.matches
    best = tuple(thresholds.best_operating_point(one) for one in matches)
    if min_scores is None:
        min_scores = [DEFAULT_THRESHOLD if one is None else one.threshold for one in best]
    pairings = [
        confusion.pair_detections(truth, found, min_scores) for truth, found in zip(truths, detections, strict=True)
    ]
    return EvaluationResult(
        coco_metrics=coco.metrics_from_cocoeval(run, label_map),
        matches=matches,
        operating=tuple(
            thresholds.operating_point_at(one, threshold) for one, threshold in zip(matches, min_scores, strict=True)
        ),
        best=best,
        one_box=_one_box_points(truths, detections, label_map, min_scores),
        confusion=confusion.confusion_matrix(truths, detections, pairings, len(label_map)),
        calibration=measure_calibration(matches),
        mistakes=mistakes.find_mistakes(truths, detections, pairings),
    )


def _one_box_points(
    truths: Sequence[GroundTruth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    min_scores: Sequence[float],
) -> tuple[OperatingPoint, ...]:
    """Precision, recall and F1 of each class with one box per face, that of its best class."""
    counts = np.zeros((len(label_map) + 1, len(label_map) + 1), int)
    for truth, found in zip(truths, detections, strict=True):  # the boxes of all images at once would need memory
        reduced = one_box_per_face(found)
        pairing = confusion.pair_detections(truth, reduced, min_scores)
        counts += confusion.confusion_matrix([truth], [reduced], [pairing], len(label_map))
    hits, boxes, detected = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return tuple(
        thresholds.operating_point(name, min_scores[k], int(hits[k]), int(detected[k] - hits[k]), int(boxes[k]))
        for k, name in enumerate(label_map.names)
    )


def write_evaluation(
    folder: Path,
    measured: MeasuredDetections,
    result: EvaluationResult,
    label_map: LabelMap,
    *,
    source: dict[str, Any],
    model: dict[str, Any],
    made: dict[str, Any],
    intervals: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write an evaluation's folder. `metrics.json` is written last and contains the digests of the other two files.

    Args:
        folder: `workspace/reports/<RUN>`.
        measured: The ground truth, the detections and the speed.
        result: The metrics computed from them.
        label_map: The classes.
        source: The source of the images, from `PictureSource.to_json`; `left_out` in it says of each file of a folder
            that is left out why.
        model: The content of the model's model.json, and as `"detector"` the name of what ran it.
        made: The provenance, from `provenance.made_by`.
        intervals: The result of `ap_intervals`, if it was computed.

    Returns:
        The content of `metrics.json`: `format`, `classes`, `model`, `source`, `figures` (`coco.CocoMetrics`),
        `operating` (`OperatingPoint` of each class at the chosen threshold), `best` (at the threshold with the highest
        F1), `thresholds` (class -> that threshold), `one_box` (`OperatingPoint` of each class with one box per face),
        `confusion` (`labels`, `counts`), `calibration`, `mistakes` (kind -> count), `speed`, `files` (name -> sha256),
        `made`, and `intervals` if they were computed. A metric is null if there is nothing to measure.
    """
    truth_path, predictions_path = folder / TRUTH_FILE, folder / PREDICTIONS_FILE
    write_json(truth_path, coco.ground_truth_to_coco(measured.truths, label_map))
    with replacing_file(predictions_path) as beside, beside.open("w", encoding="utf-8") as file:
        # One detection a line: it is JSON, a third of the size, and `_read_predictions` needs one line at a time.
        file.write("[\n")
        for number, detection in enumerate(coco.detections_to_coco(measured.truths, measured.detections, label_map)):
            file.write((",\n" if number else "") + json.dumps(detection))
        file.write("\n]\n")
    metrics = {
        "format": FORMAT,
        "classes": list(label_map.names),
        "model": model,
        "source": source,
        "figures": dataclasses.asdict(result.coco_metrics),
        "operating": [dataclasses.asdict(one) for one in result.operating],
        "best": [None if one is None else dataclasses.asdict(one) for one in result.best],
        "one_box": [dataclasses.asdict(one) for one in result.one_box],
        "thresholds": {one.name: one.threshold for one in result.best if one is not None},
        "confusion": {"labels": [*label_map.names, confusion.BACKGROUND], "counts": result.confusion.tolist()},
        "calibration": dataclasses.asdict(result.calibration),
        "mistakes": {kind: sum(one.kind == kind for one in result.mistakes) for kind in mistakes.KINDS},
        "speed": dataclasses.asdict(measured.speed),
        "files": {path.name: sha256(path) for path in (truth_path, predictions_path)},
        "made": made,
    }
    if intervals is not None:
        metrics["intervals"] = intervals
    write_json(folder / METRICS, metrics)
    return metrics


def ap_intervals(matches: Sequence[coco.Matches], draws: int, seed: int) -> dict[str, Any]:
    """Compute 95% intervals of AP over draws of the images: the `intervals` of metrics.json.

    Returns:
        `draws`, `seed`, `map50` and `map` (each `ConfidenceInterval`), and `classes`, in the order of the label map,
        with `name`, `ap50` and `ap`.
    """
    images = len(matches[0].truths)
    sampled = bootstrap.bootstrap_ap(matches, bootstrap.draw_images(images, draws, seed))

    def interval(values: np.ndarray) -> dict[str, Any]:
        return dataclasses.asdict(bootstrap.percentile_interval(values))

    return {
        "draws": draws,
        "seed": seed,
        "map50": interval(sampled.map50),
        "map": interval(sampled.map),
        "classes": [
            {"name": one.name, "ap50": interval(sampled.ap50[:, k]), "ap": interval(sampled.ap[:, k])}
            for k, one in enumerate(matches)
        ],
    }


def is_classifier_report(folder: Path) -> bool:
    """Whether a report is the cross-validation of a classifier alone, which has no evaluation of a detector."""
    return (folder / CLASSIFIER_REPORT).is_file() and not (folder / METRICS).is_file()


def read_evaluation(folder: Path) -> SavedEvaluation:
    """Read an evaluation from its folder.

    Raises:
        UserError: The folder contains no evaluation of a detector, or a file in it is damaged or belongs to another
            evaluation.
    """
    if is_classifier_report(folder):
        raise UserError(
            f"{folder}: a cross-validation of the classifier alone, which detects nothing. Its results are "
            f"{CLASSIFIER_REPORT} and confusion.png; `make compare` compares it with others of its kind."
        )
    absent = f"{folder}: no evaluation in it. Run `make eval RUN={folder.name}` first."
    again = f"Run `make eval RUN={folder.name}` again."
    with json_files.reading_json(folder / METRICS, FORMAT, step="eval", absent=absent, again=again) as metrics:
        for name in (TRUTH_FILE, PREDICTIONS_FILE):
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path}: no such file. {again}")
            if sha256(path) != metrics["files"][name]:
                raise UserError(f"{path}: not the file that {METRICS} in the same folder was computed from. {again}")
        truths, label_map = coco.ground_truth_from_coco(json.loads((folder / TRUTH_FILE).read_bytes()))
        detections = coco.detections_from_coco(truths, _read_predictions(folder / PREDICTIONS_FILE), label_map)
        _rename_old_keys(metrics["model"])
    return SavedEvaluation(folder, metrics, tuple(truths), tuple(detections), label_map)


def _rename_old_keys(model: dict[str, Any]) -> None:
    """Bring the description of two stages that version 0.2.0 wrote to today's keys."""
    faces, classifier = model.get("faces"), model.get("classifier")
    if faces and "size" in faces:
        size = faces.pop("size")
        faces["sizes"] = [size] if size else []
    if classifier and "run" in classifier:
        classifier["runs"] = [classifier.pop("run")]


def _read_predictions(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the detections of a file that `write_evaluation` wrote. As a whole they would take gigabytes."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            text = line.strip("[],\n")
            if text:
                yield json.loads(text)


def chosen_thresholds(metrics: dict[str, Any]) -> tuple[float, ...]:
    """The score threshold that the evaluation used for each class."""
    return tuple(one["threshold"] for one in metrics["operating"])


def recompute_result(saved: SavedEvaluation) -> EvaluationResult:
    """Compute all metrics of an evaluation again, from its files."""
    most = saved.metrics["figures"]["max_detections"]
    return compute_metrics(saved.truths, saved.detections, saved.label_map, chosen_thresholds(saved.metrics), most)


def refuse_different_images(saved: Sequence[MatchedEvaluation]) -> None:
    """Refuse to compare evaluations of different images or labels.

    Raises:
        UserError: Two evaluations differ in classes, images or labels.
    """
    first = saved[0]
    for other in saved[1:]:
        where = f"{other.folder} and {first.folder}"
        if other.label_map != first.label_map:
            raise UserError(f"{where} have different classes. Only detectors of the same classes can be compared.")
        if _facts(other.truths) != _facts(first.truths):
            raise UserError(
                f"{where} were measured on different images or labels ({len(other.truths)} and {len(first.truths)} "
                "images). Run `make eval` for both on the same split."
            )


def list_caveats(metrics: dict[str, Any], truths: Sequence[GroundTruth]) -> list[str]:
    """Reasons why the metrics of an evaluation may mislead, one line each."""
    figures = metrics["figures"]
    found = []
    if seen := metrics["model"].get("seen_in_training"):
        found.append(seen_pictures.warning(metrics["model"]["run"], seen))
    if left_out := metrics["source"].get("left_out"):
        shown = "; ".join(left_out[:_NAMED]) + ("; ..." if len(left_out) > _NAMED else "")
        found.append(f"{len(left_out):,} files of the folder are left out: {shown}")
    absent = [one["name"] for one in figures["classes"] if not one["boxes"]]
    if absent:
        found.append(
            f"No face of {', '.join(absent)} in these images: it is not measured, and means are over the other classes."
        )
    few = [f"{one['name']} ({one['boxes']})" for one in figures["classes"] if 0 < one["boxes"] < FEW_FACES]
    if few:
        found.append(f"Few faces of {', '.join(few)}: each face changes their metrics a lot.")
    if figures["difficult"]:
        found.append(f"{figures['difficult']} faces are marked difficult: finding or missing them changes nothing.")
    limit = figures["max_detections"]
    crowds = sum(max(np.bincount(one.class_ids[~one.difficult.astype(bool)], minlength=1)) > limit for one in truths)
    if crowds:
        found.append(f"{crowds} images have more than {limit} faces of one class, and only {limit} detections count.")
    return found


def write_voc_files(
    folder: Path,
    truths: Sequence[GroundTruth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    min_scores: Sequence[float],
) -> None:
    """Write the detections as Pascal VOC XML, one file for each image, named after the image.

    Args:
        folder: Where to write; an image's name may hold sub-folders.
        truths: The ground truth of the images, which has their names and sizes.
        detections: The detections of each image; boxes are clipped to the image.
        label_map: The classes.
        min_scores: The score threshold of each class.

    Raises:
        UserError: An image's name points to a file outside the folder.
    """
    for truth, found in zip(truths, detections, strict=True):
        path = folder / Path(truth.name).with_suffix(".xml")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{truth.name}: this name points to a file outside {folder}. Rename the image.")
        boxes = []
        for index in confusion.indices_above_thresholds(found, min_scores):
            xmin, ymin, xmax, ymax = (float(value) for value in found.xyxy[index])
            corners = max(xmin, 0.0), max(ymin, 0.0), min(xmax, truth.width), min(ymax, truth.height)
            if corners[0] < corners[2] and corners[1] < corners[3]:
                name = label_map.name_of(int(found.class_id[index]))
                left, top, right, bottom = (round(value, 2) for value in corners)
                boxes.append(voc.Box(name, left, top, right, bottom))
        voc.write_voc(path, voc.Annotation(path, Path(truth.name).name, truth.width, truth.height, tuple(boxes)))


def _facts(truths: Iterable[GroundTruth]) -> list[tuple[Any, ...]]:
    return [
        (one.name, one.width, one.height, one.boxes.tolist(), one.class_ids.tolist(), one.difficult.tolist())
        for one in truths
    ]
