"""Plant errors into labels, to measure how many of them a ranking of suspects finds."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facemask.core.label_map import LabelMap
from facemask.data.labelled_picture import GroundTruth
from facemask.evaluation import label_suspects
from facemask.evaluation.evaluate import SavedEvaluation
from facemask.evaluation.held_out_labels import HeldOutLabels
from facemask.evaluation.label_suspects import BAD_BOX, KINDS, MISSING_BOX, WRONG_CLASS, Suspect

BAD_IOU = (0.2, 0.6)
"""IoU of a planted bad box with the box that it replaces."""

FIRST_PART = 0.1
"""`measure_planting` looks at this part of the ranking, counted in labels."""

_TRIES = 200


@dataclass(frozen=True)
class PlantedError:
    """An error that was planted.

    Attributes:
        kind: One of `label_suspects.KINDS`.
        name: The picture's name.
        box: xyxy pixels of the damaged label; for a missing box those of the label that was removed.
    """

    kind: str
    name: str
    box: tuple[float, ...]


@dataclass(frozen=True)
class PlantedFound:
    """How many planted errors of a kind are among suspects.

    Attributes:
        kind: One of `label_suspects.KINDS`.
        planted: How many were planted.
        found: How many of them are among the suspects, whatever kind the ranking takes them for.
        named: How many of them are among them as errors of this kind.
    """

    kind: str
    planted: int
    found: int
    named: int


def plant_errors(
    truths: Sequence[GroundTruth], label_map: LabelMap, share: float, seed: int
) -> tuple[list[GroundTruth], list[PlantedError]]:
    """Damage a share of the labels, equally many in each of the four ways; in the other three if there is one class.

    A wrong class is another class at random. A missing box is removed. A bad box is moved and scaled to an IoU in
    `BAD_IOU` with its old self. A box on nothing is one more box, of the same size and class, where no box is.

    Args:
        truths: The labels of each picture.
        label_map: The classes.
        share: Part of the labels that are damaged, in 0..1.
        seed: The same seed plants the same errors.

    Returns:
        The damaged labels of each picture, and the errors.

    Example:
        >>> damaged, errors = plant_errors(truths, label_map, 0.05, seed=0)
    """
    random = np.random.default_rng(seed)
    boxes = [truth.boxes.astype(float).copy() for truth in truths]
    classes = [truth.class_ids.copy() for truth in truths]
    difficult = [truth.difficult.astype(bool).copy() for truth in truths]
    removed: list[set[int]] = [set() for _ in truths]
    places = [(picture, box) for picture, truth in enumerate(truths) for box in range(len(truth.boxes))]
    errors: list[PlantedError] = []
    kinds = KINDS if len(label_map) > 1 else tuple(kind for kind in KINDS if kind != WRONG_CLASS)
    wanted = round(share * len(places))
    for place in random.permutation(len(places)):
        if len(errors) == wanted:
            break
        picture, index = places[place]
        truth, kind = truths[picture], kinds[len(errors) % len(kinds)]
        old = truth.boxes[index].astype(float)
        marked: np.ndarray | None = old
        if kind == WRONG_CLASS:
            others = [number for number in range(1, len(label_map) + 1) if number != classes[picture][index]]
            classes[picture][index] = random.choice(others)
        elif kind == MISSING_BOX:
            removed[picture].add(index)
        elif kind == BAD_BOX:
            marked = _distorted(old, truth, random)
            if marked is not None:
                boxes[picture][index] = marked
        else:
            marked = _elsewhere(old, boxes[picture], truth, random)
            if marked is not None:
                boxes[picture] = np.vstack([boxes[picture], marked])
                classes[picture] = np.append(classes[picture], truth.class_ids[index])
                difficult[picture] = np.append(difficult[picture], False)
        if marked is not None:
            errors.append(PlantedError(kind, truth.name, tuple(marked.tolist())))
    damaged = []
    for picture, truth in enumerate(truths):
        kept = np.array([index not in removed[picture] for index in range(len(boxes[picture]))], bool)
        arrays = (boxes[picture][kept], classes[picture][kept], difficult[picture][kept])
        damaged.append(dataclasses.replace(truth, boxes=arrays[0], class_ids=arrays[1], difficult=arrays[2]))
    return damaged, errors


def count_found(suspects: Sequence[Suspect], errors: Sequence[PlantedError]) -> tuple[PlantedFound, ...]:
    """Count the planted errors among suspects, such as the first tenth of a ranking, by kind.

    A damaged label is found by the suspect of that very label; a removed one by a suspect without a label whose box
    overlaps it with an IoU of 0.5 or more.

    Args:
        suspects: The suspects that a person would look at.
        errors: What was planted.
    """
    first: dict[str, list[Suspect]] = {}
    for suspect in suspects:
        first.setdefault(suspect.name, []).append(suspect)
    counted = []
    for kind in KINDS:
        planted = [error for error in errors if error.kind == kind]
        hits = [[one for one in first.get(error.name, ()) if _points_at(one, error)] for error in planted]
        found = sum(bool(hit) for hit in hits)
        named = sum(any(one.kind == kind for one in hit) for hit in hits)
        counted.append(PlantedFound(kind, len(planted), found, named))
    return tuple(counted)


def _points_at(suspect: Suspect, error: PlantedError) -> bool:
    if error.kind == MISSING_BOX:
        return suspect.label is None and _iou(suspect.box, error.box) >= 0.5
    return suspect.label is not None and suspect.box == error.box


def _distorted(box: np.ndarray, truth: GroundTruth, random: np.random.Generator) -> np.ndarray | None:
    """The box moved and scaled inside its picture; None where chance finds no place."""
    side = box[2:] - box[:2]
    for _ in range(_TRIES):
        center = (box[:2] + box[2:]) / 2 + random.uniform(-0.5, 0.5, 2) * side
        half = side / 2 * np.exp(random.uniform(-0.5, 0.5, 2))
        moved = _inside(np.concatenate([center - half, center + half]), truth)
        if BAD_IOU[0] <= _iou(tuple(moved), tuple(box)) <= BAD_IOU[1]:
            return moved
    return None


def _elsewhere(
    box: np.ndarray, taken: np.ndarray, truth: GroundTruth, random: np.random.Generator
) -> np.ndarray | None:
    """A box of the same size that touches no other; None where chance finds no place."""
    side = box[2:] - box[:2]
    room = np.array([truth.width, truth.height]) - side
    for _ in range(_TRIES):
        corner = random.uniform(0, np.maximum(room, 0))
        moved = _inside(np.concatenate([corner, corner + side]), truth)
        if not any(_iou(tuple(moved), tuple(other)) > 0 for other in taken):
            return moved
    return None


def _inside(box: np.ndarray, truth: GroundTruth) -> np.ndarray:
    return np.asarray(np.clip(box, 0, [truth.width, truth.height, truth.width, truth.height]))


def _iou(box: Sequence[float], other: Sequence[float]) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = (box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return float(width * height / (areas - width * height))


def measure_planting(
    labels: HeldOutLabels, saved: SavedEvaluation, share: float, seeds: Sequence[int]
) -> tuple[PlantedFound, ...]:
    """Plant errors, rank again, and count how many the first tenth of the ranking holds, over several seeds.

    The models behind the detections learned from labels without the planted errors. Real errors are in what they
    learned from too, and are found somewhat less well.

    Args:
        labels: The labels and the detections.
        saved: The evaluation, for its classes.
        share: Part of the labels to damage.
        seeds: One planting for each.
    """
    totals = {kind: PlantedFound(kind, 0, 0, 0) for kind in KINDS}
    for seed in seeds:
        damaged, errors = plant_errors(labels.truths, saved.label_map, share, seed)
        ranked = label_suspects.rank_suspects(damaged, labels.detections, saved.label_map)
        for one in count_found(ranked[: round(FIRST_PART * labels.boxes)], errors):
            before = totals[one.kind]
            totals[one.kind] = PlantedFound(
                one.kind, before.planted + one.planted, before.found + one.found, before.named + one.named
            )
    return tuple(totals.values())


def planting_text(counted: Sequence[PlantedFound]) -> str:
    """The counts of `measure_planting` as a table for people."""
    total = PlantedFound(
        "all", sum(one.planted for one in counted), sum(one.found for one in counted), sum(one.named for one in counted)
    )
    lines = [f"{'planted':16}{'':>8}{'found':>8}{'named':>8}"]
    for one in (*counted, total):
        found, named = (f"{100 * part / max(one.planted, 1):.0f}%" for part in (one.found, one.named))
        lines.append(f"{one.kind:16}{one.planted:8,}{found:>8}{named:>8}")
    return "\n".join(lines)
