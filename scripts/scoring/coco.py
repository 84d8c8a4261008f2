"""COCO's figures, by pycocotools: AP and recall over all classes, per class and per size.

How the figures are made, everywhere in this package:

- A detection's box is matched to truth of its own class, highest score first, as COCO does it.
- At most `MAX_DETECTIONS` detections a class and image count. It is COCO's number, the one that the Object Detection
  API uses, and so the one under which figures can be compared; a crowd with more faces than that cannot be found whole.
- Truth that is marked `difficult` is COCO's `iscrowd`: finding it earns nothing, missing it costs nothing, and
  detections that lie on it are not false alarms. The files say so too, so other tools come to the same figures.
- A class without truth has no AP: its figures are None, and averages are taken over the other classes.
- Boxes are taken to 1/10,000 pixel and scores to float32, as they are written to `predictions.json`: what is computed
  from the files is what was computed in the first place.
"""

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scripts.dataset.label_map import LabelMap
from scripts.dataset.truth import Truth

if TYPE_CHECKING:
    import supervision as sv
    from pycocotools.cocoeval import COCOeval

MAX_DETECTIONS = 100
"""Detections that count per class and image: pycocotools' own number (`Params.maxDets`)."""

SIZES = ("all", "small", "medium", "large")
"""COCO's sizes by the area of the truth in pixels: small under 32^2, medium to 96^2, large above."""


@dataclass(frozen=True)
class SizeFigures:
    """Figures over the truth of one size; None where there is no such truth."""

    size: str
    boxes: int
    ap: float | None
    ap50: float | None
    recall: float | None
    recall50: float | None


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class; None where the class has no truth. `boxes` leaves out the difficult ones."""

    name: str
    boxes: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    recall: float | None
    recall50: float | None
    sizes: tuple[SizeFigures, ...]


@dataclass(frozen=True)
class Figures:
    """COCO's figures of a detector on a set of images, from 0 to 1; None where there is no truth to measure.

    Attributes:
        map: Mean AP over IoU 0.50, 0.55, ... 0.95 and the classes: COCO's headline figure, mAP@[.5:.95].
        map50: Mean AP at IoU 0.5, over the classes.
        map75: Mean AP at IoU 0.75, over the classes.
        recall: Mean over classes and IoU 0.50 ... 0.95 of the recall of all detections: COCO's AR@100.
        recall50: The same at IoU 0.5.
        images: Images measured.
        boxes: Truth boxes measured, the difficult ones left out.
        difficult: Truth boxes left out as difficult.
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
    classes: tuple[ClassFigures, ...]
    sizes: tuple[SizeFigures, ...]


@dataclass(frozen=True)
class Matches:
    """What became of every detection of one class, highest score first.

    Attributes:
        name: The class.
        ious: (T,) the IoU thresholds 0.5, 0.55, ... 0.95.
        scores: (D,) scores, falling.
        images: (D,) index of each detection's image in the truths given.
        hits: (T, D) bool: matched a truth box.
        ignored: (T, D) bool: lies on a difficult truth box and counts as neither right nor wrong.
        truths: (I,) truth boxes of this class in each image, the difficult ones left out.
    """

    name: str
    ious: np.ndarray
    scores: np.ndarray
    images: np.ndarray
    hits: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


def evaluate(
    truths: Sequence[Truth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    max_detections: int = MAX_DETECTIONS,
) -> Figures:
    """Measure detections against the truth.

    Args:
        truths: The truth of each image; image ids are unique.
        detections: The detections of each image in the same order: all that the model gives, unfiltered.
        label_map: The classes of both.
        max_detections: Detections that count per class and image.

    Raises:
        ValueError: Truths and detections differ in number, an image id comes twice, or a class id is not in the
            label map.

    Example:
        >>> evaluate(truths, [detector.detect([image])[0] for image in images], label_map).map50
        0.83
    """
    return figures_of(run_cocoeval(truths, detections, label_map, max_detections), label_map)


def match(
    truths: Sequence[Truth],
    detections: Sequence["sv.Detections"],
    label_map: LabelMap,
    max_detections: int = MAX_DETECTIONS,
) -> tuple[Matches, ...]:
    """The matches behind `evaluate`, one for each class: for curves, thresholds, calibration and resampling."""
    return matches_of(run_cocoeval(truths, detections, label_map, max_detections), label_map)


def run_cocoeval(
    truths: Sequence[Truth], detections: Sequence["sv.Detections"], label_map: LabelMap, max_detections: int
) -> "COCOeval":
    """Run pycocotools, for `figures_of` and `matches_of`: one matching serves both."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    dataset = truth_to_coco(truths, label_map)
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


def figures_of(run: "COCOeval", label_map: LabelMap) -> Figures:
    """The figures of a finished run of pycocotools."""
    precision = run.eval["precision"][..., 0]  # (IoU, recall point, class, size)
    recall = run.eval["recall"][..., 0]  # (IoU, class, size)
    annotations = run.cocoGt.dataset["annotations"]
    counted = [annotation for annotation in annotations if not annotation["iscrowd"]]
    every = slice(None)

    def in_size(size: int, class_id: int | None = None) -> int:
        low, high = run.params.areaRng[size]
        return sum(low <= a["area"] <= high and class_id in (None, a["category_id"]) for a in counted)

    def by_size(classes: Any, class_id: int | None = None) -> tuple[SizeFigures, ...]:
        return tuple(
            SizeFigures(
                size=SIZES[size],
                boxes=in_size(size, class_id),
                ap=_mean(precision[:, :, classes, size]),
                ap50=_mean(precision[0, :, classes, size]),
                recall=_mean(recall[:, classes, size]),
                recall50=_mean(recall[0, classes, size]),
            )
            for size in range(1, len(SIZES))
        )

    return Figures(
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
            ClassFigures(
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


def matches_of(run: "COCOeval", label_map: LabelMap) -> tuple[Matches, ...]:
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


def truth_to_coco(truths: Sequence[Truth], label_map: LabelMap) -> dict[str, Any]:
    """The truth as a COCO data set (`images`, `annotations`, `categories`), ready for JSON.

    Raises:
        ValueError: An image id comes twice or a class id is not in the label map.
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
    truths: Sequence[Truth], detections: Iterable["sv.Detections"], label_map: LabelMap
) -> list[dict[str, Any]]:
    """Detections in COCO's result format: `image_id`, `category_id`, `bbox` (x, y, width, height), `score`.

    Raises:
        ValueError: Truths and detections differ in number, or a class id is not in the label map.
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


def from_coco(
    dataset: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[list[Truth], list["sv.Detections"], LabelMap]:
    """The way back from `truth_to_coco` and `detections_to_coco`: the same figures come out.

    Raises:
        ValueError, KeyError, TypeError: It is not such a data set with such results.
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
        Truth(
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
    """The mean of what pycocotools could measure; it writes -1 where there is no truth."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None
