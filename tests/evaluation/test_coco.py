"""Detections whose score is known: every figure here is worked out in the comment beside it."""

import contextlib
import dataclasses
import io
import json
import tracemalloc

import numpy as np
import pytest
from made_detections import CLASSES, found, street, truth

from facemask.evaluation import coco

FACES = [
    truth(1, (1, 0, 0, 100, 100), (2, 200, 0, 300, 100)),
    truth(2, (1, 50, 50, 150, 150)),
]


def exactly(truths, score=0.9):
    return [
        found(*((score, class_id, *box) for class_id, box in zip(t.class_ids, t.boxes, strict=True))) for t in truths
    ]


def test_perfect_detections_score_one_and_absent_classes_score_nothing():
    figures = coco.evaluate_detections(FACES, exactly(FACES), CLASSES)
    assert (figures.map, figures.map50, figures.map75, figures.recall) == pytest.approx((1, 1, 1, 1))
    with_mask, without_mask, incorrect = figures.classes
    assert (with_mask.ap, with_mask.boxes, without_mask.ap, without_mask.boxes) == pytest.approx((1, 2, 1, 1))
    # No truth of the third class: no figure, and the mean above is over the other two.
    assert (incorrect.ap, incorrect.ap50, incorrect.recall, incorrect.boxes) == (None, None, None, 0)
    # 100 px squares are large (area 10,000 > 96^2 = 9,216).
    assert [(size.size, size.boxes, size.ap) for size in figures.sizes] == [
        ("small", 0, None),
        ("medium", 0, None),
        ("large", 3, pytest.approx(1)),
    ]


@pytest.mark.parametrize(
    ("shift", "counted"),
    [
        # A square of 100 px shifted by s: IoU = (100 - s) / (100 + s).
        (10, 7),  # 90/110 = 0.818: a hit at 0.50, 0.55 ... 0.80, which is 7 of the 10 thresholds
        (25, 3),  # 75/125 = 0.600: a hit at 0.50, 0.55, 0.60
        (33, 1),  # 67/133 = 0.504: a hit at 0.50 alone
        (34, 0),  # 66/134 = 0.493: none
    ],
)
def test_shifted_by_a_known_iou(shift, counted):
    truths = [truth(1, (1, 0, 0, 100, 100))]
    figures = coco.evaluate_detections(truths, [found((0.8, 1, shift, 0, 100 + shift, 100))], CLASSES)
    assert figures.map == pytest.approx(counted / 10)
    assert figures.map50 == pytest.approx(float(counted > 0))
    assert figures.recall == pytest.approx(counted / 10)


def test_wrong_class_finds_nothing():
    truths = [truth(1, (1, 0, 0, 100, 100))]
    figures = coco.evaluate_detections(truths, [found((0.9, 2, 0, 0, 100, 100))], CLASSES)
    # with_mask has a box that nothing found; without_mask has no truth, so its false alarm enters no average.
    assert (figures.map, figures.recall) == (0, 0)
    assert [one.ap for one in figures.classes] == [0, None, None]


def test_doubled_detections_cost_precision_behind_a_miss():
    truths = [truth(1, (1, 0, 0, 100, 100), (1, 200, 0, 300, 100))]
    doubled = found((0.9, 1, 0, 0, 100, 100), (0.8, 1, 0, 0, 100, 100), (0.7, 1, 200, 0, 300, 100))
    # By score: hit (recall 1/2, precision 1/1), double (1/2, 1/2), hit (2/2, 2/3). Recall points 0 ... 0.50 are 51 of
    # 101 and take precision 1, the other 50 take 2/3.
    assert coco.evaluate_detections(truths, [doubled], CLASSES).map == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    behind = found((0.9, 1, 0, 0, 100, 100), (0.8, 1, 200, 0, 300, 100), (0.7, 1, 0, 0, 100, 100))
    assert coco.evaluate_detections(truths, [behind], CLASSES).map == pytest.approx(
        1
    )  # a double after all hits costs nothing


def test_no_detections_score_zero_not_nothing():
    figures = coco.evaluate_detections(FACES, [found(), found()], CLASSES)
    assert (figures.map, figures.map50, figures.recall) == (0, 0, 0)
    assert [one.ap for one in figures.classes] == [0, 0, None]


def test_no_truth_at_all_scores_nothing():
    figures = coco.evaluate_detections([truth(1)], [found((0.9, 1, 0, 0, 10, 10))], CLASSES)
    assert (figures.map, figures.map50, figures.recall, figures.images, figures.boxes) == (None, None, None, 1, 0)


def test_difficult_truth_costs_and_earns_nothing():
    difficult = (1, 200, 0, 300, 100, True)
    truths = [truth(1, (1, 0, 0, 100, 100), difficult)]
    missed = coco.evaluate_detections(truths, [found((0.9, 1, 0, 0, 100, 100))], CLASSES)
    # Found twice, scoring above the real hit: as false alarms they would bring AP down to 1/3.
    on_it = [(0.99, 1, 200, 0, 300, 100), (0.98, 1, 205, 0, 300, 100), (0.9, 1, 0, 0, 100, 100)]
    seen = coco.evaluate_detections(truths, [found(*on_it)], CLASSES)
    assert (missed.map, seen.map, seen.boxes, seen.difficult) == pytest.approx((1, 1, 1, 1))


def test_sizes_follow_the_area_of_the_truth():
    # 20x20 = 400 is small, 50x50 = 2,500 medium, 100x100 large; the medium one is missed.
    truths = [truth(1, (1, 0, 0, 20, 20), (1, 100, 0, 150, 50), (2, 200, 0, 300, 100))]
    figures = coco.evaluate_detections(truths, [found((0.9, 1, 0, 0, 20, 20), (0.9, 2, 200, 0, 300, 100))], CLASSES)
    assert [size.boxes for size in figures.sizes] == [1, 1, 1]
    assert [size.ap for size in figures.sizes] == pytest.approx([1, 0, 1])
    assert [size.recall50 for size in figures.sizes] == [1, 0, 1]
    assert [size.boxes for size in figures.classes[0].sizes] == [1, 1, 0]
    assert [size.ap for size in figures.classes[0].sizes] == [pytest.approx(1), 0, None]


def test_detections_beyond_the_most_that_count_are_left_out():
    # 120 faces, all found: 100 of them count, recall 100/120; precision is 1 on recall points 0 ... 0.83, 84 of 101.
    crowd = [truth(1, *((1, 5 * i, 0, 5 * i + 5, 5) for i in range(120)))]
    figures = coco.evaluate_detections(crowd, exactly(crowd), CLASSES)
    assert figures.recall == pytest.approx(100 / 120)
    assert figures.map == pytest.approx(84 / 101)
    assert coco.evaluate_detections(crowd, exactly(crowd), CLASSES, max_detections=120).map == pytest.approx(1)


def test_matches_name_image_and_hit():
    detections = [found((0.3, 1, 0, 0, 100, 100)), found((0.6, 1, 50, 50, 150, 150), (0.5, 1, 300, 300, 400, 400))]
    with_mask = coco.match_detections(FACES, detections, CLASSES)[0]
    assert with_mask.scores == pytest.approx([0.6, 0.5, 0.3])
    assert with_mask.images.tolist() == [1, 1, 0]
    assert with_mask.hits[0].tolist() == [True, False, True]
    assert with_mask.truths.tolist() == [1, 1]


def test_image_order_does_not_matter():
    truths, detections = street(20)
    forth = coco.evaluate_detections(truths, detections, CLASSES)
    back = coco.evaluate_detections(truths[::-1], detections[::-1], CLASSES)
    assert forth == back
    names = coco.match_detections(truths[::-1], detections[::-1], CLASSES)[0]
    assert names.truths.tolist() == [int((t.class_ids == 1).sum()) for t in truths[::-1]]


def test_files_give_the_same_figures():
    truths, detections = street(30)
    dataset = json.loads(json.dumps(coco.ground_truth_to_coco(truths, CLASSES)))
    results = json.loads(json.dumps(list(coco.detections_to_coco(truths, detections, CLASSES))))
    read, label_map = coco.ground_truth_from_coco(dataset)
    figures = coco.evaluate_detections(truths, detections, CLASSES)
    for order in (results, results[::-1]):  # another tool may have written them image by image or not
        again = coco.detections_from_coco(read, order, label_map)
        assert coco.evaluate_detections(read, again, label_map) == figures


@pytest.mark.parametrize(
    ("truths", "detections", "message"),
    [
        ([truth(1), truth(1)], [found(), found()], "not unique"),
        ([truth(1)], [found((0.5, 4, 0, 0, 1, 1), label_map=coco.LabelMap(("a", "b", "c", "d")))], "class id 4"),
        ([truth(1, (7, 0, 0, 1, 1))], [found()], "class id 7"),
        ([truth(1)], [], "detections on 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(truths, detections, message):
    with pytest.raises(ValueError, match=message):
        coco.evaluate_detections(truths, detections, CLASSES)


def figures_of_the_api(truths, detections, categories):
    """What the API's own evaluation finds, by its names."""
    from object_detection.metrics.coco_evaluation import CocoDetectionEvaluator

    def boxes(xyxy):  # [ymin, xmin, ymax, xmax], float32, as the API hands them on
        return np.asarray(xyxy, np.float32).reshape(-1, 4)[:, [1, 0, 3, 2]]

    evaluator = CocoDetectionEvaluator(categories)
    for image, detected in zip(truths, detections, strict=True):
        evaluator.add_single_ground_truth_image_info(
            image.image_id,
            {
                "groundtruth_boxes": boxes(image.boxes),
                "groundtruth_classes": np.asarray(image.class_ids, np.int64),
                "groundtruth_is_crowd": np.asarray(image.difficult, np.int64),
            },
        )
        evaluator.add_single_detected_image_info(
            image.image_id,
            {
                "detection_boxes": boxes(detected.xyxy),
                "detection_scores": np.asarray(detected.confidence, np.float32),
                "detection_classes": np.asarray(detected.class_id, np.int64),
            },
        )
    return {name: float(value) for name, value in evaluator.evaluate().items()}


def test_agrees_with_the_api():
    truths, detections = street(80, seed=3)
    truths[0] = truth(1, (1, 10, 10, 90, 90, True), (1, 200, 200, 290, 290))
    detections[0] = found((0.95, 1, 12, 10, 90, 92), (0.4, 1, 205, 200, 290, 290))
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES.names, start=1)]
    theirs = figures_of_the_api(truths, detections, categories)
    # Stock pycocotools has no figures per category for the API to pass on: one class at a time gives them.
    per_class = [figures_of_the_api(truths, detections, [one]) for one in categories]

    ours = coco.evaluate_detections(truths, detections, CLASSES)
    small, medium, large = ours.sizes
    expected = {
        "DetectionBoxes_Precision/mAP": ours.map,
        "DetectionBoxes_Precision/mAP@.50IOU": ours.map50,
        "DetectionBoxes_Precision/mAP@.75IOU": ours.map75,
        "DetectionBoxes_Precision/mAP (small)": small.ap,
        "DetectionBoxes_Precision/mAP (medium)": medium.ap,
        "DetectionBoxes_Precision/mAP (large)": large.ap,
        "DetectionBoxes_Recall/AR@100": ours.recall,
        "DetectionBoxes_Recall/AR@100 (small)": small.recall,
        "DetectionBoxes_Recall/AR@100 (medium)": medium.recall,
        "DetectionBoxes_Recall/AR@100 (large)": large.recall,
    }
    assert 0.2 < ours.map < 0.9  # figures worth comparing
    assert {name: theirs[name] for name in expected} == pytest.approx(expected, abs=5e-5)
    for their, our in zip(per_class, ours.classes, strict=True):
        assert their["DetectionBoxes_Precision/mAP"] == pytest.approx(our.ap, abs=5e-5)
        assert their["DetectionBoxes_Precision/mAP@.50IOU"] == pytest.approx(our.ap50, abs=5e-5)


def test_boxes_are_counted():
    figures = coco.evaluate_detections(*street(40), CLASSES)
    truths, _ = street(40)
    assert figures.boxes == sum(len(t.boxes) for t in truths) == sum(one.boxes for one in figures.classes)
    assert figures.boxes == sum(size.boxes for size in figures.sizes)
    assert np.isfinite([figures.map, figures.map50]).all()


def crowded(images, boxes=60):
    """So many detections an image as an SSD reports."""
    random = np.random.default_rng(images)
    truths = [truth(i, (1, 10, 10, 60, 60), (2, 100, 10, 160, 60)) for i in range(1, images + 1)]
    corners = random.uniform(0, 400, (images, boxes, 2))
    seen = [
        found(*((random.random(), k % 3 + 1, x, y, x + 50, y + 50) for k, (x, y) in enumerate(of_image)))
        for of_image in corners
    ]
    return truths, seen


def peak_of(function, *arguments):
    tracemalloc.start()
    function(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_the_images_matched_at_once_change_nothing(monkeypatch):
    truths, detections = street(40, seed=5)
    truths[0] = truth(1, (1, 10, 10, 90, 90, True), (1, 200, 200, 290, 290))
    truths[3], truths[30] = truths[30], truths[3]
    detections[3], detections[30] = detections[30], detections[3]
    for one in detections:
        one.confidence = one.confidence.round(1)  # many of the same score
    runs = []
    for images in (1000, 7):
        monkeypatch.setattr(coco, "_CHUNK", images)
        runs.append(coco.run_cocoeval(truths, detections, CLASSES, max_detections=3))
    assert coco.metrics_from_cocoeval(runs[0], CLASSES) == coco.metrics_from_cocoeval(runs[1], CLASSES)
    for one, other in zip(runs[0].matches, runs[1].matches, strict=True):
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def test_an_image_takes_some_kilobytes_while_it_is_matched(monkeypatch):
    monkeypatch.setattr(coco, "_CHUNK", 10)
    few, many = (peak_of(coco.match_detections, *crowded(images), CLASSES) for images in (20, 60))
    assert (many - few) / 40 < 20_000  # pycocotools' own objects: 90,000


def test_a_detection_that_is_read_takes_bytes_and_no_objects():
    truths, detections = crowded(40)
    written = coco.detections_to_coco(truths, detections, CLASSES)
    peak = peak_of(coco.detections_from_coco, truths, written, CLASSES)
    assert peak / (40 * 60) < 130  # seven numbers of 8 bytes and a class; as a dict with a list: 570


def test_precision_and_recall_are_those_that_pycocotools_accumulates():
    truths, detections = street(60, seed=5)
    truths[0] = truth(1, (1, 10, 10, 90, 90, True), (1, 200, 200, 290, 290))
    detections[1], detections[2] = found(), found((0.9, 3, 0, 0, 50, 50), (0.9, 1, 0, 0, 50, 50))
    for one in detections:
        one.confidence = one.confidence.round(1)  # many of the same score
    more = coco.LabelMap((*CLASSES.names, "nobody"))  # a class without ground truth
    ours = coco.run_cocoeval(truths, detections, more, 100)
    theirs = coco._match_chunk(truths, detections, more, 100)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs.accumulate()
    assert (ours.precision > 0).sum() > 1000
    np.testing.assert_array_equal(ours.precision, theirs.eval["precision"][..., 0])
    np.testing.assert_array_equal(ours.recall, theirs.eval["recall"][..., 0])
