"""The way of a picture through the whole pipeline, as its users go it, with the real model at its smallest size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import standin

ROOT = Path(__file__).parents[1]
TINY = ["--size", "160", "--batch", "1", "--eval-every", "0"]


def step(name: str, *options: str) -> str:
    """Run a step; its output. It must succeed."""
    command = [sys.executable, "-m", f"scripts.{name}", *options]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.timeout(900)
def test_from_labelled_pictures_to_boxes(tmp_path: Path, zoo_archive: standin.StandIn, tiny_records: Path) -> None:
    models, exported, predictions = tmp_path / "models $(x)", tmp_path / "exported", tmp_path / "predictions"
    of_run = ["--run", "é '1'", "--models", str(models)]
    train = [*of_run, "--annotations", str(tiny_records), "--checkpoint", str(zoo_archive.archive), *TINY]

    started = step("train", *train, "--steps", "2")
    assert "291 of the model's 463 variables hold the values of the checkpoint" in started
    config = (models / "é '1'" / "pipeline.config").read_text(encoding="utf-8")
    assert "num_classes: 3" in config
    assert "width: 160" in config

    resumed = step("train", *train, "--steps", "3")
    assert "going on at step 2 of 3" in resumed
    assert "trained to step 3 of 3" in resumed

    step("export", *of_run, "--exported", str(exported), "--formats", "saved_model")
    model = json.loads((exported / "é '1'" / "model.json").read_text(encoding="utf-8"))
    assert (model["steps"], model["classes"]) == (3, ["with_mask", "without_mask", "mask_weared_incorrect"])

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
