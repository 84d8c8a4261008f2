import tracemalloc

import numpy as np
import pytest
from made_detections import CLASSES, found, street, truth

from facemask.evaluation import bootstrap, coco


def repeated(truths, detections, count):
    """The draw as a data set of its own: each image as often as it counts, under new ids."""
    picked = [index for index, times in enumerate(count) for _ in range(times)]
    again = [coco.GroundTruth(**{**vars(truths[index]), "image_id": place}) for place, index in enumerate(picked)]
    return again, [detections[index] for index in picked]


def test_every_draw_is_what_pycocotools_says_of_the_repeated_images():
    truths, detections = street(25, seed=1, rare=0.05)
    truths[0] = truth(1, (1, 10, 10, 90, 90, True), (1, 200, 200, 290, 290))
    detections[0] = found((0.95, 1, 12, 10, 90, 92), (0.4, 1, 205, 200, 290, 290))
    counts = bootstrap.draw_images(25, draws=6, seed=4)
    sampled = bootstrap.bootstrap_ap(coco.match_detections(truths, detections, CLASSES), counts)
    for row, count in enumerate(counts):
        figures = coco.evaluate_detections(*repeated(truths, detections, count), CLASSES)
        for index, one in enumerate(figures.classes):
            if one.ap is None:
                assert np.isnan(sampled.ap[row, index])
            else:
                assert (sampled.ap[row, index], sampled.ap50[row, index]) == pytest.approx((one.ap, one.ap50))
        assert (sampled.map[row], sampled.map50[row]) == pytest.approx((figures.map, figures.map50))


def test_interval_worked_out_by_hand():
    # Draws 0..100: the middle 95% run from 2.5 to 97.5; NaNs are draws that could not be measured.
    values = np.array([50.0, *range(101), np.nan, np.nan])
    got = bootstrap.percentile_interval(values)
    assert (got.estimate, got.low, got.high) == pytest.approx((50, 2.5, 97.5))
    assert bootstrap.percentile_interval(np.full(5, np.nan)) == bootstrap.ConfidenceInterval(None, None, None)
    assert bootstrap.ConfidenceInterval(0.1, 0.01, 0.2).excludes_zero
    assert not bootstrap.ConfidenceInterval(0.1, -0.01, 0.2).excludes_zero
    assert not bootstrap.ConfidenceInterval(None, None, None).excludes_zero


def test_draws_are_drawn_with_replacement_and_by_seed():
    counts = bootstrap.draw_images(30, draws=200, seed=7)
    assert counts.shape == (201, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert counts[0].tolist() == [1] * 30
    assert counts[1:].std() > 0.8  # the multinomial's is about 1
    assert (counts == bootstrap.draw_images(30, draws=200, seed=7)).all()
    assert (counts != bootstrap.draw_images(30, draws=200, seed=8)).any()


def test_a_draw_takes_four_bytes_an_image():
    tracemalloc.start()
    counts = bootstrap.draw_images(2000, draws=400)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * counts.size


def test_two_images_are_not_progress_but_twenty_are():
    # 60 images of one face. The first detector finds 40 of them, the second two more, the third twenty more.
    truths = [truth(i, (1, 0, 0, 50, 50)) for i in range(1, 61)]

    def finds(count):
        return [found((0.9, 1, 0, 0, 50, 50)) if i < count else found() for i in range(60)]

    counts = bootstrap.draw_images(60, draws=400)
    first, two_more, twenty_more = (
        bootstrap.bootstrap_ap(coco.match_detections(truths, finds(count), CLASSES), counts).map50
        for count in (40, 42, 60)
    )
    assert not bootstrap.percentile_interval(two_more - first).excludes_zero
    assert bootstrap.percentile_interval(twenty_more - first).excludes_zero
    assert bootstrap.percentile_interval(twenty_more - first).low > 0.1


def test_interval_covers_and_narrows_with_more_images():
    few, many = (
        bootstrap.percentile_interval(
            bootstrap.bootstrap_ap(
                coco.match_detections(*street(n, seed=n), CLASSES), bootstrap.draw_images(n, 200)
            ).map50
        )
        for n in (20, 180)
    )
    assert few.low < few.estimate < few.high
    assert few.high - few.low > 1.5 * (many.high - many.low)
