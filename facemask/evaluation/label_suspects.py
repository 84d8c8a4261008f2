"""Rank labels by how likely they are wrong, from detections of models that were not trained on their pictures.

ObjectLab (Tkachenko, Thyagarajan and Mueller, 2023, https://arxiv.org/abs/2309.00832), in the package cleanlab, ranks
pictures in a similar way. It does not rank boxes without a face. For a missing box or a wrong class it counts only
detections that score at least 0.95, a score that the detectors of this project rarely give.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth
from facemask.detect.opened_detector import one_box_per_face

if TYPE_CHECKING:
    import supervision as sv

WRONG_CLASS, MISSING_BOX, BAD_BOX, BOX_ON_NOTHING = "wrong class", "missing box", "bad box", "box on nothing"
KINDS = (WRONG_CLASS, MISSING_BOX, BAD_BOX, BOX_ON_NOTHING)

SAME_FACE_IOU = 0.5
"""From this IoU on a detection is about the label, and its class is compared with the label's."""

TOUCHING_IOU = 0.1
"""From this IoU to `SAME_FACE_IOU` a label and a detection are about one face, with a bad box (as TIDE has it, Bolya et
al., 2020)."""

MIN_SCORE = 0.05
"""Detections that score less are noise: a detector reports up to 100 in every picture."""

_NEIGHBOURS = 40
"""The labels on either side, in order of size, that count as being of the same size."""

_DISCOUNT = 20.0
"""A sign that one in twenty labels has more strongly counts half. Without it the kind that the detector is worst at
would fill the first part of the ranking. Of planted errors (a quarter of each kind, on one fold of the public set) the
first tenth held 66% with 0, 70% with 5, 74% with 20 and 74% with 40."""

_LEAST_SPREAD = 0.02
"""Of the IoU of labels of the same size, where they all overlap equally well."""


@dataclass(frozen=True)
class Suspect:
    """A label, or a face without a label, with how suspicious it is.

    Attributes:
        kind: One of `KINDS`: the most likely error.
        name: The picture's name.
        suspicion: How likely an error is, at most 1. Suspects are ranked by it. A label without a sign of an error has
            0 or less.
        box: xyxy pixels of the label; for a missing box those of the detection.
        label: The label's class; None for a missing box.
        found_box: xyxy pixels of the detection that it is compared with; None without a detection.
        found_label: That detection's class.
        score: That detection's score; 0 without a detection.
        iou: IoU of the label and the detection; for a missing box the highest with any label.
        reason: The reason, as a clause for the report.
    """

    kind: str
    name: str
    suspicion: float
    box: tuple[float, ...]
    label: str | None
    found_box: tuple[float, ...] | None
    found_label: str | None
    score: float
    iou: float
    reason: str


@dataclass(frozen=True)
class _SeenLabel:
    """A label, and the detections on it.

    Attributes:
        name: The picture's name.
        box: (4) xyxy pixels.
        class_id: Its class.
        class_scores: (K) the best score of each class with an IoU of `SAME_FACE_IOU` and more.
        touching: The best score of any detection with an IoU of `TOUCHING_IOU` and more.
        found_box: (4) the detection that is paired with it, or None.
        found_id: Its class; 0 for none.
        score: Its score; 0 for none.
        iou: Its IoU; 0 for none.
    """

    name: str
    box: np.ndarray
    class_id: int
    class_scores: np.ndarray
    touching: float
    found_box: np.ndarray | None
    found_id: int
    score: float
    iou: float

    @property
    def side(self) -> float:
        """Square root of the area in pixels."""
        return math.sqrt(float(np.prod(self.box[2:] - self.box[:2])))

    @property
    def own_score(self) -> float:
        """The best score of its own class."""
        return float(self.class_scores[self.class_id - 1])

    @property
    def best_other(self) -> int:
        """The other class with the best score, from 0."""
        others = self.class_scores.copy()
        others[self.class_id - 1] = -1
        return int(np.argmax(others))

    @property
    def best_other_score(self) -> float:
        """The score of that class; 0 where there is only one class."""
        return float(self.class_scores[self.best_other]) if len(self.class_scores) > 1 else 0.0


@dataclass(frozen=True)
class _Usual:
    """Usual values of labels of the same size.

    Attributes:
        iou: The median IoU with what was found on them.
        low_iou: The IoU that nine tenths of the labels exceed.
        score: The mean of the best scores near them.
    """

    iou: float
    low_iou: float
    score: float


@dataclass(frozen=True)
class _UnlabelledFace:
    """A detection that is paired with no label; `iou` is its highest IoU with any label."""

    name: str
    box: np.ndarray
    class_id: int
    score: float
    iou: float


def rank_suspects(
    truths: Sequence[GroundTruth], detections: Sequence["sv.Detections"], label_map: LabelMap
) -> tuple[Suspect, ...]:
    """Rank all labels and all detections without a label, the most suspicious first.

    For each label, three kinds of error get a sign: a number on the scale of the detector's scores.

    - wrong class: the best score of another class on the label, minus the best score of its own class;
    - bad box: the detection's score, times how unusually low its IoU with the label is (`_unusual_iou`);
    - box on nothing: the mean of the best scores near labels of the same size, minus the best score near this label.

    A detection without a label gets the sign of a missing box: its score, reduced by its overlap with labels. Each sign
    is discounted by its rank among all signs of its kind (`_DISCOUNT`). The strongest sign of a label counts. Difficult
    labels are not ranked.

    Args:
        truths: The labels of each picture.
        detections: What was found in each picture, in the same order, of every class and with low scores too.
        label_map: The classes of both.

    Example:
        >>> saved = evaluate.read_evaluation(Path("workspace/reports/crossval-ssd"))
        >>> rank_suspects(saved.truths, saved.detections, saved.label_map)[0].reason
        'labelled with_mask, found as without_mask 0.93 and as with_mask 0.02'
    """
    labels: list[_SeenLabel] = []
    faces: list[_UnlabelledFace] = []
    for truth, found in zip(truths, detections, strict=True):
        seen, others = _compare(truth, found, len(label_map))
        labels += seen
        faces += others
    sides = np.array([label.side for label in labels])
    ious = np.array([label.iou or np.nan for label in labels])
    near = np.array([label.touching for label in labels])
    usual = [
        _Usual(*(float(value) for value in values))
        for values in zip(
            _of_same_size(sides, ious, np.nanmedian),
            _of_same_size(sides, ious, _lowest_tenth),
            _of_same_size(sides, near, np.nanmean),
            strict=True,
        )
    ]
    signs = {
        WRONG_CLASS: [label.best_other_score - label.own_score for label in labels],
        BAD_BOX: [_sign_of_bad_box(label, about) for label, about in zip(labels, usual, strict=True)],
        BOX_ON_NOTHING: [about.score - label.touching for label, about in zip(labels, usual, strict=True)],
        MISSING_BOX: [face.score * (1 - face.iou) for face in faces],
    }
    strength = {kind: _discounted(np.array(values), len(labels)) for kind, values in signs.items()}
    suspects = []
    for index, (label, about) in enumerate(zip(labels, usual, strict=True)):
        kind = max((WRONG_CLASS, BAD_BOX, BOX_ON_NOTHING), key=lambda one: strength[one][index])
        suspects.append(_suspected_label(label, kind, float(strength[kind][index]), about, label_map))
    suspects += [
        _suspected_face(face, float(value), label_map) for face, value in zip(faces, strength[MISSING_BOX], strict=True)
    ]
    return tuple(sorted(suspects, key=lambda one: (-one.suspicion, one.name, one.box)))


def _discounted(signs: np.ndarray, labels: int) -> np.ndarray:
    """The signs of one kind, each discounted by its rank, as a share of the number of labels."""
    places = np.empty(len(signs))
    places[np.argsort(-signs, kind="stable")] = np.arange(len(signs))
    return np.where(signs > 0, signs / (1 + _DISCOUNT * places / max(labels, 1)), signs)


def _compare(
    truth: GroundTruth, found: "sv.Detections", classes: int
) -> tuple[list[_SeenLabel], list[_UnlabelledFace]]:
    """Pair the labels of a picture with its detections, the highest IoU first."""
    import supervision as sv

    found = found[np.asarray(found.confidence) >= MIN_SCORE]
    faces = one_box_per_face(found)
    boxes = truth.boxes.astype(float)

    def overlaps(detections: sv.Detections) -> np.ndarray:
        if not len(boxes) or not len(detections):
            return np.zeros((len(boxes), len(detections)))
        return np.asarray(sv.box_iou_batch(boxes, detections.xyxy.astype(float)))

    all_ious, face_ious = overlaps(found), overlaps(faces)
    face_of: dict[int, int] = {}
    for place in np.argsort(-face_ious, axis=None, kind="stable"):
        box, face = (int(index) for index in np.unravel_index(place, face_ious.shape))
        if face_ious[box, face] < TOUCHING_IOU:
            break
        if box not in face_of and face not in face_of.values():
            face_of[box] = face
    labels = []
    for box in np.flatnonzero(~truth.difficult.astype(bool)).tolist():
        near = all_ious[box] >= SAME_FACE_IOU
        of_class = [near & (found.class_id == number) for number in range(1, classes + 1)]
        paired = face_of.get(box)
        labels.append(
            _SeenLabel(
                name=truth.name,
                box=boxes[box],
                class_id=int(truth.class_ids[box]),
                class_scores=np.array([found.confidence[one].max(initial=0) for one in of_class], float),
                touching=float(found.confidence[all_ious[box] >= TOUCHING_IOU].max(initial=0)),
                found_box=None if paired is None else faces.xyxy[paired].astype(float),
                found_id=0 if paired is None else int(faces.class_id[paired]),
                score=0.0 if paired is None else float(faces.confidence[paired]),
                iou=0.0 if paired is None else float(face_ious[box, paired]),
            )
        )
    taken = set(face_of.values())
    unlabelled = [
        _UnlabelledFace(
            name=truth.name,
            box=faces.xyxy[face].astype(float),
            class_id=int(faces.class_id[face]),
            score=float(faces.confidence[face]),
            iou=float(face_ious[:, face].max(initial=0)),
        )
        for face in range(len(faces))
        if face not in taken
    ]
    return labels, unlabelled


def _of_same_size(sides: np.ndarray, values: np.ndarray, average: Callable[[np.ndarray], float]) -> np.ndarray:
    """For each label, the average value of the labels of its size; nan if these have no value.

    Args:
        sides: (n) sizes.
        values: (n) values; nan is left out.
        average: Leaves nan out, like `np.nanmedian`.
    """
    order = np.argsort(sides, kind="stable")
    found = np.full(len(sides), np.nan)
    for place, index in enumerate(order):
        low = max(0, min(place - _NEIGHBOURS, len(order) - 2 * _NEIGHBOURS - 1))
        same_size = values[order[low : low + 2 * _NEIGHBOURS + 1]]
        if not np.isnan(same_size).all():
            found[index] = average(same_size)
    return found


def _lowest_tenth(values: np.ndarray) -> float:
    return float(np.nanquantile(values, 0.1))


def _sign_of_bad_box(label: _SeenLabel, usual: _Usual) -> float:
    return label.score * _unusual_iou(label.iou, usual.iou, usual.low_iou) if label.iou else -1.0


def _unusual_iou(iou: float, usual: float, low: float) -> float:
    """How unusual an IoU is, 0..1: 0 from the usual one up, 1/3 at the lowest tenth, near 1 at thrice that distance."""
    distance = max(usual - iou, 0.0) / max(usual - low, _LEAST_SPREAD)
    return distance**2 / (distance**2 + 2)


def _suspected_label(label: _SeenLabel, kind: str, suspicion: float, usual: _Usual, label_map: LabelMap) -> Suspect:
    name = label_map.name_of(label.class_id)
    if kind == WRONG_CLASS:
        other = label_map.names[label.best_other]
        reason = f"labelled {name}, found as {other} {label.best_other_score:.2f} and as {name} {label.own_score:.2f}"
    elif kind == BAD_BOX:
        reason = f"IoU {label.iou:.2f} with what was found ({label.score:.2f}); faces of this size usually have "
        reason += f"{usual.iou:.2f}"
    else:
        reason = f"the best score near it is {label.touching:.2f}; faces of this size usually have {usual.score:.2f}"
    return Suspect(
        kind=kind,
        name=label.name,
        suspicion=round(suspicion, 6),
        box=_as_tuple(label.box),
        label=name,
        found_box=None if label.found_box is None else _as_tuple(label.found_box),
        found_label=label_map.name_of(label.found_id) if label.found_id else None,
        score=label.score,
        iou=label.iou,
        reason=reason,
    )


def _suspected_face(face: _UnlabelledFace, suspicion: float, label_map: LabelMap) -> Suspect:
    name, box = label_map.name_of(face.class_id), _as_tuple(face.box)
    return Suspect(
        kind=MISSING_BOX,
        name=face.name,
        suspicion=round(suspicion, 6),
        box=box,
        label=None,
        found_box=box,
        found_label=name,
        score=face.score,
        iou=face.iou,
        reason=f"found {name} {face.score:.2f} where no label is",
    )


def _as_tuple(box: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in box)
