import io

import numpy as np
import pytest
from made_detections import found, street, truth
from rich.console import Console

from facemask.evaluation import confusion, mistakes
from facemask.evaluation.report import metric_tables

HALF = (0.5, 0.5, 0.5)


def count(truths, detections, thresholds=HALF):
    pairings = [confusion.pair_detections(t, d, thresholds) for t, d in zip(truths, detections, strict=True)]
    return confusion.confusion_matrix(truths, detections, pairings, 3), mistakes.find_mistakes(
        truths, detections, pairings
    )


def kinds(made):
    return [mistake.kind for mistake in made]


def test_perfect_is_a_diagonal():
    truths = [truth(1, (1, 0, 0, 50, 50), (2, 100, 0, 150, 50), (3, 200, 0, 250, 50))]
    seen = [found((0.9, 1, 0, 0, 50, 50), (0.8, 2, 100, 0, 150, 50), (0.7, 3, 200, 0, 250, 50))]
    counts, made = count(truths, seen)
    assert counts.tolist() == np.diag([1, 1, 1, 0]).tolist()
    assert made == ()


def test_each_kind_of_mistake_once():
    truths = [
        truth(
            1,
            (1, 0, 0, 50, 50),  # found as class 2: wrong class
            (2, 100, 0, 150, 50),  # missed
            (3, 200, 0, 250, 50),  # found 30 px to the right: IoU 20/80 = 0.25, a bad box
        )
    ]
    seen = [found((0.9, 2, 0, 0, 50, 50), (0.8, 3, 230, 0, 280, 50), (0.7, 1, 400, 0, 450, 50))]
    counts, made = count(truths, seen)
    # Rows are the truth: 1 taken for 2; 2 and 3 for background (the bad box found nothing); two false alarms, of
    # which one is the bad box.
    assert counts.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [1, 0, 1, 0]]
    assert kinds(made) == ["missed face", "false alarm", "wrong class", "bad box"]
    missed, alarm, wrong, bad = made
    assert (missed.truth_id, missed.box, missed.weight) == (2, None, 2500)
    assert (alarm.class_id, alarm.truth_box, alarm.score) == (1, None, pytest.approx(0.7))
    assert (wrong.truth_id, wrong.class_id, wrong.iou) == (1, 2, 1)
    assert (bad.truth_id, bad.iou, bad.weight) == (3, pytest.approx(0.25), pytest.approx(0.8 * 0.25))


def test_the_highest_score_chooses_first():
    # Both boxes fit the one face; the lower score fits it better and would win by IoU.
    truths = [truth(1, (1, 0, 0, 100, 100))]
    seen = [found((0.6, 2, 0, 0, 100, 100), (0.9, 1, 5, 0, 100, 100))]
    counts, made = count(truths, seen)
    assert counts.tolist() == [[1, 0, 0, 0], [0] * 4, [0] * 4, [0, 1, 0, 0]]
    assert kinds(made) == ["false alarm"]
    assert made[0].iou == 1  # a second box on a found face: a false alarm, not a bad box


def test_a_detection_takes_the_face_it_fits_best():
    truths = [truth(1, (1, 0, 0, 100, 100), (2, 20, 0, 120, 100))]
    counts, _ = count(truths, [found((0.9, 2, 18, 0, 118, 100))])
    assert counts[1, 1] == 1
    assert counts[0, 3] == 1


def test_thresholds_are_each_class_s_own():
    truths = [truth(1, (1, 0, 0, 50, 50), (2, 100, 0, 150, 50))]
    seen = [found((0.3, 1, 0, 0, 50, 50), (0.3, 2, 100, 0, 150, 50))]
    counts, _ = count(truths, seen, (0.3, 0.31, 0.5))  # 0.3 in float32 is a little more than 0.3: still kept
    assert (counts[0, 0], counts[1, 1], counts[1, 3]) == (1, 0, 1)


def test_difficult_faces_are_nobody_s_mistake():
    truths = [truth(1, (1, 0, 0, 50, 50, True), (1, 100, 0, 150, 50, True))]
    counts, made = count(truths, [found((0.9, 2, 0, 0, 50, 50), (0.8, 1, 0, 0, 50, 50))])
    assert counts.sum() == 0
    assert made == ()


def test_none():
    truths = [truth(1, (1, 0, 0, 50, 50)), truth(2)]
    counts, made = count(truths, [found(), found()])
    assert counts.tolist() == [[0, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4]
    assert kinds(made) == ["missed face"]


def test_everything_is_counted_once():
    truths, detections = street(50, seed=5)
    counts, made = count(truths, detections)
    assert counts[:3].sum(axis=1).tolist() == [sum(int((t.class_ids == i).sum()) for t in truths) for i in (1, 2, 3)]
    assert counts.sum(axis=0)[:3].tolist() == [
        sum(int(((d.class_id == i) & (d.confidence >= 0.5)).sum()) for d in detections) for i in (1, 2, 3)
    ]
    assert kinds(made).count("wrong class") == counts[:3, :3].sum() - np.trace(counts[:3, :3])
    # A bad box stands for both the false alarm and the missed face that the matrix counts.
    assert kinds(made).count("false alarm") + kinds(made).count("bad box") == counts[3].sum()
    assert kinds(made).count("missed face") + kinds(made).count("bad box") == counts[:, 3].sum()
    assert [m.weight for m in made if m.kind == "false alarm"] == sorted(
        (m.weight for m in made if m.kind == "false alarm"), reverse=True
    )


def test_a_narrow_terminal_cuts_no_class():
    labels = ["with_mask", "without_mask", "mask_weared_incorrect", "background"]
    table = metric_tables._confusion(labels, np.zeros((4, 4), int))
    console = Console(width=70, record=True, file=io.StringIO())
    console.print(table)
    lines = [line.split("┃")[2:-1] for line in console.export_text().splitlines() if line.startswith("┃")]
    assert ["".join(cells).replace(" ", "") for cells in zip(*lines, strict=True)] == labels
