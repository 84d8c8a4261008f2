"""The way of a picture through the whole pipeline, as its users go it, with the real model at its smallest size."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import standin
from run_step import ROOT, step
from tiny_trainings import latest, wait_for

KNOWN = re.compile(
    r"loading|computing|finishing|estimate|warning: [\d.]+ GB|building|tracing|step \d+|validating|stopping|"
    r"\d+ of the model's|.*: trained to step \d+"
)
"""How the lines begin that a training prints."""


@dataclass(frozen=True)
class Training:
    """A training of the default model that was stopped: the options that name its run, its folder, what it printed."""

    options: list[str]
    folder: Path
    printed: str
    exit_code: int


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, zoo_archive: standin.StandIn, tiny_records: Path) -> Training:
    """A training from the zoo's weights that a signal stops after the validation of step 2."""
    models = tmp_path_factory.mktemp("models $(x)")
    options = ["--run", "é '1'", "--models", str(models)]
    given = ["--annotations", str(tiny_records), "--checkpoint", str(zoo_archive.archive)]
    small = ["--size", "160", "--batch", "1", "--eval-every", "2", "--steps", "1000", "--precision", "fp32"]
    command = [sys.executable, "-m", "scripts.train", *options, *given, *small]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        printed = wait_for(process, "mAP@0.5 on val")
        process.send_signal(signal.SIGTERM)
        printed += process.communicate(timeout=500)[0]
    return Training(options, models / "é '1'", printed, process.returncode)


def test_a_training_starts_from_the_zoos_weights_with_the_users_classes(training: Training) -> None:
    assert "291 of the model's 463 variables have the checkpoint's values" in training.printed
    config = (training.folder / "pipeline.config").read_text(encoding="utf-8")
    assert "num_classes: 3" in config
    assert "width: 160" in config


def test_a_signal_stops_a_training_which_saves_first(training: Training) -> None:
    assert training.exit_code == 143
    (step,) = re.findall(r"trained to step (\d+) of 1000", training.printed)
    assert latest(training.folder) == int(step) > 2
    assert latest(training.folder / "best") == 2


def test_a_user_sees_no_warnings_of_the_libraries_in_training(training: Training) -> None:
    strange = [line for line in training.printed.splitlines() if line.strip() and not KNOWN.match(line)]
    assert not strange


def test_from_a_training_to_boxes(training: Training, tmp_path: Path, tiny_records: Path) -> None:
    exported, predictions = tmp_path / "exported", tmp_path / "predictions"
    printed = step("export", *training.options, "--exported", str(exported), "--formats", "saved_model")
    chosen, first, second, *_ = printed.splitlines()
    assert chosen.startswith("ckpt-2 is the best up to step 2; ")
    assert first.startswith("exporting ") and "2 steps, input 160 x 160" in second
    model = json.loads((exported / "é '1'" / "model.json").read_text(encoding="utf-8"))
    assert (model["steps"], model["classes"]) == (2, ["with_mask", "without_mask", "mask_weared_incorrect"])

    picture = tiny_records.parent / "images" / "sample_000.jpg"
    found = ["--run", "é '1'", "--exported", str(exported), "--predictions", str(predictions)]
    step("infer", "--img", str(picture), "--threshold", "0.0", *found)
    written = json.loads((predictions / "é '1'" / "sample_000.json").read_text(encoding="utf-8"))
    assert (predictions / "é '1'" / "sample_000.jpg").is_file()
    boxes = written["boxes"]
    assert boxes, "a model that knows nothing still gives boxes of a low score"
    for box in boxes:
        assert 0 <= box["xmin"] <= box["xmax"] <= 320
        assert 0 <= box["ymin"] <= box["ymax"] <= 240
        assert box["class"] in model["classes"]


@pytest.mark.long
@pytest.mark.parametrize(
    "model", ["ssd_mobilenet_v2_fpnlite_320x320", "ssd_mobilenet_v2_fpnlite_640x640", "efficientdet_d0_512x512"]
)
def test_every_other_architecture_trains_and_exports(tmp_path: Path, tiny_records: Path, model: str) -> None:
    of_run = ["--run", model, "--models", str(tmp_path / "models")]
    tiny = ["--size", "256", "--batch", "1", "--eval-every", "0", "--checkpoint", "none"]
    step("train", *of_run, "--annotations", str(tiny_records), *tiny, "--model", model, "--steps", "2")
    step("export", *of_run, "--exported", str(tmp_path / "exported"), "--formats", "saved_model")
    written = json.loads((tmp_path / "exported" / model / "model.json").read_text(encoding="utf-8"))
    assert (written["model"], written["steps"], written["input"]) == (model, 2, {"height": 256, "width": 256})
