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
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
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

_CHUNK = 250
"""Images that pycocotools matches at once. What it keeps of an image is some 80 KB with 100 detections."""


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
    return run_cocoeval(truths, detections, label_map, max_detections).matches


@dataclass(frozen=True)
class CocoRun:
    """What pycocotools found, from which `metrics_from_cocoeval` reads the metrics.

    Attributes:
        precision: (T, R, K, A) interpolated precision at each IoU, recall point, class and size; -1 without ground
            truth.
        recall: (T, K, A) recall; -1 without ground truth.
        matches: The matches of each class, over all sizes.
        areas: (n,) pixels, of the ground-truth boxes without the difficult ones.
        class_ids: (n,) their classes.
        area_ranges: (A, 2) the smallest and the largest area of each size.
        images: Number of images.
        difficult: Number of difficult boxes.
        max_detections: Detections that counted per class and image.
    """

    precision: np.ndarray
    recall: np.ndarray
    matches: tuple[Matches, ...]
    areas: np.ndarray
    class_ids: np.ndarray
    area_ranges: np.ndarray
    images: int
    difficult: int
    max_detections: int


def run_cocoeval(
    truths: Sequence[GroundTruth], detections: Sequence["sv.Detections"], label_map: LabelMap, max_detections: int
) -> CocoRun:
    """Match with pycocotools. Raises ValueError as `evaluate_detections` does.

    pycocotools keeps some twenty objects for each image and class. So it matches a few hundred images at a time, and
    the matches of those are joined and kept as bits.
    """
    if len(truths) != len(detections):
        raise ValueError(f"ground truth of {len(truths)} images, detections on {len(detections)}")
    _check_image_ids(truths)
    # pycocotools' own order, in which detections of the same score are ranked.
    order = sorted(range(len(truths)), key=lambda index: truths[index].image_id)
    classes = range(len(label_map))
    joined: list[list[_JoinedImages]] = [[] for _ in classes]
    boxes = [np.zeros(len(truths), int) for _ in classes]
    areas, class_ids, difficult = array("d"), array("q"), 0
    params = _cocoeval(max_detections).params
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        run = _match_chunk([truths[i] for i in chunk], [detections[i] for i in chunk], label_map, max_detections)
        for annotation in run.cocoGt.dataset["annotations"]:
            if annotation["iscrowd"]:
                difficult += 1
            else:
                areas.append(annotation["area"])
                class_ids.append(annotation["category_id"])
        # evalImgs runs over classes, then sizes, then images by id; size 0 is "all".
        for number in classes:
            first = number * len(SIZES) * len(chunk)
            sizes = [run.evalImgs[first + size * len(chunk) :][: len(chunk)] for size in range(len(SIZES))]
            # It is None in each size for an image with neither a detection nor a box of the class.
            there = [index for index, part in enumerate(sizes[0]) if part is not None]
            if there:
                joined[number].append(_join([chunk[i] for i in there], [[size[i] for i in there] for size in sizes]))
            for index in there:
                boxes[number][chunk[index]] = int(np.count_nonzero(np.asarray(sizes[0][index]["gtIgnore"]) == 0))
    ious = np.asarray(params.iouThrs)
    precision = np.empty((len(ious), len(params.recThrs), len(label_map), len(SIZES)))
    recall = np.empty((len(ious), len(label_map), len(SIZES)))
    matches = []
    for number, name in enumerate(label_map.names):
        one = _JoinedImages.of(joined[number], len(ious))
        joined[number] = []
        order_of_scores = np.argsort(-one.scores, kind="mergesort")  # pycocotools' own order: ties by image id
        for size in range(len(SIZES)):
            hits, ignored = one.hits_and_ignored(size, order_of_scores, len(ious))
            counted = int(np.count_nonzero(~one.truth_ignored[size]))
            accumulated = _accumulate(hits, ignored, counted, np.asarray(params.recThrs))
            precision[:, :, number, size], recall[:, number, size] = accumulated
            if size == 0:
                scores, images = one.scores[order_of_scores], one.images[order_of_scores]
                matches.append(Matches(name, ious, scores, images, hits, ignored, boxes[number]))
    return CocoRun(
        precision=precision,
        recall=recall,
        matches=tuple(matches),
        areas=np.array(areas),
        class_ids=np.array(class_ids),
        area_ranges=np.asarray(params.areaRng),
        images=len(truths),
        difficult=difficult,
        max_detections=max_detections,
    )


@dataclass(frozen=True)
class _JoinedImages:
    """What pycocotools keeps of some images, for one class; the matrices as bits along T.

    Attributes:
        scores: (D,) scores, image after image.
        images: (D,) the index of each detection's image.
        hits: (A, T / 8, D) uint8: the detection matched a ground-truth box, by size.
        ignored: (A, T / 8, D) uint8: the detection does not count, by size.
        truth_ignored: (A, G) whether a ground-truth box does not count, by size.
    """

    scores: np.ndarray
    images: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    truth_ignored: np.ndarray

    @classmethod
    def of(cls, parts: "Sequence[_JoinedImages]", levels: int) -> "_JoinedImages":
        """Several as one."""
        if not parts:
            bits = np.zeros((len(SIZES), -(-levels // 8), 0), np.uint8)
            return cls(np.zeros(0), np.zeros(0, np.int32), bits, bits, np.zeros((len(SIZES), 0), bool))
        return cls(*(np.concatenate([getattr(one, f.name) for one in parts], axis=-1) for f in fields(cls)))

    def hits_and_ignored(self, size: int, order: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
        """The matrices of a size, (T, D) bool, in the order given. A hit is not ignored."""
        hits, ignored = (
            np.unpackbits(bits[size][:, order], axis=0, count=levels).view(bool) for bits in (self.hits, self.ignored)
        )
        return hits & ~ignored, ignored


def _join(places: Sequence[int], sizes: Sequence[Sequence[dict[str, Any]]]) -> _JoinedImages:
    """Join the entries of pycocotools' `evalImgs` by size, each for the images at `places`."""
    counts = [len(part["dtScores"]) for part in sizes[0]]

    def bits(key: str) -> np.ndarray:
        return np.packbits([np.concatenate([part[key] > 0 for part in parts], axis=1) for parts in sizes], axis=1)

    return _JoinedImages(
        # The scores are the same in each size.
        scores=np.concatenate([np.asarray(part["dtScores"], float) for part in sizes[0]]),
        images=np.repeat(np.asarray(places, np.int32), counts),
        hits=bits("dtMatches"),
        ignored=bits("dtIgnore"),
        truth_ignored=np.array([np.concatenate([np.asarray(p["gtIgnore"], bool) for p in parts]) for parts in sizes]),
    )


def _cocoeval(max_detections: int) -> "COCOeval":
    from pycocotools.cocoeval import COCOeval

    run = COCOeval(iouType="bbox")
    run.params.maxDets = [max_detections]
    return run


def _match_chunk(
    truths: Sequence[GroundTruth], detections: Sequence["sv.Detections"], label_map: LabelMap, max_detections: int
) -> "COCOeval":
    from pycocotools.coco import COCO

    dataset = ground_truth_to_coco(truths, label_map)
    results = list(detections_to_coco(truths, detections, label_map))
    for number, result in enumerate(results, start=1):
        width, height = result["bbox"][2:]
        result.update(id=number, area=width * height, iscrowd=0)
    run = _cocoeval(max_detections)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        run.cocoGt, run.cocoDt = COCO(), COCO()
        run.cocoGt.dataset = dataset
        # Not loadRes(), which fails where there are no results at all.
        run.cocoDt.dataset = dataset | {"annotations": results}
        run.cocoGt.createIndex()
        run.cocoDt.createIndex()
        run.params.imgIds = [image["id"] for image in dataset["images"]]
        run.params.catIds = [category["id"] for category in dataset["categories"]]
        run.evaluate()
    return run


def _accumulate(
    hits: np.ndarray, ignored: np.ndarray, boxes: int, recall_points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The interpolated precision (T, R) and the recall (T,) that `COCOeval.accumulate` computes, -1 without boxes.

    It makes several matrices of 80 bytes for each detection. Precision has its maxima at hits, and recall rises only
    there, so the values at the hits suffice.
    """
    if boxes == 0:
        return np.full((len(hits), len(recall_points)), -1.0), np.full(len(hits), -1.0)
    precision, recall = np.zeros((len(hits), len(recall_points))), np.zeros(len(hits))
    for level, (hit, out) in enumerate(zip(hits, ignored, strict=True)):
        places = np.flatnonzero(hit)
        found, seen = np.arange(1, len(places) + 1), np.cumsum(~out)[places]
        best = np.maximum.accumulate((found / (seen + np.spacing(1)))[::-1])[::-1]
        reached = np.searchsorted(found / boxes, recall_points, side="left")
        inside = reached < len(places)
        precision[level, inside] = best[reached[inside]]
        recall[level] = len(places) / boxes
    return precision, recall


def metrics_from_cocoeval(run: CocoRun, label_map: LabelMap) -> CocoMetrics:
    """The metrics of a finished run of pycocotools."""
    precision, recall = run.precision, run.recall
    every = slice(None)

    def in_size(size: int, class_id: int | None = None) -> int:
        low, high = run.area_ranges[size]
        inside = (low <= run.areas) & (run.areas <= high)
        return int(np.count_nonzero(inside if class_id is None else inside & (run.class_ids == class_id)))

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
        images=run.images,
        boxes=len(run.areas),
        difficult=run.difficult,
        max_detections=run.max_detections,
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


def ground_truth_to_coco(truths: Sequence[GroundTruth], label_map: LabelMap) -> dict[str, Any]:
    """Ground truth as a COCO data set (`images`, `annotations`, `categories`), ready for JSON.

    Raises:
        ValueError: An image id occurs twice, or a class id is not in the label map.
    """
    _check_image_ids(truths)
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
) -> Iterator[dict[str, Any]]:
    """Yield the detections in COCO's result format: `image_id`, `category_id`, `bbox` (x, y, width, height), `score`.

    Raises:
        ValueError: The numbers of ground truths and detections differ, or a class id is not in the label map.
    """
    for truth, found in zip(truths, detections, strict=True):
        if len(found) == 0:
            continue
        if found.class_id is None or found.confidence is None:
            raise ValueError(f"{truth.name}: detections without class_id or confidence")
        _check_ids(found.class_id, label_map, truth.name)
        for box, class_id, score in zip(found.xyxy, found.class_id, found.confidence, strict=True):
            yield {
                "image_id": int(truth.image_id),
                "category_id": int(class_id),
                "bbox": _bbox(box),
                "score": float(str(np.float32(score))),  # the shortest decimal that is this float32
            }


def ground_truth_from_coco(dataset: dict[str, Any]) -> tuple[list[GroundTruth], LabelMap]:
    """Read back what `ground_truth_to_coco` made: the ground truth of each image, and the label map.

    Raises:
        ValueError, KeyError, TypeError: The values have another structure.
    """
    categories = sorted(dataset["categories"], key=lambda category: category["id"])
    if [category["id"] for category in categories] != list(range(1, len(categories) + 1)):
        raise ValueError("category ids do not run from 1")
    boxes: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in dataset["images"]}
    for annotation in dataset["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
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
    return truths, LabelMap(tuple(category["name"] for category in categories))


def detections_from_coco(
    truths: Sequence[GroundTruth], results: Iterable[dict[str, Any]], label_map: LabelMap
) -> list["sv.Detections"]:
    """Read back what `detections_to_coco` made: the detections of each image. The metrics of them are the same.

    Args:
        truths: The ground truth of each image.
        results: Detections in COCO's result format. They are read once, and none is kept as it is.
        label_map: The classes.

    Raises:
        ValueError, KeyError, TypeError: The values have another structure.
    """
    import supervision as sv

    place = {truth.image_id: index for index, truth in enumerate(truths)}
    values = array("d")
    for result in results:
        left, top, width, height = result["bbox"]
        corners = left, top, left + width, top + height
        values.extend((place[result["image_id"]], result["category_id"], *corners, result["score"]))
    rows = np.asarray(values).reshape(-1, 7)  # the memory of `values`, not a copy
    if (np.diff(rows[:, 0]) < 0).any():
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
    detections = []
    for truth, own in zip(truths, np.split(rows, np.searchsorted(rows[:, 0], range(1, len(place)))), strict=True):
        ids = own[:, 1].astype(int)
        _check_ids(ids, label_map, truth.name)
        detections.append(sv.Detections(xyxy=own[:, 2:6], confidence=own[:, 6], class_id=ids))
    return detections


def _bbox(box: np.ndarray) -> list[float]:
    xmin, ymin, xmax, ymax = (float(value) for value in box)
    return [round(value, 4) for value in (xmin, ymin, xmax - xmin, ymax - ymin)]


def _xyxy(items: list[dict[str, Any]]) -> np.ndarray:
    boxes = np.array([item["bbox"] for item in items], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _check_image_ids(truths: Sequence[GroundTruth]) -> None:
    if len({truth.image_id for truth in truths}) != len(truths):
        raise ValueError("image ids are not unique")


def _check_ids(ids: np.ndarray, label_map: LabelMap, name: str) -> None:
    strange = [int(class_id) for class_id in ids if not 1 <= class_id <= len(label_map)]
    if strange:
        raise ValueError(f"{name}: class id {strange[0]} is not in the label map (1..{len(label_map)})")


def _mean(values: np.ndarray) -> float | None:
    """The mean of the values that pycocotools could measure. It writes -1 where there is no ground truth."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None
