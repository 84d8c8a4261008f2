"""Cross-validation: train and evaluate a system once per fold, then pool all held-out pictures into one evaluation.

    workspace/crossval/<NAME>/
        crossval.json            the `Plan`, the digest of the folds, and the provenance
        fold0.json ...           the finished steps of each fold
        fold0-answers.json ...   SYSTEM=classifier: the probabilities of each held-out face
        models/ exported/        the runs: fold0 (the detector), fold0-classifier, fold0-classifier-2, fold0-faces, ...
        reports/fold0/ ...       the evaluation of each fold's held-out pictures

A finished step is not repeated, and an interrupted step resumes as it does outside a cross-validation. The same command
therefore continues a cross-validation that was killed.
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facemask.classifier import MIN_FACE, classifier_metrics
from facemask.classifier.classifier_metrics import ClassifierMetrics
from facemask.core import charts, json_files
from facemask.core.errors import UserError
from facemask.core.files import holding_lock, link_or_copy, write_bytes, write_json
from facemask.core.label_map import LabelMap
from facemask.data import ground_truth
from facemask.data.fold_records import Folds
from facemask.detect import detector_choice
from facemask.detect.faces import yunet
from facemask.detect.score_thresholds import METRICS
from facemask.evaluation import bootstrap, evaluate, evaluated_pictures
from facemask.evaluation.bootstrap import ClassifierSamples, ConfidenceInterval
from facemask.evaluation.evaluate import CLASSIFIER_REPORT, SavedEvaluation
from facemask.evaluation.measurement import MeasuredDetections, Speed
from facemask.evaluation.report import metric_tables

FORMAT = 1
NAME = "crossval.json"
ANSWERS = "answers.json"

CLASSIFIER_SYSTEM = "classifier"
"""The system without a detector. It is measured on the labelled boxes."""

_DETECTOR, _CLASSIFIER, _FACES = ("train", "export"), ("classifier",), ("faces",)
STEPS_OF = {
    "ssd": (*_DETECTOR, "eval"),
    CLASSIFIER_SYSTEM: (*_CLASSIFIER, "answers"),
    "two_stage": (*_FACES, *_DETECTOR, *_CLASSIFIER, "eval"),
    "rescored": (*_DETECTOR, *_CLASSIFIER, "eval"),
    "fused": (*_FACES, *_DETECTOR, *_CLASSIFIER, "eval"),
}
"""The steps of each fold, by system; `Plan.steps` leaves out those that its options do not need. All but "answers" are
commands. A system's name is a DETECTOR of `make eval`."""

RESERVED_OPTIONS = frozenset(
    (
        *("run", "annotations", "models", "exported", "reports", "report", "fresh", "split", "images", "dataset"),
        *("detector", "classifier", "faces_model", "threshold", "voc"),
    )
)
"""Options of the steps that a user cannot pass on, because crossval sets them."""

RunStep = Callable[[str, Mapping[str, str]], None]
"""Runs a step with its options, such as {"run": "fold0", "steps": "1500"}; raises if the step fails."""

ReadAnswers = Callable[[Sequence[Path], Path, float], "Answers"]
"""Classifies held-out faces: (the exported classifiers, the fold's records, the least side of a face) -> answers."""


@dataclass(frozen=True)
class Plan:
    """What is cross-validated. The same plan gives the same result.

    Attributes:
        system: One of `STEPS_OF`.
        options: The options that the user passes on to each step, by name: {"train": {"steps": "1500"}}.
        classifiers: How many classifiers are trained, with seeds that follow each other. Their probabilities are
            averaged.
    """

    system: str
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    classifiers: int = 1

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of each fold, in order: a face detector is trained if there are options for it.

        The second classifier's step is `classifier-2`.
        """
        finder = self.options.get("eval", {}).get("faces", "yunet")
        unused = {*_DETECTOR} if self.system == "two_stage" and finder != "ssd" else set()
        if finder != "yunet" or not self.options.get("faces"):
            unused |= {*_FACES}
        steps: list[str] = []
        for step in STEPS_OF[self.system]:
            if step not in unused:
                steps += self.classifier_steps if step == "classifier" else [step]
        return tuple(steps)

    @property
    def classifier_steps(self) -> tuple[str, ...]:
        """The steps that train the classifiers."""
        return ("classifier", *(f"classifier-{number}" for number in range(2, self.classifiers + 1)))


@dataclass(frozen=True)
class Answers:
    """A classifier's answers for the held-out faces.

    Attributes:
        classes: The K classes.
        names: (n) the picture and the box number, from 1, of each face: `street.jpg#2`.
        labels: (n,) int, the true classes, from 0.
        probabilities: (n, K) float.
        left_out: The number of faces that are not measured, by reason.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    left_out: Mapping[str, int] = field(default_factory=dict)


def parse_plan(system: str, options: Mapping[str, Mapping[str, str]], classifiers: int = 1) -> Plan:
    """Make a plan from the values that a user gave.

    Args:
        system: The value of SYSTEM.
        options: The options to pass on to each step, by name with underscores.
        classifiers: The value of CLASSIFIERS.

    Raises:
        UserError: There is no such system, it does not have a step that options are given for, or crossval itself sets
            one of the options.
    """
    if system not in STEPS_OF:
        raise UserError(f"SYSTEM={system}: must be one of {', '.join(STEPS_OF)}.")
    plan = Plan(system, {step: dict(sorted(given.items())) for step, given in options.items() if given}, classifiers)
    if classifiers > 1 and "classifier" not in plan.steps:
        raise UserError(f"CLASSIFIERS={classifiers}: SYSTEM={system} has no classifier. Leave it out.")
    for step, given in plan.options.items():
        if step not in plan.steps:
            raise UserError(f"{step}: SYSTEM={system} has no such step; its steps are {', '.join(plan.steps)}.")
        for name in given:
            if name in RESERVED_OPTIONS:
                raise UserError(f"{name.upper()}: crossval sets it for each fold itself. Remove it.")
            if step == "eval" and name.upper() in detector_choice.unused_parts(system):
                raise UserError(f"{name.upper()}: SYSTEM={system} has no such part. Leave it out.")
    return plan


def cross_validate(
    folder: Path,
    folds: Folds,
    plan: Plan,
    run_step: RunStep,
    read_answers: ReadAnswers,
    made: Mapping[str, Any],
    *,
    fresh: bool = False,
    reuse: Sequence[Path] = (),
    fold: int | None = None,
    print_line: Callable[[str], None] = print,
) -> None:
    """Run the plan's steps for each fold, continuing where an earlier call ended.

    Args:
        folder: `workspace/crossval/<NAME>`.
        folds: The folds.
        plan: The system and its options.
        run_step: Runs a step.
        read_answers: Classifies the held-out faces of a fold.
        made: The provenance, from `provenance.made_by`.
        fresh: Remove the folder's content and start over.
        reuse: Folders of cross-validations whose models are used instead of training the same ones again.
        fold: Run the steps of this fold only.
        print_line: Called with each line for the user.

    Raises:
        UserError: The folder was made with another plan or other records, the folds or records changed, or a step
            failed.
    """
    with holding_lock(
        folder.with_name(f".{folder.name}.lock"), f"{folder}: another `make crossval` uses it. Wait until that ends."
    ):
        _prepare(folder, folds, plan, made, fresh=fresh)
        for number in _chosen(folds, fold):
            folds.refuse_other_records(number)
            progress = folder / f"fold{number}.json"
            done = _finished_steps(folder, number, folds)
            for other in reuse:
                done = _reuse_runs(folder, other, folds, plan, number, done)
            for step in plan.steps:
                if step in done:
                    continue
                print_line(f"fold {number + 1} of {folds.count}: {step}")
                if step == "answers":
                    least = float(plan.options.get("classifier", {}).get("min_face", MIN_FACE))
                    exported = [folder / "exported" / f"fold{number}-{one}" for one in plan.classifier_steps]
                    _write_answers(
                        _answers_path(folder, number), read_answers(exported, folds.records_folder(number), least)
                    )
                else:
                    run_step(step.partition("-")[0], options_of_step(folder, folds, plan, number, step))
                done = [*done, step]
                _write_finished(progress, folds.records[number], done)


def options_of_step(folder: Path, folds: Folds, plan: Plan, fold: int, step: str) -> dict[str, str]:
    """The options of a step in a fold: those of the user, and the folders and names of the fold.

    `{fold}` in a value of the user's is the fold's number, so that a fold can start from weights of its own.
    """
    detector_run = f"fold{fold}"
    annotations = {"annotations": str(folds.records_folder(fold))}
    models, exported = {"models": str(folder / "models")}, {"exported": str(folder / "exported")}
    reports = {"reports": str(folder / "reports")}
    faces_run = _faces_run(fold)
    faces_model = {"faces_model": str(folder / "exported" / faces_run / yunet.TRAINED)} if "faces" in plan.steps else {}
    if step in plan.classifier_steps:
        given = _of_fold(plan.options.get("classifier", {}), fold)
        seed = int(given.get("seed", "0")) + plan.classifier_steps.index(step)
        run = {"run": f"fold{fold}-{step}", "seed": str(seed)}
        return {**given, **run, **faces_model, **annotations, **models, **exported, **reports}
    classifiers = ",".join(f"fold{fold}-{one}" for one in plan.classifier_steps)
    own = {
        "faces": {"run": faces_run, **annotations, **models, **exported},
        "train": {"run": detector_run, **annotations, **models},
        "export": {"run": detector_run, **annotations, **models, **exported},
        "eval": {
            "run": detector_run,
            **({"classifier": classifiers} if "classifier" in plan.steps else {}),
            "detector": plan.system,
            "report": f"fold{fold}",
            "split": "test",
            **faces_model,
            **annotations,
            **exported,
            **reports,
        },
    }
    return {**_of_fold(plan.options.get(step, {}), fold), **own[step]}


def _of_fold(options: Mapping[str, str], fold: int) -> dict[str, str]:
    return {name: value.replace("{fold}", str(fold)) for name, value in options.items()}


def _chosen(folds: Folds, fold: int | None) -> Sequence[int]:
    """All folds, or the one; raises UserError if there is no such fold."""
    if fold is None:
        return range(folds.count)
    if fold not in range(folds.count):
        raise UserError(f"FOLD={fold}: {folds.annotations} has the folds 0 to {folds.count - 1}.")
    return [fold]


def read_fold_evaluations(folder: Path, folds: Folds, fold: int | None = None) -> list[SavedEvaluation]:
    """Read the evaluation of each fold's held-out pictures, or of one fold's.

    Raises:
        UserError: An evaluation is missing, or was made on other records.
    """
    evaluations = []
    for one in _chosen(folds, fold):
        saved = evaluate.read_evaluation(folder / "reports" / f"fold{one}")
        if saved.metrics["source"]["digest"] != folds.records[one]:
            raise UserError(
                f"{saved.folder}: was measured on other records than the present ones. FRESH=1 starts over."
            )
        evaluations.append(saved)
    return evaluations


def pool_evaluations(
    evaluations: Sequence[SavedEvaluation], folds: Folds, fold: int | None = None
) -> MeasuredDetections:
    """Join the held-out pictures of all folds into one measurement, in the order of their names, numbered from 1.

    One fold's pictures keep their order and numbers, because they are the test split of its records. The speed is that
    of the folds together: the median of their median latencies, and the highest 95th percentile.

    Raises:
        UserError: A picture of the folds was not measured, or one was measured twice.
    """
    pairs = [pair for saved in evaluations for pair in zip(saved.truths, saved.detections, strict=True)]
    if sorted(truth.name for truth, _ in pairs) != sorted(held_out_names(folds, fold)):
        raise UserError(
            f"{folds.annotations}: the held-out pictures of the folds are not the pictures of folds.json, each once. "
            "Run `make folds` again, and cross-validate from the start: FRESH=1."
        )
    speeds = [saved.metrics["speed"] for saved in evaluations]
    images = sum(speed["images"] for speed in speeds)
    speed = Speed(
        images=images,
        batch=speeds[0]["batch"],
        latency_ms=float(np.median([one["latency_ms"] for one in speeds])),
        latency_p95_ms=max(one["latency_p95_ms"] for one in speeds),
        images_per_second=images / sum(one["images"] / one["images_per_second"] for one in speeds),
        hardware="; ".join(sorted({one["hardware"] for one in speeds})),
    )
    if fold is None:
        pairs.sort(key=lambda pair: pair[0].name)
        pairs = [(dataclasses.replace(truth, image_id=one), found) for one, (truth, found) in enumerate(pairs, start=1)]
    return MeasuredDetections(tuple(truth for truth, _ in pairs), tuple(found for _, found in pairs), speed)


def held_out_names(folds: Folds, fold: int | None = None) -> list[str]:
    """The names of the pictures that are held out: all, or those of one fold."""
    return [name for name, other in folds.fold_of.items() if fold is None or other == fold]


def pooled_model(name: str, evaluations: Sequence[SavedEvaluation], fold: int | None = None) -> dict[str, Any]:
    """The description of a pooled evaluation's model: the first fold's, with the cross-validation's name."""
    model = dict(evaluations[0].metrics["model"])
    which = f"{len(evaluations)} folds" if fold is None else f"fold {fold} only"
    seen = sum(int(one.metrics["model"].get("seen_in_training", 0)) for one in evaluations)
    whole = {"run": name, "model": f"{model['model']}, {which}", "config_sha256": None, "seen_in_training": seen}
    return model | whole


def pooled_source(folds: Folds) -> dict[str, Any]:
    """The source of the pooled pictures, as JSON values for metrics.json."""
    return evaluated_pictures.PictureSource(folds.annotations, evaluated_pictures.FOLDS, folds.digest).to_json()


def read_pooled_answers(folder: Path, folds: Folds, fold: int | None = None) -> Answers:
    """Read the probabilities of all held-out faces of all folds.

    Raises:
        UserError: A file is missing, was not written by `make crossval`, or has a face twice.
    """
    parts = [_read_answers(_answers_path(folder, one)) for one in _chosen(folds, fold)]
    names = tuple(name for part in parts for name in part.names)
    if len(set(names)) != len(names) or not {_picture_of(name) for name in names} <= set(folds.fold_of):
        raise UserError(f"{folder}: its answers belong to other pictures than those of the folds. FRESH=1 starts over.")
    left_out: dict[str, int] = {}
    for part in parts:
        for reason, count in part.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + count
    return Answers(
        classes=parts[0].classes,
        names=names,
        labels=np.concatenate([part.labels for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        left_out=left_out,
    )


@dataclass(frozen=True)
class PooledClassifier:
    """A classifier's metrics over all folds, with 95% intervals over pictures."""

    metrics: ClassifierMetrics
    accuracy: ConfidenceInterval
    macro_f1: ConfidenceInterval
    f1: tuple[ConfidenceInterval, ...]


def measure_answers(answers: Answers, draws: int, seed: int) -> PooledClassifier:
    """Compute the metrics of a classifier's pooled answers. `draws` and `seed` are those of the intervals."""
    metrics = classifier_metrics.measure_classifier(answers.probabilities, answers.labels, LabelMap(answers.classes))
    sampled = sample_answers(answers, draws, seed)
    return PooledClassifier(
        metrics=metrics,
        accuracy=bootstrap.percentile_interval(sampled.accuracy),
        macro_f1=bootstrap.percentile_interval(sampled.macro_f1),
        f1=tuple(bootstrap.percentile_interval(values) for values in sampled.f1.T),
    )


def sample_answers(answers: Answers, draws: int, seed: int) -> ClassifierSamples:
    """A classifier's metrics on draws of the pictures: the same draws for all classifiers of the same faces."""
    classes = len(answers.classes)
    pictures = sorted({_picture_of(name) for name in answers.names})
    place = {name: index for index, name in enumerate(pictures)}
    confusions = np.zeros((len(pictures), classes, classes), int)
    rows = np.array([place[_picture_of(name)] for name in answers.names], int)
    np.add.at(confusions, (rows, answers.labels, answers.probabilities.argmax(axis=1)), 1)
    return bootstrap.bootstrap_f1(confusions, bootstrap.draw_images(len(pictures), draws, seed))


def read_reported_answers(report: Path) -> Answers:
    """Read the answers that `report_classifier` wrote.

    Raises:
        UserError: There are none, or the file was not written by `make crossval`.
    """
    return _read_answers(report / ANSWERS)


def answer_held_out_faces(exported: Sequence[Path], annotations: Path, least: float) -> Answers:
    """Classify the labelled faces of the test split.

    Args:
        exported: The folders of the exported classifiers, whose probabilities are averaged.
        annotations: The fold's records.
        least: Faces with a side of fewer pixels are left out, as in the classifier's training. Difficult ones are too.

    Raises:
        UserError: There is no classifier or there are no records in these folders.
    """
    from facemask.classifier.face_classifier import open_classifiers
    from facemask.classifier.face_crops import cut_faces

    classifier = open_classifiers(exported)
    names: list[str] = []
    labels: list[int] = []
    rows = [np.zeros((0, len(classifier.label_map)))]
    left_out = {f"smaller than {least:g} px": 0, "marked difficult": 0}
    for image, truth in ground_truth.read_records(annotations, "test"):
        small = (truth.boxes[:, 2:] - truth.boxes[:, :2]).min(axis=1, initial=np.inf) < least
        left_out[f"smaller than {least:g} px"] += int((small & ~truth.difficult).sum())
        left_out["marked difficult"] += int(truth.difficult.sum())
        taken = np.flatnonzero(~small & ~truth.difficult)
        if taken.size:
            crops = cut_faces(image, truth.boxes[taken], classifier.margin, classifier.size)
            rows.append(classifier.classify(crops))
            names.extend(f"{truth.name}#{box + 1}" for box in taken)
            labels.extend(int(truth.class_ids[box]) - 1 for box in taken)
    counted = {reason: count for reason, count in left_out.items() if count}
    return Answers(classifier.label_map.names, tuple(names), np.array(labels, int), np.concatenate(rows), counted)


def report_detector(
    folder: Path,
    folds: Folds,
    report: Path,
    min_scores: Sequence[float] | None,
    draws: int,
    seed: int,
    made: dict[str, Any],
    fold: int | None = None,
) -> None:
    """Pool the evaluations of all folds, write the result to `report` like `make eval`, and print its tables.

    Args:
        folder: `workspace/crossval/<NAME>`, with all folds finished.
        folds: The folds.
        report: `workspace/reports/<NAME>`.
        min_scores: The score threshold of each class; None takes the one with the highest F1.
        draws: Number of draws of the images for the intervals.
        seed: The seed of the draws.
        made: The provenance, from `provenance.made_by`.
        fold: Report this fold alone, which suffices to screen a recipe, and is said in the result.

    Raises:
        UserError: A fold's evaluation is missing, or was made on other pictures.
    """
    from rich.console import Console

    evaluations = read_fold_evaluations(folder, folds, fold)
    measured = pool_evaluations(evaluations, folds, fold)
    label_map = LabelMap(folds.classes)
    most = evaluations[0].metrics["figures"]["max_detections"]
    result = evaluate.compute_metrics(measured.truths, measured.detections, label_map, min_scores, most)
    metrics = evaluate.write_evaluation(
        report,
        measured,
        result,
        label_map,
        source=pooled_source(folds) if fold is None else evaluations[0].metrics["source"],
        model=pooled_model(report.name, evaluations, fold),
        made=made,
        intervals=evaluate.ap_intervals(result.matches, draws, seed),
    )
    console = Console(highlight=False)
    for table in (*metric_tables.evaluation_tables(metrics), metric_tables.intervals_table(metrics["intervals"])):
        console.print(table)
    for note in evaluate.list_caveats(metrics, measured.truths):
        console.print(note, soft_wrap=True)
    if min_scores is None:
        console.print(
            "The thresholds have the highest F1 on these pictures, so precision and recall are slightly flattered.",
            soft_wrap=True,
        )
    console.print(f"{report / METRICS}; `make report RUN={report.name}` makes a page of it", soft_wrap=True)


def report_classifier(
    folder: Path, folds: Folds, report: Path, draws: int, seed: int, made: Mapping[str, Any], fold: int | None = None
) -> PooledClassifier:
    """Pool the answers of all folds, write them, `classifier.json` and `confusion.png`, and print the metrics.

    Raises:
        UserError: A fold's answers are missing, or belong to other pictures.
    """
    answers = read_pooled_answers(folder, folds, fold)
    pooled = measure_answers(answers, draws, seed)
    intervals = {
        "draws": draws,
        "seed": seed,
        "accuracy": dataclasses.asdict(pooled.accuracy),
        "macro_f1": dataclasses.asdict(pooled.macro_f1),
        "f1": {name: dataclasses.asdict(one) for name, one in zip(answers.classes, pooled.f1, strict=True)},
    }
    which = "all folds" if fold is None else f"fold {fold} only"
    picture = charts.confusion_png(np.array(pooled.metrics.confusion), answers.classes, f"{report.name}, {which}")
    write_bytes(report / "confusion.png", picture)
    _write_answers(report / ANSWERS, answers)
    value = {"format": FORMAT, "metrics": pooled.metrics.as_json(), "intervals": intervals}
    value |= {"left_out": dict(answers.left_out), "folds_digest": folds.digest, "made": dict(made)}
    write_json(report / CLASSIFIER_REPORT, value)
    print(pooled.metrics)
    ends = (metric_tables.interval_ends(one) for one in (pooled.macro_f1, pooled.accuracy))
    print("95% intervals over pictures: macro F1 {}, accuracy {}".format(*ends))
    for reason, count in answers.left_out.items():
        print(f"left out: {count} faces {reason}")
    print(f"{report / CLASSIFIER_REPORT}, {report / 'confusion.png'}")
    return pooled


def _prepare(folder: Path, folds: Folds, plan: Plan, made: Mapping[str, Any], *, fresh: bool) -> None:
    path = folder / NAME
    this = {"system": plan.system, "options": plan.options, "classifiers": plan.classifiers}
    this |= {"folds": folds.count, "folds_digest": folds.digest}
    if fresh and folder.exists():
        if not path.is_file():
            raise UserError(f"{folder}: not a cross-validation (no {NAME} in it), so FRESH=1 does not remove it.")
        shutil.rmtree(folder)
    elif path.is_file():
        again = "FRESH=1 starts over."
        with json_files.reading_json(path, FORMAT, step="crossval", absent="", again=again) as value:
            before = {"classifiers": 1, **value}
            other = [name for name, now in this.items() if before[name] != now]
        if other:
            raise UserError(
                f"{folder}: was started with other values of {', '.join(other)}, so it cannot continue. FRESH=1 starts "
                "over, NAME=<another name> keeps both."
            )
        for number in range(folds.count):
            _finished_steps(folder, number, folds)  # refuses a later fold before an earlier one trains for hours
        return
    write_json(path, {"format": FORMAT, **this, "made": dict(made)})


def options_of_reused(folder: Path, folds: Folds) -> dict[str, dict[str, str]]:
    """The options with which another cross-validation trained, by step.

    Args:
        folder: `workspace/crossval/<NAME>` of the other.
        folds: The folds of now.

    Raises:
        UserError: It is none, or it is of other folds.
    """
    path = folder / NAME
    absent = f"{path}: no such file. REUSE= takes names of cross-validations in {folder.parent}."
    with json_files.reading_json(path, FORMAT, step="crossval", absent=absent, again="Run it again.") as value:
        if value["folds_digest"] != folds.digest:
            raise UserError(f"{folder}: was made on other folds than those of {folds.annotations}. Run it again.")
        options: dict[str, dict[str, str]] = value["options"]
        steps = Plan(value["system"], options).steps
        return {step: dict(options.get(step, {})) for step in steps if step in (*_DETECTOR, *_CLASSIFIER, *_FACES)}


def _reuse_runs(folder: Path, other: Path, folds: Folds, plan: Plan, fold: int, done: list[str]) -> list[str]:
    """Link the exported models of another cross-validation's fold. Returns the steps that are then finished.

    Where the detector was exported with other options there, its checkpoints are linked, to be exported again.
    """
    theirs = _finished_steps(other, fold)
    same_export = options_of_reused(other, folds).get("export") == plan.options.get("export", {})
    runs: list[tuple[tuple[str, ...], Path]] = [
        (_DETECTOR, Path("exported", f"fold{fold}")) if same_export else (_DETECTOR[:1], Path("models", f"fold{fold}")),
        (_FACES, Path("exported", _faces_run(fold))),
    ]
    runs += [((step,), Path("exported", f"fold{fold}-{step}")) for step in plan.classifier_steps]
    for steps, run in runs:
        if not set(steps) <= {*plan.steps} & {*theirs} or set(steps) & {*done}:
            continue
        if not (other / run).is_dir():
            raise UserError(f"{other / run}: no such folder. Leave {other.name} out of REUSE= to train it again.")
        shutil.rmtree(folder / run, ignore_errors=True)  # a copy that was cut off
        shutil.copytree(other / run, folder / run, copy_function=link_or_copy)
        done = [*done, *steps]
        _write_finished(folder / f"fold{fold}.json", folds.records[fold], done)
    return done


def _write_finished(path: Path, records_digest: str, steps: Sequence[str]) -> None:
    write_json(path, {"format": FORMAT, "records_digest": records_digest, "finished": list(steps)})


def _finished_steps(folder: Path, fold: int, folds: Folds | None = None) -> list[str]:
    """The finished steps of a fold. Raises a UserError where they were run on other records than those of `folds`.

    A model that is reused may come from other records of the same folds: it has learned none of the held-out pictures.
    """
    path = folder / f"fold{fold}.json"
    if not path.exists():
        return []
    again = "Remove it: the steps of the fold are then done again."
    with json_files.reading_json(path, FORMAT, step="crossval", absent="", again=again) as value:
        # The folds' digest stays the same when `make folds` repeats other pictures.
        if folds and value["records_digest"] != folds.records[fold]:
            raise UserError(
                f"{path}: its steps were run on other records than those of {folds.records_folder(fold)}. "
                f"NAME={folder.name} FRESH=1 starts over, NAME=<another name> keeps both."
            )
        return [str(step) for step in value["finished"]]


def _faces_run(fold: int) -> str:
    return f"fold{fold}-faces"


def _answers_path(folder: Path, fold: int) -> Path:
    return folder / f"fold{fold}-answers.json"


def _picture_of(face: str) -> str:
    return face.rpartition("#")[0]


def _write_answers(path: Path, answers: Answers) -> None:
    write_json(
        path,
        {
            "format": FORMAT,
            "classes": list(answers.classes),
            "left_out": dict(answers.left_out),
            "faces": list(answers.names),
            "labels": answers.labels.tolist(),
            "probabilities": np.round(answers.probabilities.astype(float), 6).tolist(),
        },
    )


def _read_answers(path: Path) -> Answers:
    absent, again = f"{path}: no such file. Run the same `make crossval` again.", "Start over: FRESH=1."
    with json_files.reading_json(path, FORMAT, step="crossval", absent=absent, again=again) as value:
        classes = tuple(str(name) for name in value["classes"])
        return Answers(
            classes=classes,
            names=tuple(str(name) for name in value["faces"]),
            labels=np.array(value["labels"], int),
            probabilities=np.array(value["probabilities"], float).reshape(-1, len(classes)),
            left_out={str(reason): int(count) for reason, count in value["left_out"].items()},
        )
