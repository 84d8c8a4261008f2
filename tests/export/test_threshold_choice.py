"""The thresholds of the shipped classifier behind YuNet, chosen on drawn pictures as `make classifier` does."""

import json
import shutil
from pathlib import Path

import pytest

from facemask.classifier import exported_classifier
from facemask.cli import records_command
from facemask.data import drawn_sample
from facemask.detect.detector_choice import DetectorChoice, choose_detector
from facemask.export import threshold_choice
from facemask.ready import shipped_detector


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(shipped_detector.FOLDER / shipped_detector.CLASSIFIER, tmp_path / "exported" / "classifier")
    )


def write_records(folder: Path, split: str) -> Path:
    drawn_sample.write_sample(folder / "images", images=20, seed=0)
    records_command.main(images=folder / "images", annotations=folder / "annotations", split=split)
    return folder / "annotations"


def test_two_stages_use_thresholds_of_val_with_the_same_face_network(classifier: Path, tmp_path: Path) -> None:
    annotations = write_records(tmp_path, "10,80,10")
    said: list[str] = []
    choice = DetectorChoice(classifier.parent, detector="two_stage")
    assert choose_detector(choice, said.append).thresholds == {}
    assert len(said) == 1 and "0.5" in said[0] and "THRESHOLD=best" in said[0]

    said.clear()
    threshold_choice.write_two_stage_thresholds(classifier, None, annotations, said.append)
    assert len(said) == 1 and "pictures of val: with_mask 0." in said[0]
    written = json.loads((classifier / exported_classifier.NAME).read_text())["thresholds"]["yunet"]
    assert written["size"] == 960 and written["from"]["split"] == "val" and written["from"]["images"] >= 10

    said.clear()
    chosen = choose_detector(choice, said.append)
    assert not said and chosen.thresholds == written["scores"] and 0 < chosen.thresholds["with_mask"] < 1
    assert chosen.open().thresholds == chosen.thresholds
    other = DetectorChoice(
        classifier.parent, detector="two_stage", faces_model=shipped_detector.FOLDER / shipped_detector.FACES
    )
    assert choose_detector(other, said.append).thresholds == {} and "0.5" in said[0]


@pytest.mark.parametrize("lacking", ["val", "YuNet"])
def test_without_val_or_yunet_there_are_none(classifier: Path, tmp_path: Path, lacking: str) -> None:
    annotations = write_records(tmp_path, "90,0,10") if lacking == "val" else tmp_path
    before = (classifier / exported_classifier.NAME).read_bytes()
    said: list[str] = []
    gone = tmp_path / "gone.onnx" if lacking == "YuNet" else None
    threshold_choice.write_two_stage_thresholds(classifier, gone, annotations, said.append)
    assert len(said) == 1 and "0.5" in said[0] and ("val" if lacking == "val" else "gone.onnx") in said[0]
    assert (classifier / exported_classifier.NAME).read_bytes() == before
