import io
import json
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest
from made_detections import CLASSES, found, street, truth

from facemask.cli import compare_command
from facemask.core.errors import UserError
from facemask.data import voc
from facemask.evaluation import coco, evaluate
from facemask.evaluation.measurement import MeasuredDetections, Speed

SPEED = Speed(images=2, batch=1, latency_ms=12.0, latency_p95_ms=15.0, images_per_second=50.0, hardware="a machine")
MODEL = {
    "run": "r",
    "model": "m",
    "steps": None,
    "input": [64, 64],
    "config_sha256": "",
    "exported": "",
    "detector": "d",
}
MADE = {"commit": None, "made": "today", "python": "3", "packages": {}, "settings": {}}


def save(folder, truths, detections, least=(0.5, 0.5, 0.5)):
    scores = evaluate.compute_metrics(truths, detections, CLASSES, least)
    measured = MeasuredDetections(tuple(truths), tuple(detections), SPEED)
    source = {"path": "pictures", "split": None, "digest": None}
    evaluate.write_evaluation(folder, measured, scores, CLASSES, source=source, model=MODEL, made=MADE)
    return scores


def test_what_is_written_is_what_was_measured(tmp_path):
    truths, detections = street(30)
    scores = save(tmp_path / "run", truths, detections)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["figures"]["map"] == scores.coco_metrics.map
    assert metrics["figures"]["classes"][1]["ap50"] == scores.coco_metrics.classes[1].ap50
    assert metrics["operating"][0]["precision"] == scores.operating[0].precision
    assert metrics["thresholds"] == {one.name: one.threshold for one in scores.best}
    assert metrics["confusion"]["labels"] == [*CLASSES.names, "background"]
    assert metrics["confusion"]["counts"] == scores.confusion.tolist()
    assert sum(metrics["mistakes"].values()) == len(scores.mistakes)
    assert metrics["speed"]["latency_p95_ms"] == 15.0

    saved = evaluate.read_evaluation(tmp_path / "run")
    again = evaluate.recompute_result(saved)
    assert (again.coco_metrics, again.operating, again.best) == (scores.coco_metrics, scores.operating, scores.best)
    assert (again.confusion == scores.confusion).all()


def test_what_version_0_2_0_wrote_about_two_stages_is_read(tmp_path):
    save(tmp_path / "run", *street(3))
    path = tmp_path / "run" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["model"] |= {"faces": {"name": "yunet", "size": 960}, "classifier": {"run": "fold0-classifier"}}
    path.write_text(json.dumps(metrics))
    model = evaluate.read_evaluation(tmp_path / "run").metrics["model"]
    assert (model["faces"], model["classifier"]) == (
        {"name": "yunet", "sizes": [960]},
        {"runs": ["fold0-classifier"]},
    )


def test_pycocotools_comes_to_the_same_figures_from_the_files_alone(tmp_path):
    from contextlib import redirect_stdout

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, detections = street(30)
    truths[0] = truth(1, (1, 10, 10, 90, 90, True), (1, 200, 200, 290, 290))
    detections[0] = found((0.95, 1, 12, 10, 90, 92), (0.4, 1, 205, 200, 290, 290))
    scores = save(tmp_path, truths, detections)
    with redirect_stdout(io.StringIO()):
        ground_truth = COCO(str(tmp_path / "ground_truth.json"))
        run = COCOeval(ground_truth, ground_truth.loadRes(str(tmp_path / "predictions.json")), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    assert run.stats[:3] == pytest.approx(
        [scores.coco_metrics.map, scores.coco_metrics.map50, scores.coco_metrics.map75]
    )


def test_predictions_are_in_memory_one_at_a_time(tmp_path):
    path = tmp_path / "predictions.json"
    line = json.dumps({"image_id": 1, "category_id": 2, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5})
    path.write_text("[\n" + ",\n".join([line] * 5000) + "\n]\n")
    tracemalloc.start()
    read = sum(one == json.loads(line) for one in evaluate._read_predictions(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (read, peak < 100_000) == (5000, True)


def test_supervision_reads_the_truth(tmp_path):
    import supervision as sv

    truths, detections = street(5)
    save(tmp_path, truths, detections)
    dataset = sv.DetectionDataset.from_coco(str(tmp_path), str(tmp_path / "ground_truth.json"))
    assert dataset.classes == list(CLASSES.names)
    assert sum(len(one) for one in dataset.annotations.values()) == sum(len(one.boxes) for one in truths)


def test_best_thresholds_can_be_the_chosen_ones():
    truths, detections = street(30)
    scores = evaluate.compute_metrics(truths, detections, CLASSES, None)
    assert scores.operating == scores.best


def test_a_class_that_was_never_found_has_no_threshold(tmp_path):
    save(tmp_path, [truth(1, (1, 0, 0, 50, 50))], [found()])
    text = (tmp_path / "metrics.json").read_text()
    assert json.loads(text)["thresholds"] == {}
    assert "NaN" not in text
    assert (tmp_path / "predictions.json").read_text().split() == ["[", "]"]
    assert evaluate.recompute_result(evaluate.read_evaluation(tmp_path)).coco_metrics.map50 == 0


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("metrics.json", None, "run"),
        ("predictions.json", None, "predictions.json"),
        ("predictions.json", "[]", "predictions.json"),
        ("ground_truth.json", "{}", "ground_truth.json"),
        ("metrics.json", "{}", "metrics.json"),
        ("metrics.json", '{"format": 99}', "format 99"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, name, change, named):
    save(tmp_path / "run", *street(5))
    path = tmp_path / "run" / name
    if change is None:
        path.unlink()
    else:
        path.write_text(change)
    with pytest.raises(UserError, match=named):
        evaluate.read_evaluation(tmp_path / "run")


def test_only_the_same_images_are_compared(tmp_path):
    truths, detections = street(10)
    save(tmp_path / "a", truths, detections)
    save(tmp_path / "b", truths, detections)
    save(tmp_path / "fewer", truths[:9], detections[:9])
    moved = [truth(1, (1, 0, 0, 50, 50)), *truths[1:]]
    save(tmp_path / "moved", moved, detections)
    a, b, fewer, other = (evaluate.read_evaluation(tmp_path / name).match() for name in ("a", "b", "fewer", "moved"))
    evaluate.refuse_different_images([a, b])
    for different in (fewer, other):
        with pytest.raises(UserError, match=str(different.folder)):
            evaluate.refuse_different_images([a, different])


def test_a_comparison_holds_the_detections_of_one_evaluation_at_a_time(tmp_path, monkeypatch):
    for name in ("a", "b"):
        save(tmp_path / name, *street(4))
    read, detections = evaluate.read_evaluation, []

    def watched(folder):
        assert all(one() is None for one in detections)
        saved = read(folder)
        detections.extend(weakref.ref(one) for one in saved.detections)
        return saved

    monkeypatch.setattr(evaluate, "read_evaluation", watched)
    compare_command.main(runs="a,b", draws=100, reports=tmp_path)
    assert len(detections) == 8


def test_notes_say_what_to_beware_of():
    crowd = truth(1, *((1, 5 * i, 0, 5 * i + 5, 5) for i in range(120)), (2, 0, 50, 40, 90), (1, 0, 100, 9, 109, True))
    truths, detections = [crowd, truth(2)], [found(), found()]
    scores = evaluate.compute_metrics(truths, detections, CLASSES, (0.5,) * 3)
    import dataclasses

    absent, few, difficult, crowded = evaluate.list_caveats(
        {"figures": dataclasses.asdict(scores.coco_metrics), "model": {}, "source": {}}, truths
    )
    assert "mask_weared_incorrect" in absent
    assert "without_mask (1)" in few
    assert "1 " in difficult
    assert "100" in crowded
    assert (
        evaluate.list_caveats(
            {
                "figures": dataclasses.asdict(coco.evaluate_detections([], [], coco.LabelMap(()))),
                "model": {},
                "source": {},
            },
            [],
        )
        == []
    )


def test_voc_export_is_cut_at_the_edge_and_stays_in_its_folder(tmp_path):
    truths = [truth(1, name="train/a b.jpg", size=(100, 80))]
    seen = [found((0.9, 2, -5, 10, 60, 90), (0.4, 1, 0, 0, 9, 9), (0.9, 1, 120, 0, 130, 9))]
    evaluate.write_voc_files(tmp_path / "voc", truths, seen, CLASSES, (0.5, 0.5, 0.5))
    read = voc.read_voc(tmp_path / "voc" / "train" / "a b.xml")
    assert (read.filename, read.width, read.height) == ("a b.jpg", 100, 80)
    assert [(box.label, box.xmin, box.ymin, box.xmax, box.ymax) for box in read.boxes] == [
        ("without_mask", 0, 10, 60, 80)
    ]
    with pytest.raises(UserError, match=r"x\.jpg"):
        evaluate.write_voc_files(tmp_path / "voc", [truth(1, name="../../x.jpg")], [found()], CLASSES, (0.5, 0.5, 0.5))
    assert not list(Path(tmp_path).glob("x.xml"))


def test_difficult_detections_reach_the_confusion_matrix_of_nobody():
    truths = [truth(1, (1, 0, 0, 50, 50, True))]
    scores = evaluate.compute_metrics(truths, [found((0.9, 2, 0, 0, 50, 50))], CLASSES, (0.5,) * 3)
    assert np.sum(scores.confusion) == 0


def test_one_box_for_each_face_is_that_of_its_best_class():
    # Both classes are found on one face: COCO's protocol counts a false alarm of class 2, one box for each face none.
    truths = [truth(1, (1, 0, 0, 50, 50), (2, 100, 0, 150, 50))]
    seen = [found((0.9, 1, 0, 0, 50, 50), (0.6, 2, 0, 0, 50, 50), (0.7, 1, 100, 0, 150, 50), (0.6, 2, 100, 0, 150, 50))]
    result = evaluate.compute_metrics(truths, seen, CLASSES, (0.5,) * 3)
    assert [(one.hits, one.false_alarms, one.missed) for one in result.operating] == [(1, 1, 0), (1, 1, 0), (0, 0, 0)]
    assert [(one.hits, one.false_alarms, one.missed) for one in result.one_box] == [(1, 1, 0), (0, 0, 1), (0, 0, 0)]
