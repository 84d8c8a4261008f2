"""Make the detector that comes with facemask, `facemask/ready/`, from exported models.

Its weights come from a detector and a classifier that were trained on all pictures. The thresholds and metrics of each
form come from evaluations on held-out pictures, of models that were trained with the same options.
"""

import base64
import contextlib
import dataclasses
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from facemask.classifier import exported_classifier, face_classifier
from facemask.core import exported_model, json_files, openvino_model
from facemask.core.errors import UserError
from facemask.core.exported_model import ExportedModel
from facemask.core.files import replacing_file, replacing_folder, sha256, write_json
from facemask.core.onnx_weights import halve_weights
from facemask.data.labelled_picture import GroundTruth
from facemask.detect import runtimes
from facemask.detect.faces import face_finder
from facemask.detect.faces.yunet import load_yunet
from facemask.evaluation import evaluate, evaluated_pictures
from facemask.evaluation.evaluate import EvaluationResult, SavedEvaluation
from facemask.evaluation.mistakes import KINDS
from facemask.evaluation.report import mistake_sheet, report_pages
from facemask.export import model_card, parity, threshold_choice
from facemask.ready import shipped_detector

MOST_SHIPPED, MOST_A_FILE, MOST_TRAINING = 12_000_000, 8_000_000, 8_000_000
"""Bytes: the files that the wheel carries together, the largest of them, and the weights to train on together."""

MISTAKES_SHOWN = 5
"""The most mistakes of each kind in the picture that the model card shows."""

DRAWS = 1000
"""Draws of the pictures for the intervals, where the evaluation has none."""

DETECTOR_KERNEL, CLASSIFIER_KERNEL = 150_000, 10_000
"""Kernels with so many values are in 8 bits: the eight largest of the SSD, since 8 bits in all would move boxes, and
all of a classifier but the depthwise ones, whose 8 bits lost 0.2 points of mAP@0.5 (`benchmarks.shipped_weights`)."""

SAME_SCORE = 0.02
"""Largest difference that smaller weights may make to a score of the SSD. With an earlier SSD, on fold 0, mAP@0.5 and
AP@[.5:.95] were 0.5795 and 0.3256 in float32, and 0.5795 and 0.3249 with differences of up to 0.018."""

SURE_FACE, SAME_FACE, SAME_BOXES = 0.25, 0.5, 0.99
"""Faces that score so much must be found in half precision too: each with a box of IoU `SAME_FACE`, and of `SAME_BOXES`
on average. Of two boxes of a face with almost the same score, either may remain."""

SAME_PROBABILITY = 0.02
"""Largest mean difference that 8 bits may make to a classifier's probabilities for parts of the pictures, most of which
show no face, where probabilities are the least certain."""


@dataclass(frozen=True)
class Sources:
    """The sources of the shipped detector. What is None or missing stays as the folder has it.

    Attributes:
        detector: The folder of the exported detector.
        classifiers: The folders of the exported classifiers, as many as the forms use, or none.
        yunet: YuNet's network as it was published.
        faces: YuNet's network as `make faces` trained it.
        evaluations: For each form, by its name, the evaluation of its recipe on pictures that were held out:
            of a cross-validation, or of one fold.
        held_out: The pictures of the first form's evaluation, uint8 arrays of shape (height, width, 3), RGB, with their
            ground truth, in any order.
        training_pictures: The perceptual hashes of the pictures that all were trained on.
        training_weights: The files of the weights to train on, by part; see `facemask.tfod.compact_checkpoint`.
    """

    detector: Path | None
    classifiers: Sequence[Path]
    yunet: Path | None
    faces: Path | None
    evaluations: Mapping[str, SavedEvaluation]
    held_out: Iterable[tuple[np.ndarray, GroundTruth]]
    training_pictures: Sequence[int]
    training_weights: Mapping[str, Path]


def write_ready(sources: Sources, folder: Path, pictures: Sequence[np.ndarray], made: Mapping[str, Any]) -> Path:
    """Write the folder of the shipped detector. An error leaves the folder as it was.

    `ready.json` holds the digests of the other files and is renamed last.

    Args:
        sources: What to make it from.
        folder: `facemask/ready`.
        pictures: Pictures on which the smaller weights are compared with the exports.
        made: The provenance, from `provenance.made_by`.

    Returns:
        The path of `ready.json`.

    Raises:
        UserError: A part is missing, the parts do not fit each other, smaller weights change the results, the files are
            too large, or a part that stays was trained on other pictures.
    """
    before = _read_before(folder)
    packed = base64.b64encode(shipped_detector.pack_hashes(list(sources.training_pictures))).decode()
    parts_stay = None in (sources.detector, sources.faces) or not sources.classifiers
    if before and parts_stay and before["training_pictures"] != packed:
        raise UserError(f"{folder}: was trained on other pictures. Name all of RUN, CLASSIFIER and FACES.")
    results = {name: _at_thresholds(saved) for name, saved in sources.evaluations.items()}
    made_forms = {name: _form(saved, *results[name]) for name, saved in sources.evaluations.items()}
    known = {**before.get("forms", {}), **made_forms}
    forms = {name: known[name] for name in shipped_detector.FORMS if name in known}
    if set(forms) != set(shipped_detector.FORMS):
        raise UserError(f"{folder}: has no figures of {', '.join(set(shipped_detector.FORMS) - set(forms))} yet.")
    detector = exported_model.read_exported_model(sources.detector or folder / shipped_detector.DETECTOR)
    used = max(1, *(form["classifiers"] for form in forms.values()))
    names = shipped_detector.CLASSIFIERS[:used]
    if used > len(names):
        raise UserError(f"the reports average {used} classifiers, and {folder} holds {len(names)} at most.")
    folders = sources.classifiers or [folder / name for name in names]
    if len(folders) != used or not all(one.is_dir() for one in folders):
        raise UserError(f"the forms average {used} classifiers. Name so many: CLASSIFIER=first,second.")
    classifiers = [exported_classifier.read_exported_classifier(one) for one in folders]
    for name, saved in sources.evaluations.items():
        if any(other != saved.label_map for other in (detector.label_map, *(one.label_map for one in classifiers))):
            raise UserError(f"{saved.folder}: has other classes than {detector.folder} or {folders[0]} ({name}).")
    sheet = None
    if (first := shipped_detector.FORMS[0]) in sources.evaluations:
        saved = sources.evaluations[first]
        gallery = report_pages.mistake_gallery(saved, results[first][1], sources.held_out, MISTAKES_SHOWN)
        sheet = mistake_sheet.draw_mistake_sheet(gallery)
    training = {part: f"{shipped_detector.TRAINING_WEIGHTS}/{part}.npz" for part in ("detector", "classifier")}
    parts = (shipped_detector.YUNET, shipped_detector.FACES, shipped_detector.DETECTOR, *names)
    paths = {part: folder / part for part in (*parts, *training.values())}
    with contextlib.ExitStack() as written:  # renamed when the block ends, the first one last

        def beside(part: str) -> Path:
            replacing = replacing_file if Path(part).suffix else replacing_folder
            paths[part] = written.enter_context(replacing(folder / part))
            return paths[part]

        ready, card = beside(shipped_detector.NAME), beside(model_card.NAME)
        if sheet is not None:
            beside(model_card.MISTAKES).write_bytes(sheet)
        if sources.detector is not None:
            _write_detector(detector, beside(shipped_detector.DETECTOR), pictures)
        for part, classifier in zip(names, classifiers, strict=True):
            if sources.classifiers:
                _write_classifier(classifier, beside(part), pictures)
        if sources.yunet is not None:
            _copy_yunet(sources.yunet, beside(shipped_detector.YUNET))
        if sources.faces is not None:
            _write_faces(sources.faces, beside(shipped_detector.FACES), pictures)
        for part, file in sources.training_weights.items():
            shutil.copyfile(file, beside(training[part]))
        shipped = {
            str(Path(part, file.relative_to(paths[part]))): file
            for part in parts
            for file in (paths[part], *sorted(paths[part].rglob("*")))
            if file.is_file()
        }
        weights = {part: paths[name] for part, name in training.items()}
        _refuse_too_large(shipped.values(), weights.values())
        value = {
            "format": shipped_detector.FORMAT,
            "forms": forms,
            "files": {name: _digest(file) for name, file in shipped.items()},
            "training_weights": {part: _digest(file) for part, file in weights.items()},
            "training_pictures": packed,
            "made": without_machine_paths(dict(made)),
        }
        card.write_text(model_card.model_card(folder / model_card.RECIPE, value), encoding="utf-8")
        write_json(ready, value)
    for part in shipped_detector.CLASSIFIERS[used:]:  # of a form that averaged more
        shutil.rmtree(folder / part, ignore_errors=True)
    shipped_detector.open_shipped(folder)
    return folder / shipped_detector.NAME


def _read_before(folder: Path) -> dict[str, Any]:
    """The content of the `ready.json` that the folder has; empty if it has none."""
    path = folder / shipped_detector.NAME
    if not path.is_file():
        return {}
    with json_files.reading_json(path, shipped_detector.FORMAT, step="ready", absent="", again="Remove it.") as value:
        return dict(value)


def without_machine_paths(value: Any) -> Any:
    """JSON values in which an absolute path is only its last part, also inside a text.

    Example:
        >>> without_machine_paths({"weights": "/home/me/w.h5", "options": "WEIGHTS=/home/me/w.h5 EPOCHS=4"})
        {'weights': 'w.h5', 'options': 'WEIGHTS=w.h5 EPOCHS=4'}
    """
    if isinstance(value, dict):
        return {name: without_machine_paths(one) for name, one in value.items()}
    if isinstance(value, list):
        return [without_machine_paths(one) for one in value]
    return re.sub(r"(?<![\w./~])~?(?:/[^\s/]+)+/([^\s/]+)", r"\1", value) if isinstance(value, str) else value


def _at_thresholds(saved: SavedEvaluation) -> tuple[dict[str, float], EvaluationResult]:
    """The thresholds that an evaluation gives, and its metrics and mistakes at them."""
    thresholds = threshold_choice.choose_thresholds(saved.truths, saved.detections, saved.label_map)
    used = [thresholds.get(name, 0.5) for name in saved.label_map.names]
    return thresholds, evaluate.compute_metrics(saved.truths, saved.detections, saved.label_map, used)


def _form(saved: SavedEvaluation, thresholds: Mapping[str, float], result: EvaluationResult) -> dict[str, Any]:
    """A form as `ready.json` has it: what it is, its thresholds, and its figures on held-out pictures."""
    metrics = saved.metrics
    settings = metrics["made"]["settings"]
    figures = result.coco_metrics
    intervals = metrics.get("intervals") or evaluate.ap_intervals(result.matches, DRAWS, seed=0)
    classes = [
        {
            "name": one.name,
            "faces": one.boxes,
            "ap50": one.ap50,
            "ap50_interval": _ends(interval["ap50"]),
            "threshold": point.threshold,
            "precision": point.precision,
            "recall": point.recall,
        }
        for one, interval, point in zip(figures.classes, intervals["classes"], result.one_box, strict=True)
    ]
    faces = metrics["model"].get("faces") or {"name": "yunet", "sizes": []}
    return {
        "detector": settings.get("system") or settings.get("detector") or "ssd",
        "faces": faces["name"],
        "faces_file": _faces_file(faces),
        "faces_sizes": faces["sizes"],
        "classifiers": len((metrics["model"].get("classifier") or {"runs": []})["runs"]),
        "thresholds": dict(thresholds),
        "figures": {
            "all_folds": metrics["source"]["split"] == evaluated_pictures.FOLDS,
            "images": figures.images,
            "faces": figures.boxes,
            "map50": figures.map50,
            "map50_interval": _ends(intervals["map50"]),
            "map": figures.map,
            "map_interval": _ends(intervals["map"]),
            "classes": classes,
            "sizes": [dataclasses.asdict(size) for size in figures.sizes],
            "mistakes": {kind: sum(one.kind == kind for one in result.mistakes) for kind in KINDS},
            "latency_ms": metrics["speed"]["latency_ms"],
            "hardware": metrics["speed"]["hardware"],
        },
    }


def _faces_file(faces: Mapping[str, Any]) -> str:
    """The file in the folder of a form's face detector: the published one, or the one that `make faces` trained."""
    (published,) = face_finder.KINDS["yunet"].files
    digests = {f"sha256:{digest}" for digest in faces.get("files", {}).values()}
    return shipped_detector.FACES if digests - {published.digest} else shipped_detector.YUNET


def _ends(interval: Mapping[str, Any]) -> list[float | None]:
    return [interval["low"], interval["high"]]


def _write_detector(model: ExportedModel, target: Path, pictures: Sequence[np.ndarray]) -> None:
    reference = runtimes.load_model(model.folder, "openvino", "fp32").detect_all(pictures)
    (target / "openvino").mkdir()
    openvino_model.write_small_weights(model.openvino, target / "openvino", DETECTOR_KERNEL)
    dataclasses.replace(model, folder=target, thresholds={}).write({})
    found = runtimes.load_model(target, "openvino", "fp32").detect_all(pictures)
    difference = parity.compare_detections(reference, found)
    worst = max(difference.scores, difference.best_scores)
    if difference.unmatched or difference.pixels > parity.PIXELS or worst > SAME_SCORE:
        raise UserError(f"{model.openvino}: smaller weights change its boxes ({difference}), so nothing is kept.")


def _write_classifier(
    model: exported_classifier.ExportedClassifier, target: Path, pictures: Sequence[np.ndarray]
) -> None:
    """Write a classifier with kernels in 8 bits. Whether they cost accuracy, `benchmarks.shipped_weights` measures."""
    crops = [part for image in pictures for row in np.array_split(image, 3) for part in np.array_split(row, 3, axis=1)]
    expected = face_classifier.open_classifier(model.folder, "openvino", "fp32").classify(crops)
    (target / "openvino").mkdir()
    openvino_model.write_small_weights(model.openvino, target / "openvino", CLASSIFIER_KERNEL)
    dataclasses.replace(model, folder=target, metrics={}).write({})
    found = face_classifier.open_classifier(target, "openvino", "fp32").classify(crops)
    difference = float(np.abs(found - expected).mean())
    if not difference <= SAME_PROBABILITY:
        raise UserError(f"{model.openvino}: 8 bits change its probabilities by {difference:.3f}.")


def _write_faces(source: Path, target: Path, pictures: Sequence[np.ndarray]) -> None:
    """Write a face detector in half precision, in which it has to find the same faces."""
    import onnx

    proto = onnx.load(str(source))
    halve_weights(proto)
    target.write_bytes(proto.SerializeToString())
    whole, halved = load_yunet([source], 640), load_yunet([target], 640)
    ious = []
    for picture in pictures:
        [wanted], [found] = whole.find([picture]), halved.find([picture])
        sure = wanted.xyxy[np.asarray(wanted.confidence) >= SURE_FACE]
        ious.append(sv.box_iou_batch(sure, found.xyxy).max(axis=1, initial=0))
    overlaps = np.concatenate([*ious, np.ones(0)])
    if overlaps.size and (overlaps.min() < SAME_FACE or overlaps.mean() < SAME_BOXES):
        raise UserError(f"{source}: half precision loses a face or moves the boxes, so nothing is kept.")


def _copy_yunet(source: Path, target: Path) -> None:
    if not face_finder.is_published(source):
        raise UserError(f"{source}: is not the file of {face_finder.KINDS['yunet'].files[0].address}.")
    shutil.copyfile(source, target)


def _refuse_too_large(shipped: Any, training: Any) -> None:
    sizes = [file.stat().st_size for file in shipped]
    weights = [file.stat().st_size for file in training]
    for what, size, most in (
        ("the files that the wheel carries", sum(sizes), MOST_SHIPPED),
        ("the largest file", max([*sizes, *weights]), MOST_A_FILE),
        ("the weights to train on", sum(weights), MOST_TRAINING),
    ):
        if size > most:
            raise UserError(f"{what}: {size / 1e6:.1f} MB, at most {most / 1e6:.0f} MB belong into the repository.")


def _digest(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256(file)}
