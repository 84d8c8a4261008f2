"""COCO's metrics, by pycocotools: AP and recall over all classes, per class and per size.

The protocol, everywhere in this package:

- A detection is matched to ground truth of its own class, highest score first, as COCO does it. Each class is ranked
  separately, so a face may have one detection of each class.
- At most `MAX_DETECTIONS` detections count per class and image. COCO and the Object Detection API have this limit too,
  so the metrics are comparable with theirs. In an image with more faces of one class, some cannot be found.
- Ground truth marked `difficult` becomes COCO's `iscrowd`: it counts neither as found nor as missed, and a detection on
  it is not a false alarm. The written files contain the mark, so other tools compute the same metrics.
- A class without ground truth has no AP: its metrics are None, and means are taken over the other classes.
- Boxes are rounded to 1/10,000 pixel and scores to float32, as in `predictions.json`. The metrics computed from the
  files are therefore the same.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth

if TYPE_CHECKING:
    import supervision as sv
    from pycocotools.cocoeval import COCOeval

MAX_DETECTIONS = 100
"""Detections that count per class and image: pycocotools' own number (`Params.maxDets`)."""

SIZES = ("all", "small", "medium", "large")
"""COCO's sizes by the area of the ground-truth box in pixels: small to 32^2, medium to 96^2, large above."""


@dataclass(frozen=True)
class CocoSizeMetrics:
    """Metrics over the ground truth of one size, from 0 to 1; None if there is no ground truth of that size.

    Attributes:
        size: One of `SIZES`.
        boxes: Ground-truth boxes of that size, without the difficult ones.
        ap: Mean AP over IoU 0.50, 0.55, ... 0.95.
        ap50: AP at IoU 0.5.
        recall: Mean recall over IoU 0.50, 0.55, ... 0.95.
        recall50: Recall at IoU 0.5.
    """

    size: str
    boxes: int
    ap: float | None
    ap50: float | None
    recall: float | None
    recall50: float | None


@dataclass(frozen=True)
class CocoClassMetrics:
    """Metrics of one class, from 0 to 1; None if the class has no ground truth.

    Attributes:
        name: The class.
        boxes: Its ground-truth boxes, without the difficult ones.
        ap: Mean AP over IoU 0.50, 0.55, ... 0.95.
        ap50: AP at IoU 0.5.
        ap75: AP at IoU 0.75.
        recall: Mean recall over IoU 0.50, 0.55, ... 0.95.
        recall50: Recall at IoU 0.5.
        sizes: The metrics of its small, medium and large boxes.
    """

    name: str
    boxes: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    recall: float | None
    recall50: float | None
    sizes: tuple[CocoSizeMetrics, ...]


@dataclass(frozen=True)
class CocoMetrics:
    """COCO's metrics of a detector on a set of images, from 0 to 1; None if there is no ground truth.

    Attributes:
        map: Mean AP over IoU 0.50, 0.55, ... 0.95 and the classes: COCO's headline metric, mAP@[.5:.95].
        map50: Mean AP at IoU 0.5, over the classes.
        map75: Mean AP at IoU 0.75, over the classes.
        recall: Mean over classes and IoU 0.50 ... 0.95 of the recall of all detections: COCO's AR@100.
        recall50: The same at IoU 0.5.
        images: Images measured.
        boxes: Ground-truth boxes measured, without the difficult ones.
        difficult: Ground-truth boxes marked difficult, which are not measured.
        max_detections: Detections that counted per class and image.
        classes: One for each class of the label map, in the order of their ids.
        sizes: small, medium and large, over all classes.
    """

    map: float | None
    map50: float | None
    map75: float | None
    recall: float | None
    recall50: float | None
    images: int
    boxes: int
    difficult: int
    max_detections: int
    classes: tuple[CocoClassMetrics, ...]
    sizes: tuple[CocoSizeMetrics, ...]


@dataclass(frozen=True)
class Matches:
    """Whether each detection of one class is right, highest score first.

    Attributes:
        name: The class.
        ious: (T,) the IoU thresholds 0.5, 0.55, ... 0.95.
        scores: (D,) scores, in descending order.
        images: (D,) int, the index of each detection's image in the ground truth given.
        hits: (T, D) bool: the detection matched a ground-truth box.
        ignored: (T, D) bool: the detection matched a difficult box and counts as neither right nor wrong.
        truths: (I,) int, ground-truth boxes of this class in each image, without the difficult ones.
    """

    name: str
    ious: np.ndarray
    scores: np.ndarray
    images: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


def evaluate_detections(
    truths: Sequence[GroundTruth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    max_detections: int = MAX_DETECTIONS,
) -> CocoMetrics:
    """Compute COCO's metrics of detections.

    Args:
        truths: The ground truth of each image. Image ids are unique.
        detections: The detections of each image in the same order, without a score threshold.
        label_map: The classes of both.
        max_detections: Detections that count per class and image.

    Raises:
        ValueError: The numbers of ground truths and detections differ, an image id occurs twice, or a class id is not
            in the label map.

    Example:
        >>> evaluate_detections(truths, [detector.detect([image])[0] for image in images], label_map).map50
        0.83
    """
    return metrics_from_cocoeval(run_cocoeval(truths, detections, label_map, max_detections), label_map)


def match_detections(
    truths: Sequence[GroundTruth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    max_detections: int = MAX_DETECTIONS,
) -> tuple[Matches, ...]:
    """The matches that `evaluate_detections` counts, one `Matches` for each class. Raises ValueError as it does."""
    return matches_from_cocoeval(run_cocoeval(truths, detections, label_map, max_detections), label_map)


def run_cocoeval(
    truths: Sequence[GroundTruth], detections: Sequence["sv.Detections"], label_map: LabelMap, max_detections: int
) -> "COCOeval":
    """Match with pycocotools. `metrics_from_cocoeval` and `matches_from_cocoeval` read the result."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset = ground_truth_to_coco(truths, label_map)
    results = detections_to_coco(truths, detections, label_map)
    for number, result in enumerate(results, start=1):
        width, height = result["bbox"][2:]
        result.update(id=number, area=width * height, iscrowd=0)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth_index, result_index = COCO(), COCO()
        truth_index.dataset = dataset
        # Not loadRes(), which fails where there are no results at all.
        result_index.dataset = dataset | {"annotations": results}
        truth_index.createIndex()
        result_index.createIndex()
        run = COCOeval(truth_index, result_index, "bbox")
        run.params.maxDets = [max_detections]
        run.evaluate()
        run.accumulate()
    return run


def metrics_from_cocoeval(run: "COCOeval", label_map: LabelMap) -> CocoMetrics:
    """The metrics of a finished run of pycocotools."""
    precision = run.eval["precision"][..., 0]  # (IoU, recall point, class, size)
    recall = run.eval["recall"][..., 0]  # (IoU, class, size)
    annotations = run.cocoGt.dataset["annotations"]
    counted = [annotation for annotation in annotations if not annotation["iscrowd"]]
    every = slice(None)

    def in_size(size: int, class_id: int | None = None) -> int:
        low, high = run.params.areaRng[size]
        return sum(low <= a["area"] <= high and class_id in (None, a["category_id"]) for a in counted)

    def by_size(classes: Any, class_id: int | None = None) -> tuple[CocoSizeMetrics, ...]:
        return tuple(
            CocoSizeMetrics(
                size=SIZES[size],
                boxes=in_size(size, class_id),
                ap=_mean(precision[:, :, classes, size]),
                ap50=_mean(precision[0, :, classes, size]),
                recall=_mean(recall[:, classes, size]),
                recall50=_mean(recall[0, classes, size]),
            )
            for size in range(1, len(SIZES))
        )

    return CocoMetrics(
        map=_mean(precision[:, :, :, 0]),
        map50=_mean(precision[0, :, :, 0]),
        map75=_mean(precision[5, :, :, 0]),
        recall=_mean(recall[:, :, 0]),
        recall50=_mean(recall[0, :, 0]),
        images=len(run.params.imgIds),
        boxes=len(counted),
        difficult=len(annotations) - len(counted),
        max_detections=run.params.maxDets[0],
        classes=tuple(
            CocoClassMetrics(
                name=name,
                boxes=in_size(0, index + 1),
                ap=_mean(precision[:, :, index, 0]),
                ap50=_mean(precision[0, :, index, 0]),
                ap75=_mean(precision[5, :, index, 0]),
                recall=_mean(recall[:, index, 0]),
                recall50=_mean(recall[0, index, 0]),
                sizes=by_size(index, index + 1),
            )
            for index, name in enumerate(label_map.names)
        ),
        sizes=by_size(every),
    )


def matches_from_cocoeval(run: "COCOeval", label_map: LabelMap) -> tuple[Matches, ...]:
    """The matches of a finished run of pycocotools, over all sizes, one for each class."""
    ids = [image["id"] for image in run.cocoGt.dataset["images"]]
    place = {image_id: index for index, image_id in enumerate(ids)}
    images, sizes = len(ids), len(SIZES)
    ious = np.asarray(run.params.iouThrs)
    found = []
    for index, name in enumerate(label_map.names):
        # evalImgs runs over classes, then sizes, then images by id; size 0 is "all".
        start = index * sizes * images
        parts = [part for part in run.evalImgs[start : start + images] if part is not None]
        truths = np.zeros(images, int)
        for part in parts:
            truths[place[part["image_id"]]] = int(np.count_nonzero(np.asarray(part["gtIgnore"]) == 0))
        scores = np.concatenate([np.asarray(part["dtScores"], float) for part in parts] or [np.zeros(0)])
        order = np.argsort(-scores, kind="mergesort")  # pycocotools' own order: ties by image id
        where = [np.full(len(part["dtScores"]), place[part["image_id"]]) for part in parts]
        hits = [np.asarray(part["dtMatches"]) > 0 for part in parts]
        ignored = [np.asarray(part["dtIgnore"]) > 0 for part in parts]
        nothing = np.zeros((len(ious), 0), bool)
        hit = np.concatenate(hits or [nothing], axis=1)[:, order]
        ignore = np.concatenate(ignored or [nothing], axis=1)[:, order]
        place_of = np.concatenate([*where, np.zeros(0, int)])[order]
        found.append(Matches(name, ious, scores[order], place_of, hit & ~ignore, ignore, truths))
    return tuple(found)


def ground_truth_to_coco(truths: Sequence[GroundTruth], label_map: LabelMap) -> dict[str, Any]:
    """Ground truth as a COCO data set (`images`, `annotations`, `categories`), ready for JSON.

    Raises:
        ValueError: An image id occurs twice, or a class id is not in the label map.
    """
    if len({truth.image_id for truth in truths}) != len(truths):
        raise ValueError("image ids are not unique")
    annotations: list[dict[str, Any]] = []
    for truth in truths:
        _check_ids(truth.class_ids, label_map, truth.name)
        for box, class_id, difficult in zip(truth.boxes, truth.class_ids, truth.difficult, strict=True):
            bbox = _bbox(box)
            annotations.append(
                {
                    "id": len(annotations) + 1,  # from 1: pycocotools takes a match with id 0 for none
                    "image_id": int(truth.image_id),
                    "category_id": int(class_id),
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": int(difficult),
                }
            )
    return {
        "images": [
            {
                "id": int(truth.image_id),
                "file_name": truth.name,
                "width": int(truth.width),
                "height": int(truth.height),
            }
            for truth in truths
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(label_map.names, start=1)],
    }


def detections_to_coco(
    truths: Sequence[GroundTruth], detections: Iterable["sv.Detections"], label_map: LabelMap
) -> list[dict[str, Any]]:
    """Detections in COCO's result format: `image_id`, `category_id`, `bbox` (x, y, width, height), `score`.

    Raises:
        ValueError: The numbers of ground truths and detections differ, or a class id is not in the label map.
    """
    results = []
    for truth, found in zip(truths, detections, strict=True):
        if len(found) == 0:
            continue
        if found.class_id is None or found.confidence is None:
            raise ValueError(f"{truth.name}: detections without class_id or confidence")
        _check_ids(found.class_id, label_map, truth.name)
        for box, class_id, score in zip(found.xyxy, found.class_id, found.confidence, strict=True):
            results.append(
                {
                    "image_id": int(truth.image_id),
                    "category_id": int(class_id),
                    "bbox": _bbox(box),
                    "score": float(str(np.float32(score))),  # the shortest decimal that is this float32
                }
            )
    return results


def evaluation_from_coco(
    dataset: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[list[GroundTruth], list["sv.Detections"], LabelMap]:
    """Read back what `ground_truth_to_coco` and `detections_to_coco` made. The metrics of the result are the same.

    Args:
        dataset: A COCO data set.
        results: Detections in COCO's result format.

    Returns:
        The ground truth of each image, its detections in the same order, and the label map.

    Raises:
        ValueError, KeyError, TypeError: The values have another structure.
    """
    import supervision as sv

    categories = sorted(dataset["categories"], key=lambda category: category["id"])
    if [category["id"] for category in categories] != list(range(1, len(categories) + 1)):
        raise ValueError("category ids do not run from 1")
    label_map = LabelMap(tuple(category["name"] for category in categories))
    boxes: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in dataset["images"]}
    found: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in dataset["images"]}
    for annotation in dataset["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
    for result in results:
        found[result["image_id"]].append(result)
    truths = [
        GroundTruth(
            image_id=image["id"],
            name=image["file_name"],
            width=image["width"],
            height=image["height"],
            boxes=_xyxy(boxes[image["id"]]),
            class_ids=np.array([box["category_id"] for box in boxes[image["id"]]], int),
            difficult=np.array([box.get("iscrowd", 0) for box in boxes[image["id"]]], bool),
        )
        for image in dataset["images"]
    ]
    names = np.array(["", *label_map.names])
    detections = []
    for image in dataset["images"]:
        ids = np.array([result["category_id"] for result in found[image["id"]]], int)
        _check_ids(ids, label_map, image["file_name"])
        detections.append(
            sv.Detections(
                xyxy=_xyxy(found[image["id"]]),
                confidence=np.array([result["score"] for result in found[image["id"]]], float),
                class_id=ids,
                data={"class_name": names[ids]},
            )
        )
    return truths, detections, label_map


def _bbox(box: np.ndarray) -> list[float]:
    xmin, ymin, xmax, ymax = (float(value) for value in box)
    return [round(value, 4) for value in (xmin, ymin, xmax - xmin, ymax - ymin)]


def _xyxy(items: list[dict[str, Any]]) -> np.ndarray:
    boxes = np.array([item["bbox"] for item in items], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _check_ids(ids: np.ndarray, label_map: LabelMap, name: str) -> None:
    strange = [int(class_id) for class_id in ids if not 1 <= class_id <= len(label_map)]
    if strange:
        raise ValueError(f"{name}: class id {strange[0]} is not in the label map (1..{len(label_map)})")


def _mean(values: np.ndarray) -> float | None:
    """The mean of the values that pycocotools could measure. It writes -1 where there is no ground truth."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None
