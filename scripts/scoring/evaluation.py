"""All figures of one detector on one set of images, and the folder that keeps them.

    workspace/reports/<RUN>/
        metrics.json        the figures (`write` says what stands in it)
        ground_truth.json   the truth, a COCO data set
        predictions.json    every detection, COCO's result format

pycocotools, FiftyOne and supervision read the last two; COCO's figures computed from them are those in metrics.json.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.dataset import voc
from scripts.dataset.label_map import LabelMap
from scripts.dataset.truth import Truth
from scripts.scoring import coco, confusion, mistakes, thresholds
from scripts.scoring.calibration import Calibration, calibration
from scripts.scoring.measure import Measured
from scripts.scoring.mistakes import Mistake
from scripts.scoring.thresholds import Operating
from scripts.support import written
from scripts.support.errors import UserError
from scripts.support.files import replacing, sha256, write_json

if TYPE_CHECKING:
    import supervision as sv

FORMAT = 1
FEW = 30
"""With fewer faces than this a class's figures are said to rest on few: one face is then 3 points of recall."""

METRICS, TRUTH, PREDICTIONS = "metrics.json", "ground_truth.json", "predictions.json"


@dataclass(frozen=True)
class Scores:
    """What is computed from truth and detections.

    Attributes:
        figures: COCO's figures.
        matches: The matches behind them, one for each class.
        operating: Precision, recall and F1 of each class at its chosen threshold.
        best: The same where F1 is highest; None for a class that was never found.
        confusion: (K + 1, K + 1) counts at the chosen thresholds: rows truth, columns detected, last the background.
        calibration: Reliability of the scores.
        mistakes: Every mistake at the chosen thresholds, worst first within its kind.
    """

    figures: coco.Figures
    matches: tuple[coco.Matches, ...]
    operating: tuple[Operating, ...]
    best: tuple[Operating | None, ...]
    confusion: np.ndarray
    calibration: Calibration
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class Saved:
    """A folder of `write`, read back: the figures as they were written, and what they were computed from."""

    folder: Path
    metrics: dict[str, Any]
    truths: tuple[Truth, ...]
    detections: "tuple[sv.Detections, ...]"
    label_map: LabelMap


def score(
    truths: Sequence[Truth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    least: Sequence[float] | None,
    max_detections: int = coco.MAX_DETECTIONS,
) -> Scores:
    """Compute everything.

    Args:
        truths: The truth of each image.
        detections: The detections of each image, in the same order, unfiltered.
        label_map: The classes of both.
        least: The chosen threshold of each class; None chooses the best of each.
        max_detections: Detections that count per class and image in COCO's figures.
    """
    run = coco.run_cocoeval(truths, detections, label_map, max_detections)
    matches = coco.matches_of(run, label_map)
    best = tuple(thresholds.best(one) for one in matches)
    if least is None:
        least = [thresholds.DEFAULT if one is None else one.threshold for one in best]
    pairings = [confusion.pair(truth, found, least) for truth, found in zip(truths, detections, strict=True)]
    return Scores(
        figures=coco.figures_of(run, label_map),
        matches=matches,
        operating=tuple(thresholds.at(one, threshold) for one, threshold in zip(matches, least, strict=True)),
        best=best,
        confusion=confusion.matrix(truths, detections, pairings, len(label_map)),
        calibration=calibration(matches),
        mistakes=mistakes.mistakes(truths, detections, pairings),
    )


def write(
    folder: Path,
    measured: Measured,
    scores: Scores,
    label_map: LabelMap,
    *,
    source: dict[str, Any],
    model: dict[str, Any],
    made: dict[str, Any],
) -> dict[str, Any]:
    """Write the folder, `metrics.json` last: it holds the digests of the other two, so they belong together.

    Args:
        folder: `workspace/reports/<RUN>`.
        measured: What was detected, and how fast.
        scores: What was computed from it.
        label_map: The classes.
        source: Where the images came from: `{"annotations", "split", "digest"}` or `{"images"}`.
        model: The model: what its model.json says, with `"detector"`, the name of what ran it.
        made: `provenance.made_by`.

    Returns:
        What stands in `metrics.json`: `format`, `classes`, `model`, `source`, `figures` (`coco.Figures`), `operating`
        (precision, recall and F1 of each class at the chosen threshold), `best` (at the threshold of the highest F1),
        `thresholds` (class -> that threshold), `confusion` (`labels`, `counts`), `calibration`, `mistakes` (kind ->
        how many), `speed`, `files` (name -> sha256), `made`. A figure that there is nothing to measure for is null.
    """
    truth_path, predictions_path = folder / TRUTH, folder / PREDICTIONS
    write_json(truth_path, coco.truth_to_coco(measured.truths, label_map))
    results = coco.detections_to_coco(measured.truths, measured.detections, label_map)
    with replacing(predictions_path) as beside:  # one detection a line: as JSON, as greppable, and a third of the size
        lines = ",\n".join(json.dumps(result) for result in results)
        beside.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    metrics = {
        "format": FORMAT,
        "classes": list(label_map.names),
        "model": model,
        "source": source,
        "figures": dataclasses.asdict(scores.figures),
        "operating": [dataclasses.asdict(one) for one in scores.operating],
        "best": [None if one is None else dataclasses.asdict(one) for one in scores.best],
        "thresholds": {one.name: one.threshold for one in scores.best if one is not None},
        "confusion": {"labels": [*label_map.names, confusion.BACKGROUND], "counts": scores.confusion.tolist()},
        "calibration": dataclasses.asdict(scores.calibration),
        "mistakes": {kind: sum(one.kind == kind for one in scores.mistakes) for kind in mistakes.KINDS},
        "speed": dataclasses.asdict(measured.speed),
        "files": {path.name: sha256(path) for path in (truth_path, predictions_path)},
        "made": made,
    }
    write_json(folder / METRICS, metrics)
    return metrics


def read(folder: Path) -> Saved:
    """Read the folder back.

    Raises:
        UserError: Nothing was evaluated there, or a file in it is damaged or from another evaluation.
    """
    absent = f"{folder}: nothing was evaluated here. Run `make eval RUN={folder.name}` first."
    again = f"Run `make eval RUN={folder.name}` again."
    with written.reading(folder / METRICS, FORMAT, step="eval", absent=absent, again=again) as metrics:
        contents = []
        for name in (TRUTH, PREDICTIONS):
            path = folder / name
            if not path.is_file():
                raise UserError(f"{path}: no such file. {again}")
            if sha256(path) != metrics["files"][name]:
                raise UserError(f"{path}: not the file that {METRICS} beside it was computed from. {again}")
            contents.append(json.loads(path.read_text(encoding="utf-8")))
        truths, detections, label_map = coco.from_coco(*contents)
    return Saved(folder, metrics, tuple(truths), tuple(detections), label_map)


def chosen(metrics: dict[str, Any]) -> tuple[float, ...]:
    """The threshold of each class that the evaluation used."""
    return tuple(one["threshold"] for one in metrics["operating"])


def matches_of(saved: Saved) -> tuple[coco.Matches, ...]:
    """The matches of an evaluation, computed again from its files."""
    most = saved.metrics["figures"]["max_detections"]
    return coco.match(saved.truths, saved.detections, saved.label_map, most)


def scores_of(saved: Saved) -> Scores:
    """Everything that an evaluation computed, computed again from its files."""
    most = saved.metrics["figures"]["max_detections"]
    return score(saved.truths, saved.detections, saved.label_map, chosen(saved.metrics), most)


def same_images(saved: Sequence[Saved]) -> None:
    """Refuse to compare what was not measured on the same images with the same truth.

    Raises:
        UserError: It names the two folders and what differs.
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


def notes(metrics: dict[str, Any], truths: Sequence[Truth]) -> list[str]:
    """What a reader of the figures should know about them, one line each."""
    figures = metrics["figures"]
    found = []
    absent = [one["name"] for one in figures["classes"] if not one["boxes"]]
    if absent:
        found.append(f"No truth of {', '.join(absent)}: no figures for it, and the means are over the other classes.")
    few = [f"{one['name']} ({one['boxes']})" for one in figures["classes"] if 0 < one["boxes"] < FEW]
    if few:
        found.append(f"Few faces of {', '.join(few)}: each one moves the figures a lot.")
    if figures["difficult"]:
        found.append(f"{figures['difficult']} faces are marked difficult and count neither way.")
    limit = figures["max_detections"]
    crowds = sum(max(np.bincount(one.class_ids[~one.difficult.astype(bool)], minlength=1)) > limit for one in truths)
    if crowds:
        found.append(f"{crowds} images have more than {limit} faces of one class, and only {limit} detections count.")
    return found


def write_voc(
    folder: Path,
    truths: Sequence[Truth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    least: Sequence[float],
) -> None:
    """Write what was detected as Pascal VOC XML, one file an image, under the images' own names.

    Args:
        folder: Where to write; sub-folders as the images' names have them.
        truths: The images.
        detections: Their detections; boxes are cut at the image's edge.
        label_map: The classes.
        least: The least score of each class.

    Raises:
        UserError: An image's name leads out of the folder.
    """
    for truth, found in zip(truths, detections, strict=True):
        path = folder / Path(truth.name).with_suffix(".xml")
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{truth.name}: leads out of the folder {folder}. Rename the image.")
        boxes = []
        for index in confusion.kept(found, least):
            xmin, ymin, xmax, ymax = (float(value) for value in found.xyxy[index])
            corners = max(xmin, 0.0), max(ymin, 0.0), min(xmax, truth.width), min(ymax, truth.height)
            if corners[0] < corners[2] and corners[1] < corners[3]:
                name = label_map.name_of(int(found.class_id[index]))
                left, top, right, bottom = (round(value, 2) for value in corners)
                boxes.append(voc.Box(name, left, top, right, bottom))
        voc.write(path, voc.Annotation(path, Path(truth.name).name, truth.width, truth.height, tuple(boxes)))


def _facts(truths: Iterable[Truth]) -> list[tuple[Any, ...]]:
    return [
        (one.name, one.width, one.height, one.boxes.tolist(), one.class_ids.tolist(), one.difficult.tolist())
        for one in truths
    ]
