"""Cross-validation with a trainer that does nothing and detections made by hand; the long test trains."""

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from made_detections import CLASSES, street
from sklearn import metrics as sklearn_metrics

from facemask.cli import compare_command, crossval_command, folds_command, report_command
from facemask.core.errors import UserError
from facemask.core.files import write_json
from facemask.data import drawn_sample, fold_records, manifest
from facemask.data.fold_records import make_folds, read_folds, split_of_fold
from facemask.data.ground_truth import read_records
from facemask.data.splits import SPLITS
from facemask.detect.faces import yunet
from facemask.evaluation import cross_validation, evaluate, evaluated_pictures
from facemask.evaluation.cross_validation import Answers, Plan, cross_validate, parse_plan
from facemask.evaluation.measurement import MeasuredDetections, Speed

MADE = {"commit": None, "made": "today", "python": "3", "packages": {}, "settings": {}}


@dataclass(frozen=True)
class Picture:
    name: str
    perceptual_hash: int
    class_counts: Counter = field(hash=False)
    image_sha256: str = "image"
    xml_sha256: str = "xml"


def far_apart(number):
    """A hash of 128 bits that no other number's is near to."""
    return int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:16], "big")


def pictures_of(truths):
    return [
        Picture(one.name, far_apart(number), Counter(CLASSES.name_of(int(label)) for label in one.class_ids))
        for number, one in enumerate(truths)
    ]


def write_records(folder, split_of):
    """Only the manifest: nobody reads the record files here."""
    digest = hashlib.sha256(json.dumps(sorted(split_of.items())).encode()).hexdigest()
    splits = {split: manifest.Split((), sum(one == split for one in split_of.values()), 0, {}, 0) for split in SPLITS}
    manifest.write_manifest(folder, manifest.Manifest(CLASSES.names, splits, digest, {}))
    return digest


@pytest.fixture
def data():
    """Truths and detections of 60 pictures, 3 or more faces of each class among them, by name."""
    truths, detections = street(60, seed=11, rare=0.2)
    return {truth.name: (truth, found) for truth, found in zip(truths, detections, strict=True)}


@pytest.fixture
def annotations(data, tmp_path):
    folder = tmp_path / "annotations"
    pictures = pictures_of([truth for truth, _ in data.values()])
    make_folds(pictures, folder, CLASSES, 5, 0, write_records, MADE)
    return folder


class Steps:
    """Stands in for the steps: notes what was asked for, and for `eval` writes what a detector would have found."""

    def __init__(self, data, annotations, fail_at=None):
        self.data, self.folds, self.fail_at = data, read_folds(annotations), fail_at
        self.asked = []

    def __call__(self, step, options):
        self.asked.append((step, options["run"]))
        if (step, options["run"]) == self.fail_at:
            raise KeyboardInterrupt
        if step == "eval":
            self.evaluate(options)

    def evaluate(self, options):
        fold = int(options["run"].removeprefix("fold"))
        held = [self.data[name] for name, other in self.folds.fold_of.items() if other == fold]
        truths = [dataclasses.replace(truth, image_id=number) for number, (truth, _) in enumerate(held, start=1)]
        truths, found = truths[::-1], [found for _, found in held][::-1]  # the records' order is not that of the names
        result = evaluate.compute_metrics(truths, found, CLASSES, (0.5,) * 3)
        model = {"run": options["run"], "model": "m", "steps": 7, "input": [9, 9], "config_sha256": "c", "exported": ""}
        evaluate.write_evaluation(
            cross_validation.Path(options["reports"]) / options["report"],
            MeasuredDetections(tuple(truths), tuple(found), Speed(len(truths), 1, 10.0 + fold, 20.0, 50.0, "machine")),
            result,
            CLASSES,
            source={"path": options["annotations"], "split": "test", "digest": self.folds.records[fold]},
            model=model | {"detector": options["detector"]},
            made=MADE,
        )


def run(tmp_path, annotations, steps, plan=None, **more):
    folder = tmp_path / "crossval" / "ssd"
    plan = plan or Plan("ssd", {"train": {"steps": "5"}})
    cross_validate(folder, read_folds(annotations), plan, steps, None, MADE, print_line=lambda line: None, **more)
    return folder


def test_each_picture_is_held_out_once_and_look_alikes_stay_together(data, tmp_path):
    pictures = pictures_of([truth for truth, _ in data.values()])
    pictures[7] = dataclasses.replace(pictures[7], perceptual_hash=pictures[3].perceptual_hash ^ 1)
    folds = make_folds(pictures, tmp_path, CLASSES, 5, 0, write_records, MADE)
    assert read_folds(tmp_path) == folds
    assert sorted(folds.fold_of) == sorted(data)
    assert folds.fold_of[pictures[3].name] == folds.fold_of[pictures[7].name]
    total = sum((picture.class_counts for picture in pictures), Counter())
    assert sum((Counter(held) for held in folds.faces), Counter()) == total
    for fold in range(5):
        split_of = split_of_fold(pictures, folds.fold_of, fold)
        assert {name for name, split in split_of.items() if split == "test"} == {
            name for name, other in folds.fold_of.items() if other == fold
        }
        assert split_of[pictures[3].name] == split_of[pictures[7].name]
        held = {split: Counter() for split in SPLITS}
        for picture in pictures:
            held[split_of[picture.name]].update(picture.class_counts)
        assert all(held[split][name] for split in SPLITS for name in CLASSES.names)
        assert sum(split == "val" for split in split_of.values()) < 15


def test_fewer_folds_leave_no_old_records(data, annotations):
    pictures = pictures_of([truth for truth, _ in data.values()])
    make_folds(pictures, annotations, CLASSES, 3, 0, write_records, MADE)
    assert sorted(path.name for path in (annotations / "folds").iterdir()) == ["0", "1", "2"]


def test_what_cannot_be_folded_is_one_line_and_writes_nothing(data, tmp_path):
    pictures = pictures_of([truth for truth, _ in data.values()])
    without = [one for one in pictures if "mask_weared_incorrect" not in one.class_counts]
    rare = [one for one in pictures if "mask_weared_incorrect" in one.class_counts][:2]
    for few, named in ((pictures[:3], "FOLDS=5"), ([*without, *rare], "mask_weared_incorrect")):
        with pytest.raises(UserError, match=named) as error:
            make_folds(few, tmp_path / "none", CLASSES, 5, 0, write_records, MADE)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "none").exists()


def test_pooled_every_face_counts_once(data, annotations, tmp_path, capsys):
    steps = Steps(data, annotations)
    folder = run(tmp_path, annotations, steps)
    assert [step for step, _ in steps.asked] == ["train", "export", "eval"] * 5
    report = tmp_path / "reports" / "cv"
    folds = read_folds(annotations)
    cross_validation.report_detector(folder, folds, report, None, 100, 0, MADE)
    saved = evaluate.read_evaluation(report)
    ordered = [data[name] for name in sorted(data)]
    alone = evaluate.compute_metrics([truth for truth, _ in ordered], [found for _, found in ordered], CLASSES, None)
    figures = saved.metrics["figures"]
    assert figures["boxes"] + figures["difficult"] == sum(len(truth.boxes) for truth, _ in ordered)
    assert figures["map50"] == pytest.approx(alone.coco_metrics.map50, abs=1e-3)  # ties of scores may break otherwise
    assert saved.metrics["thresholds"] == {one.name: one.threshold for one in alone.best}
    intervals = saved.metrics["intervals"]
    for one, interval in zip(figures["classes"], intervals["classes"], strict=True):
        assert interval["ap50"]["estimate"] == pytest.approx(one["ap50"])
        assert interval["ap50"]["low"] < one["ap50"] < interval["ap50"]["high"]
    assert saved.metrics["speed"]["latency_ms"] == 12.0
    printed = capsys.readouterr().out
    assert "mask_weared_incorrect" in printed and "highest F1 on these pictures" in printed

    # The report and the comparison take it as they take a run.
    cross_validation.report_detector(folder, folds, tmp_path / "reports" / "again", None, 100, 0, MADE)
    compare_command.main(runs="cv,again", reports=tmp_path / "reports", draws=100)
    report_command.main(run="cv", mistakes=0, reports=tmp_path / "reports", models=tmp_path)
    page = (report / "report.html").read_text()
    assert "intervals.map50.low" in page
    assert "so F1 is slightly flattered" in page


def test_a_killed_crossval_goes_on_where_it_was(data, annotations, tmp_path):
    first = Steps(data, annotations, fail_at=("export", "fold2"))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, annotations, first)
    second = Steps(data, annotations)
    folder = run(tmp_path, annotations, second)
    assert second.asked[0] == ("export", "fold2")
    assert len(first.asked) - 1 + len(second.asked) == 15
    third = Steps(data, annotations)
    run(tmp_path, annotations, third)
    assert third.asked == []
    assert len(cross_validation.read_fold_evaluations(folder, read_folds(annotations))) == 5

    with pytest.raises(UserError, match="options"):
        run(tmp_path, annotations, third, Plan("ssd", {"train": {"steps": "6"}}))
    run(tmp_path, annotations, third, Plan("ssd", {"train": {"steps": "6"}}), fresh=True)
    assert len(third.asked) == 15


def test_one_fold_screens_a_recipe(data, annotations, tmp_path):
    steps = Steps(data, annotations)
    folder, folds = run(tmp_path, annotations, steps, fold=3), read_folds(annotations)
    assert steps.asked == [("train", "fold3"), ("export", "fold3"), ("eval", "fold3")]
    report = tmp_path / "reports" / "screened"
    cross_validation.report_detector(folder, folds, report, None, 100, 0, MADE, fold=3)
    saved = evaluate.read_evaluation(report)
    of_fold = evaluate.read_evaluation(folder / "reports" / "fold3")
    assert [(one.name, one.image_id) for one in saved.truths] == [(one.name, one.image_id) for one in of_fold.truths]
    assert sorted(truth.name for truth in saved.truths) == sorted(cross_validation.held_out_names(folds, 3))
    assert "fold 3 only" in saved.metrics["model"]["model"]
    assert saved.metrics["source"]["path"] == str(folds.records_folder(3))
    with pytest.raises(UserError, match="FOLD=5"):
        run(tmp_path, annotations, steps, fold=5)


def test_models_of_another_crossval_are_reused(data, annotations, tmp_path, monkeypatch):
    folds, common = read_folds(annotations), {"annotations": annotations, "crossval": tmp_path / "crossval"}
    trained = Steps(data, annotations, fail_at=("train", "fold4"))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, annotations, trained)
    for fold in range(5):
        (tmp_path / "crossval" / "ssd" / "exported" / f"fold{fold}").mkdir(parents=True)
        (tmp_path / "crossval" / "ssd" / "exported" / f"fold{fold}" / "weights.bin").write_text(str(fold))
    other = tmp_path / "crossval" / "fused"
    assert cross_validation.options_of_reused(other.with_name("ssd"), folds) == {"train": {"steps": "5"}, "export": {}}
    plan, again = Plan("fused", {"train": {"steps": "5"}}), Steps(data, annotations)
    cross_validate(other, folds, plan, again, None, MADE, reuse=[other.with_name("ssd")], print_line=lambda line: None)
    # The fold that was not finished there is trained; classifiers were never there.
    assert again.asked[:2] == [("classifier", "fold0-classifier"), ("eval", "fold0")]
    assert [asked for asked in again.asked if asked[0] in ("train", "export")] == [
        ("train", "fold4"),
        ("export", "fold4"),
    ]
    assert (other / "exported" / "fold3" / "weights.bin").read_text() == "3"

    plans = []
    monkeypatch.setattr(
        cross_validation, "cross_validate", lambda folder, folds, plan, *rest, **more: plans.append(plan)
    )
    thresholds = []
    monkeypatch.setattr(cross_validation, "report_detector", lambda *rest: thresholds.append(rest[3]))
    for options, steps in (("FACES=ssd", {"train", "eval"}), ("FACES=yunet", {"eval"})):
        crossval_command.main(system="two_stage", reuse="ssd", eval_options=options, **common)
        assert plans[-1].options.keys() == steps
    crossval_command.main(system="two_stage", threshold="0.5", **common)
    assert thresholds == [None, None, (0.5,) * 3]  # None means the best
    crossval_command.main(system="ssd", reuse="ssd", name="small", export_options="SIZE=320", **common)
    assert plans[-1].options == {"train": {"steps": "5"}, "export": {"size": "320"}}
    with pytest.raises(UserError, match="TRAIN_OPTIONS"):
        crossval_command.main(system="fused", reuse="ssd", train_options="STEPS=6", **common)
    with pytest.raises(UserError, match="none"):
        crossval_command.main(system="fused", reuse="none", **common)


def test_trained_models_are_exported_again_with_other_options(data, annotations, tmp_path):
    run(tmp_path, annotations, Steps(data, annotations))
    other = tmp_path / "crossval" / "ssd"
    for fold in range(5):
        (other / "models" / f"fold{fold}").mkdir(parents=True)
        (other / "models" / f"fold{fold}" / "ckpt-5.index").write_text(str(fold))
    smaller = Plan("ssd", {"train": {"steps": "5"}, "export": {"size": "320"}})
    steps, folder = Steps(data, annotations), tmp_path / "crossval" / "smaller"
    cross_validate(folder, read_folds(annotations), smaller, steps, None, MADE, reuse=[other])
    assert steps.asked == [(step, f"fold{fold}") for fold in range(5) for step in ("export", "eval")]
    assert (folder / "models" / "fold4" / "ckpt-5.index").read_text() == "4"

    shutil.rmtree(other / "models" / "fold0")
    with pytest.raises(UserError, match="fold0: no such folder"):
        cross_validate(folder.with_name("gone"), read_folds(annotations), smaller, steps, None, MADE, reuse=[other])


def test_fresh_removes_nothing_else(annotations, data, tmp_path):
    (tmp_path / "crossval" / "ssd").mkdir(parents=True)
    (tmp_path / "crossval" / "ssd" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="ssd"):
        run(tmp_path, annotations, Steps(data, annotations), fresh=True)
    assert (tmp_path / "crossval" / "ssd" / "mine.txt").exists()


def test_records_changed_between_folds(data, annotations, tmp_path):
    run(tmp_path, annotations, Steps(data, annotations))
    write_records(annotations / "folds" / "3", {"other.jpg": "test"})
    with pytest.raises(UserError, match="folds/3"):
        run(tmp_path, annotations, Steps(data, annotations))
    # New folds: what was measured on the old ones is not pooled with the new.
    pictures = pictures_of([truth for truth, _ in data.values()])
    make_folds(pictures, annotations, CLASSES, 5, 1, write_records, MADE)
    with pytest.raises(UserError, match="folds_digest"):
        run(tmp_path, annotations, Steps(data, annotations))
    with pytest.raises(UserError, match="fold0"):
        cross_validation.read_fold_evaluations(tmp_path / "crossval" / "ssd", read_folds(annotations))


def test_folds_with_other_records_do_not_continue_and_are_reused(data, annotations, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, annotations, Steps(data, annotations, fail_at=("export", "fold2")))

    def write_repeated(folder, split_of):  # as with another REPEAT: the same split, another digest
        digest = f"repeated {write_records(folder, split_of)}"
        read = manifest.read_manifest(folder)
        manifest.write_manifest(folder, dataclasses.replace(read, digest=digest))
        return digest

    before = read_folds(annotations)
    pictures = pictures_of([truth for truth, _ in data.values()])
    assert make_folds(pictures, annotations, CLASSES, 5, 0, write_repeated, MADE).digest == before.digest
    again, other = Steps(data, annotations), tmp_path / "crossval" / "other"
    for fold in (None, 4):
        with pytest.raises(UserError, match=r"fold0\.json: .*NAME=ssd .*FRESH=1"):
            run(tmp_path, annotations, again, fold=fold)
    assert again.asked == []
    (tmp_path / "crossval" / "ssd" / "exported" / "fold0").mkdir(parents=True)
    reused = [other.with_name("ssd")]
    cross_validate(other, read_folds(annotations), Plan("ssd"), again, None, MADE, fold=0, reuse=reused)
    assert [step for step, *_ in again.asked] == ["eval"]


def test_a_picture_that_was_not_measured_is_missed(data, annotations, tmp_path):
    folder = run(tmp_path, annotations, Steps(data, annotations))
    folds = read_folds(annotations)
    evaluations = cross_validation.read_fold_evaluations(folder, folds)
    with pytest.raises(UserError):
        cross_validation.pool_evaluations(evaluations[1:], folds)
    with pytest.raises(UserError):
        cross_validation.pool_evaluations([*evaluations, evaluations[0]], folds)


@pytest.mark.parametrize(
    ("system", "options", "named"),
    [
        ("both", {}, "SYSTEM=both"),
        ("ssd", {"classifier": {"epochs": "1"}}, "classifier"),
        ("ssd", {"train": {"run": "mine"}}, "RUN"),
        ("ssd", {"eval": {"faces_size": "640"}}, "FACES_SIZE: SYSTEM=ssd has no such part"),
    ],
)
def test_plans_that_cannot_be(system, options, named):
    with pytest.raises(UserError, match=named):
        parse_plan(system, options)


def test_a_fold_starts_from_weights_of_its_own(annotations, tmp_path):
    plan = Plan("ssd", {"train": {"checkpoint": "exported/fold{fold}-classifier", "steps": "5"}})
    options = cross_validation.options_of_step(tmp_path, read_folds(annotations), plan, 3, "train")
    assert (options["checkpoint"], options["steps"], options["run"]) == ("exported/fold3-classifier", "5", "fold3")
    # An SSD's evaluation refuses a classifier.
    assert "classifier" not in cross_validation.options_of_step(tmp_path, read_folds(annotations), plan, 3, "eval")


def test_systems_have_the_steps_that_they_need():
    assert parse_plan("fused", {}).steps == ("train", "export", "classifier", "eval")
    assert parse_plan("two_stage", {}).steps == ("classifier", "eval")
    assert parse_plan("two_stage", {"eval": {"faces": "ssd"}}).steps == ("train", "export", "classifier", "eval")
    faces = {"faces": {"steps": "5"}}
    assert parse_plan("two_stage", faces).steps == ("faces", "classifier", "eval")
    for system, options in (("ssd", faces), ("two_stage", faces | {"eval": {"faces": "ssd"}})):
        with pytest.raises(UserError, match="faces"):
            parse_plan(system, options)


def test_each_fold_has_its_own_face_detector_which_another_crossval_takes(data, annotations, tmp_path):
    folds, asked = read_folds(annotations), {}

    class FaceSteps(Steps):
        def __call__(self, step, options):
            asked[step, options["run"]] = options
            if step == "faces":
                network = cross_validation.Path(options["exported"]) / options["run"] / yunet.TRAINED
                network.parent.mkdir(parents=True)
                network.write_text(options["run"])
            super().__call__(step, options)

    plan = Plan("two_stage", {"faces": {"steps": "5"}})
    own, other = tmp_path / "crossval" / "two_stage", tmp_path / "crossval" / "fast"
    cross_validate(own, folds, plan, FaceSteps(data, annotations), None, MADE, print_line=lambda line: None)
    assert asked["faces", "fold3-faces"]["steps"] == "5"
    assert asked["faces", "fold3-faces"]["annotations"] == str(folds.records_folder(3))
    assert asked["eval", "fold3"]["faces_model"] == str(own / "exported" / "fold3-faces" / "yunet.onnx")

    for fold in range(5):
        (own / "exported" / f"fold{fold}-classifier").mkdir()
    asked.clear()
    theirs = cross_validation.options_of_reused(own, folds)
    again = Plan("two_stage", {**theirs, "eval": {"faces_size": "640"}})
    steps = FaceSteps(data, annotations)
    cross_validate(other, folds, again, steps, None, MADE, reuse=[own], print_line=lambda line: None)
    assert {step for step, _ in asked} == {"eval"}
    network = cross_validation.Path(asked["eval", "fold3"]["faces_model"])
    assert network.is_relative_to(other) and network.read_text() == "fold3-faces"


def test_several_classifiers_have_seeds_that_follow_each_other(data, annotations, tmp_path):
    folds, asked = read_folds(annotations), {}

    class ClassifierSteps(Steps):
        def __call__(self, step, options):
            asked[step, options["run"]] = options
            if step == "classifier":
                (cross_validation.Path(options["exported"]) / options["run"]).mkdir(parents=True)
            super().__call__(step, options)

    steps = ClassifierSteps(data, annotations)
    plan = parse_plan("two_stage", {"classifier": {"seed": "4"}}, classifiers=2)
    assert plan.steps == ("classifier", "classifier-2", "eval")
    both, first = tmp_path / "crossval" / "both", tmp_path / "crossval" / "first"
    cross_validate(both, folds, plan, steps, None, MADE, print_line=lambda line: None)
    seeds = {run: options["seed"] for (step, run), options in asked.items() if step == "classifier"}
    assert {run: seeds[run] for run in seeds if run.startswith("fold3")} == {
        "fold3-classifier": "4",
        "fold3-classifier-2": "5",
    }
    assert asked["eval", "fold3"]["classifier"] == "fold3-classifier,fold3-classifier-2"
    with pytest.raises(UserError, match="classifiers"):
        cross_validate(both, folds, Plan(plan.system, plan.options), steps, None, MADE, print_line=lambda line: None)

    asked.clear()
    again = parse_plan("two_stage", cross_validation.options_of_reused(both, folds))
    cross_validate(first, folds, again, steps, None, MADE, reuse=[both], print_line=lambda line: None)
    assert {step for step, _ in asked} == {"eval"}
    assert asked["eval", "fold3"]["classifier"] == "fold3-classifier"
    with pytest.raises(UserError, match="CLASSIFIERS=2"):
        parse_plan("ssd", {}, classifiers=2)


@pytest.mark.parametrize(
    ("text", "named"),
    [("STEPS", "STEPS"), ("STEPS=1 STEPS=2", "STEPS"), ("NOSE=1", "NOSE"), ("STEPS='1", "STEPS"), ("STEPS=a", "STEPS")],
)
def test_variables_that_a_step_refuses(text, named, annotations, tmp_path):
    with pytest.raises(UserError, match=named):
        crossval_command.main(train_options=text, annotations=annotations, crossval=tmp_path / "crossval")
    assert not (tmp_path / "crossval").exists()


def test_sizes_that_cannot_be_are_refused_before_anything_is_trained(annotations, tmp_path):
    common = {"annotations": annotations, "crossval": tmp_path / "crossval"}
    with pytest.raises(UserError, match=r"^EVAL_OPTIONS: FACES_SIZE=1280,960: must be "):
        crossval_command.main(system="two_stage", eval_options="FACES_SIZE=1280,960", **common)
    with pytest.raises(UserError, match="SIZE=100"):
        crossval_command.main(system="ssd", export_options="SIZE=100", **common)
    assert not (tmp_path / "crossval").exists()


def test_classifier_pooled(annotations, tmp_path, capsys):
    random = np.random.default_rng(0)
    folds = read_folds(annotations)
    answers = {}

    def answer(exported, records, least):
        assert least == 12
        fold = int(records.name)
        names = tuple(f"{name}#{box}" for name, other in folds.fold_of.items() if other == fold for box in (1, 2))
        labels = random.choice(3, len(names), p=[0.7, 0.2, 0.1])
        probabilities = random.dirichlet((1, 1, 1), len(names)) + 0.8 * np.eye(3)[labels]
        answers[fold] = labels, probabilities.argmax(axis=1)
        return Answers(CLASSES.names, names, labels, probabilities / 1.8, {"smaller than 12 px": 2})

    folder, report = tmp_path / "crossval" / "classifier", tmp_path / "reports" / "classifier"
    plan = parse_plan("classifier", {"classifier": {"min_face": "12"}})
    asked = []
    cross_validate(
        folder, folds, plan, lambda step, options: asked.append(step), answer, MADE, print_line=lambda line: None
    )
    assert asked == ["classifier"] * 5
    pooled = cross_validation.report_classifier(folder, folds, report, 200, 0, MADE)
    labels, answered = (np.concatenate([answers[fold][k] for fold in range(5)]) for k in (0, 1))
    assert len(labels) == 120
    macro_f1 = sklearn_metrics.f1_score(labels, answered, average="macro")
    assert pooled.metrics.macro_f1 == pytest.approx(macro_f1)
    assert pooled.macro_f1.estimate == pytest.approx(macro_f1)
    assert pooled.macro_f1.low < macro_f1 < pooled.macro_f1.high
    assert pooled.accuracy.estimate == pytest.approx((labels == answered).mean())
    written = json.loads((report / "classifier.json").read_text())
    assert written["metrics"]["confusion"] == sklearn_metrics.confusion_matrix(labels, answered).tolist()
    assert written["left_out"] == {"smaller than 12 px": 10}
    assert (report / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    assert cross_validation.read_reported_answers(report).labels.tolist() == labels.tolist()
    assert "12 px" in capsys.readouterr().out


def test_classifiers_are_compared_on_the_same_draws_of_pictures(tmp_path, capsys):
    random = np.random.default_rng(0)
    names = [f"{number // 2}.jpg#{number % 2 + 1}" for number in range(200)]
    labels = random.choice(3, 200, p=[0.6, 0.3, 0.1])
    answered = {"better": labels, "worse": np.where(random.random(200) < 0.2, 0, labels)}

    def save(name, order):
        faces = tuple(names[place] for place in order)
        answers = Answers(CLASSES.names, faces, labels[order], np.eye(3)[answered[name]][order])
        write_json(tmp_path / name / "classifier.json", {})
        cross_validation._write_answers(tmp_path / name / "answers.json", answers)

    save("worse", np.arange(200))
    save("better", np.arange(200)[::-1])  # other folds have another order
    compare_command.main(runs="worse,better", reports=tmp_path, draws=200)
    first, second = json.loads((tmp_path / "compare-classifiers.json").read_text())["classifiers"]
    assert (first["change"], second["macro_f1"]["estimate"]) == (None, 1)
    worse = sklearn_metrics.f1_score(labels, answered["worse"], average="macro")
    assert second["change"]["estimate"] == pytest.approx(1 - worse)
    assert 0 < second["change"]["low"] < 1 - worse < second["change"]["high"]
    assert "better: Better than worse by" in capsys.readouterr().out

    # There is no page of a detector, and other labels are not the same faces.
    (tmp_path / "detector").mkdir()
    for command, options in (
        (report_command, {"run": "better", "models": tmp_path}),
        (compare_command, {"runs": "better,detector"}),
    ):
        with pytest.raises(UserError, match=r"better: a cross-validation of the classifier alone"):
            command.main(**options, reports=tmp_path)
    save("better", np.arange(150))
    with pytest.raises(UserError, match="150 and 200 faces"):
        compare_command.main(runs="worse,better", reports=tmp_path)


def test_folds_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="make folds"):
        read_folds(tmp_path)
    (tmp_path / fold_records.NAME).write_text('{"format": 1, "folds": 2}')
    with pytest.raises(UserError, match=r"folds\.json"):
        read_folds(tmp_path)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The folder of 24 drawn pictures with their folds, two of them."""
    folder = tmp_path_factory.mktemp("drawn")
    drawn_sample.write_sample(folder / "images", images=24, seed=0)
    folds_command.main(images=folder / "images", annotations=folder / "annotations", folds=2)
    return folder


def test_the_records_of_the_folds_hold_every_face_once(drawn):
    folds = read_folds(drawn / "annotations")
    held = [read_records(folds.records_folder(fold), "test") for fold in range(2)]
    truths = [truth for pictures in held for _, truth in pictures]
    assert sorted(truth.name for truth in truths) == sorted(folds.fold_of)
    total = sum((Counter(faces) for faces in folds.faces), Counter())
    assert Counter(CLASSES.name_of(int(label)) for truth in truths for label in truth.class_ids) == total
    for fold in range(2):
        names = {
            split: {truth.name for _, truth in read_records(folds.records_folder(fold), split)} for split in SPLITS
        }
        assert all(names.values())
        assert sum(map(len, names.values())) == len(set.union(*names.values())) == len(folds.fold_of)

    source = evaluated_pictures.source_from_json(cross_validation.pooled_source(folds))
    pooled = {truth.image_id: truth.name for _, truth in evaluated_pictures.read_pictures(source, CLASSES)}
    assert [pooled[number] for number in range(1, 25)] == sorted(folds.fold_of)


def test_folds_again_are_the_same_folds(drawn):
    folds = read_folds(drawn / "annotations")
    folds_command.main(images=drawn / "images", annotations=drawn / "annotations", folds=2)
    assert read_folds(drawn / "annotations") == folds


@pytest.mark.long
def test_a_classifier_is_trained_on_each_fold(drawn, tmp_path, capfd):
    command = {
        "system": "classifier",
        "classifier_options": "WEIGHTS=none SIZE=32 EPOCHS=2 BATCH=8 MIN_FACE=4 FORMATS=saved_model",
        "annotations": drawn / "annotations",
        "crossval": tmp_path / "crossval",
        "reports": tmp_path / "reports",
        "draws": 100,
    }
    crossval_command.main(**command)
    written = json.loads((tmp_path / "reports" / "crossval-classifier" / "classifier.json").read_text())
    folds = read_folds(drawn / "annotations")
    assert written["metrics"]["faces"] == sum(sum(faces.values()) for faces in folds.faces)
    assert "epoch 2/2" in capfd.readouterr().err
    crossval_command.main(**command)  # nothing is trained again
    assert "epoch" not in capfd.readouterr().err


def test_pictures_that_the_start_has_learned_are_counted_over_all_folds():
    folds = [SimpleNamespace(metrics={"model": {"model": "ssd", "seen_in_training": seen}}) for seen in (3, 0, 4)]
    assert cross_validation.pooled_model("crossval", folds)["seen_in_training"] == 7
