"""What the small weights that ship cost a detector, over the folds of a cross-validation.

    python -m benchmarks.shipped_weights workspace/crossval/crossval-two_stage annotations

Every held-out picture is measured twice: by the networks of its fold in float32, and by the same networks as
`make ready` writes them, large kernels in 8 bits and other weights in float16. The figures are pooled as
`make crossval` pools them. A face detector keeps its weights: it is small.
"""

import argparse
import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

from facemask.classifier import exported_classifier
from facemask.core import openvino_model
from facemask.core.label_map import LabelMap
from facemask.data import fold_records
from facemask.detect.detector_choice import DetectorChoice, choose_detector
from facemask.detect.face_sizes import parse_sizes
from facemask.detect.faces import yunet
from facemask.evaluation import coco, cross_validation, evaluated_pictures
from facemask.evaluation.cross_validation import Plan
from facemask.evaluation.measurement import measure_detector
from facemask.export.ready_folder import CLASSIFIER_KERNEL, DETECTOR_KERNEL


def write_small(exported: Path, small: Path) -> None:
    """Copy exported models, their OpenVINO form alone and with small weights, and face detectors as they are."""
    for model in exported.glob(f"*/{yunet.TRAINED}"):
        shutil.copytree(model.parent, small / model.parent.name)
    for model in sorted(path.parent for path in exported.glob("*/openvino")):
        target = small / model.name
        (target / "openvino").mkdir(parents=True)
        for file in model.glob("*.json"):
            shutil.copy(file, target)
        is_classifier = (model / exported_classifier.NAME).is_file()
        least = CLASSIFIER_KERNEL if is_classifier else DETECTOR_KERNEL
        openvino_model.write_small_weights(model / "openvino", target / "openvino", least)


def measure(exported: Path, plan: Plan, annotations: Path) -> coco.CocoMetrics:
    """The pooled metrics of the folds' detectors in a folder, on the pictures that each has not seen."""
    folds = fold_records.read_folds(annotations)
    label_map = LabelMap(folds.classes)
    truths, detections = [], []
    for fold in range(folds.count):
        options = cross_validation.options_of_step(exported, folds, plan, fold, "eval")
        faces = exported / f"fold{fold}-faces" / yunet.TRAINED
        choice = DetectorChoice(
            exported,
            f"fold{fold}",
            detector=plan.system,
            faces_model=faces if faces.is_file() else None,
            faces_sizes=parse_sizes(options.get("faces_size", "")),
            classifier=options["classifier"],
            precision="fp32",
        )
        where = evaluated_pictures.records_source(folds.records_folder(fold), "test", label_map)
        found = measure_detector(choose_detector(choice).open(), evaluated_pictures.read_pictures(where, label_map))
        truths += [*found.truths]
        detections += [*found.detections]
    truths = [dataclasses.replace(one, image_id=number) for number, one in enumerate(truths, start=1)]
    return coco.evaluate_detections(truths, detections, label_map)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crossval", type=Path, help="folder of a cross-validation with a detector")
    parser.add_argument("annotations", type=Path, help="folder of the folds' records")
    given = parser.parse_args()
    value = json.loads((given.crossval / cross_validation.NAME).read_text(encoding="utf-8"))
    plan = Plan(value["system"], value["options"], value.get("classifiers", 1))
    with tempfile.TemporaryDirectory() as scratch:
        write_small(given.crossval / "exported", Path(scratch))
        for name, exported in (("float32", given.crossval / "exported"), ("as shipped", Path(scratch))):
            figures = measure(exported, plan, given.annotations)
            classes = ", ".join(f"{one.name} {100 * (one.ap50 or 0):.2f}" for one in figures.classes)
            print(f"{name}: mAP@0.5 {100 * (figures.map50 or 0):.2f} ({classes}), AP {100 * (figures.map or 0):.2f}")


if __name__ == "__main__":
    main()
