"""Planted errors are found, each kind by its own sign."""

from collections import Counter

import numpy as np
import pytest
from made_detections import CLASSES, found, truth

from facemask.evaluation import label_suspects, planted_errors
from facemask.evaluation.label_suspects import BAD_BOX, BOX_ON_NOTHING, KINDS, MISSING_BOX, WRONG_CLASS
from facemask.evaluation.planted_errors import PlantedError


def seen_by_a_good_detector(pictures=150, seed=0):
    """Labels, and detections that miss 4% of them, take 3% for another class and invent one box in ten pictures."""
    random = np.random.default_rng(seed)
    truths, detections = [], []
    for number in range(1, pictures + 1):
        boxes, seen = [], []
        for column in random.permutation(6)[: random.integers(1, 6)]:
            side = float(np.exp(random.uniform(np.log(12), np.log(90))))
            x, y = 105 * column + random.uniform(0, 10), random.uniform(0, 380)
            class_id = int(random.choice([1, 2, 3], p=[0.78, 0.18, 0.04]))
            boxes.append((class_id, x, y, x + side, y + side))
            if random.random() < 0.04:
                continue
            named = class_id if random.random() < 0.97 else class_id % 3 + 1
            shaken = np.array([x, y, x + side, y + side]) + random.normal(0, 0.05 * side, 4)
            sure = random.beta(9, 2)
            seen.append((sure, named, *shaken))
            seen.append((0.1 * (1 - sure), named % 3 + 1, *shaken))
        if random.random() < 0.1:
            x, y = random.uniform(0, 560), random.uniform(0, 400)
            seen.append((random.beta(4, 4), 1, x, y, x + 40, y + 40))
        seen.append((0.02, 1, 300, 300, 330, 330))  # noise, under MIN_SCORE
        truths.append(truth(number, *boxes))
        detections.append(found(*seen))
    return truths, detections


@pytest.mark.parametrize("seed", range(3))
def test_the_first_tenth_holds_most_planted_errors(seed):
    truths, detections = seen_by_a_good_detector(seed=seed)
    labels = sum(len(one.boxes) for one in truths)
    damaged, errors = planted_errors.plant_errors(truths, CLASSES, 0.05, seed)
    assert len(errors) == round(0.05 * labels)
    ranked = label_suspects.rank_suspects(damaged, detections, CLASSES)
    counted = planted_errors.count_found(ranked[: labels // 10], errors)
    assert sum(one.planted for one in counted) == len(errors)
    assert sum(one.found for one in counted) >= 0.6 * len(errors), counted
    assert all(one.named >= one.planted / 3 for one in counted), counted
    # By chance a tenth would be found.
    by_chance = np.random.default_rng(0).permutation(np.array(ranked, dtype=object))[: labels // 10]
    assert sum(one.found for one in planted_errors.count_found(by_chance, errors)) < 0.3 * len(errors)


def test_each_kind_has_its_reason():
    faces = [(1, 10 + 60 * place, 20, 50 + 60 * place, 60) for place in range(8)]
    seen = [(0.9, *face) for face in faces]
    right = [(truth(number, *faces), found(*seen)) for number in range(1, 8)]

    def first(labels, detections):
        pairs = [*right, (truth(8, *labels, name="odd.jpg"), found(*detections))]
        return label_suspects.rank_suspects([one for one, _ in pairs], [two for _, two in pairs], CLASSES)[0]

    suspect = first([(2, *faces[0][1:]), *faces[1:]], seen)
    assert (suspect.name, suspect.kind, suspect.label, suspect.found_label) == (
        "odd.jpg", WRONG_CLASS, "without_mask", "with_mask",
    )  # fmt: skip
    assert suspect.reason == "labelled without_mask, found as with_mask 0.90 and as without_mask 0.00"
    assert suspect.box == faces[0][1:]

    suspect = first(faces[1:], seen)
    assert (suspect.name, suspect.kind, suspect.label, suspect.box) == ("odd.jpg", MISSING_BOX, None, faces[0][1:])
    assert suspect.reason == "found with_mask 0.90 where no label is"

    suspect = first([(1, 30, 30, 70, 60), *faces[1:]], seen)
    assert (suspect.name, suspect.kind) == ("odd.jpg", BAD_BOX)
    assert suspect.iou == pytest.approx(600 / (1600 + 1200 - 600))
    assert "usually have 1.00" in suspect.reason

    suspect = first([*faces, (1, 300, 300, 340, 340)], seen)
    assert (suspect.name, suspect.kind, suspect.found_box) == ("odd.jpg", BOX_ON_NOTHING, None)
    assert suspect.reason == "the best score near it is 0.00; faces of this size usually have 0.89"


def test_difficult_labels_are_not_ranked_and_their_faces_not_missing():
    ranked = label_suspects.rank_suspects(
        [truth(1, (1, 10, 10, 50, 50, True), (1, 100, 10, 140, 50))], [found((0.9, 2, 10, 10, 50, 50))], CLASSES
    )
    assert [one.box for one in ranked] == [(100, 10, 140, 50)]


def test_pictures_without_labels_or_detections():
    assert label_suspects.rank_suspects([truth(1)], [found()], CLASSES) == ()
    [one] = label_suspects.rank_suspects([truth(1)], [found((0.9, 2, 10, 10, 50, 50))], CLASSES)
    assert (one.kind, one.suspicion) == (MISSING_BOX, pytest.approx(0.9))
    [one] = label_suspects.rank_suspects([truth(1, (1, 10, 10, 50, 50))], [found()], CLASSES)
    assert one.label == "with_mask"


def test_planting_damages_what_it_says_and_nothing_else():
    truths, _ = seen_by_a_good_detector()
    damaged, errors = planted_errors.plant_errors(truths, CLASSES, 0.2, 1)
    assert planted_errors.plant_errors(truths, CLASSES, 0.2, 1)[1] == errors
    assert planted_errors.plant_errors(truths, CLASSES, 0.2, 2)[1] != errors
    kinds = Counter(error.kind for error in errors)
    assert set(kinds) == set(KINDS)
    assert max(kinds.values()) - min(kinds.values()) <= 1

    def labels(pictures):
        return Counter(
            (one.name, int(class_id), *box)
            for one in pictures
            for class_id, box in zip(one.class_ids, one.boxes.tolist(), strict=True)
        )

    before, after = labels(truths), labels(damaged)
    gone, new = before - after, after - before
    assert len(gone) == kinds[WRONG_CLASS] + kinds[MISSING_BOX] + kinds[BAD_BOX]
    assert len(new) == kinds[WRONG_CLASS] + kinds[BAD_BOX] + kinds[BOX_ON_NOTHING]
    boxes = {(label[0], label[2:]) for label in new}
    assert {(one.name, one.box) for one in errors if one.kind != MISSING_BOX} == boxes
    assert {(one.name, one.box) for one in errors if one.kind == MISSING_BOX} <= {(one[0], one[2:]) for one in gone}
    for picture in damaged:
        assert (picture.boxes >= 0).all()
        assert (picture.boxes[:, 2:] <= (picture.width, picture.height)).all()


def test_a_planted_error_is_found_by_its_own_box_only():
    [suspect] = label_suspects.rank_suspects([truth(1)], [found((0.9, 1, 10, 10, 50, 50))], CLASSES)
    for box, expected in (((10.0, 10.0, 50.0, 50.0), 1), ((10.0, 10.0, 50.0, 70.0), 1), ((60.0, 60.0, 90.0, 90.0), 0)):
        counted = planted_errors.count_found([suspect], [PlantedError(MISSING_BOX, "1.jpg", box)])
        assert [one.found for one in counted] == [0, expected, 0, 0]
    # A suspect without a label does not find a damaged label.
    counted = planted_errors.count_found([suspect], [PlantedError(BAD_BOX, "1.jpg", suspect.box)])
    assert sum(one.found for one in counted) == 0
