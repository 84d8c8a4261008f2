"""`make eval` against the API's own evaluation, on the same checkpoint and the same records."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_model
from PIL import Image

TESTS = Path(__file__).parents[1]

SAME = {
    "map": "DetectionBoxes_Precision/mAP",
    "map50": "DetectionBoxes_Precision/mAP@.50IOU",
    "map75": "DetectionBoxes_Precision/mAP@.75IOU",
    "recall": "DetectionBoxes_Recall/AR@100",
}
"""Our figure -> the API's name of it."""


def python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def png_records(tmp_path: Path) -> Path:
    """Records of PNG files: Pillow and TensorFlow decode JPEG with different roundings, and a score feels it."""
    from facemask.data import drawn_sample

    images = tmp_path / "images"
    drawn_sample.write_sample(images, images=12, seed=0)
    for jpeg in images.glob("*.jpg"):
        Image.open(jpeg).save(jpeg.with_suffix(".png"))
        jpeg.unlink()
    python("-m", "scripts.records", "--images", str(images), "--annotations", str(tmp_path / "annotations"))
    return tmp_path / "annotations"


@pytest.mark.long
def test_metrics_agree_with_the_apis_own_evaluation(tmp_path: Path, png_records: Path) -> None:
    run = tmp_path / "models" / "learned"
    tiny_model.write_run(run)
    python(str(TESTS / "train_tiny.py"), str(run), str(png_records), "--steps", "250", "--rate", "0.03")
    api = json.loads(python(str(TESTS / "api_evaluation.py"), str(run)).splitlines()[-1])
    assert api[SAME["map50"]] > 0.02, "it has to have learned something for the figures to mean anything"

    folders = ["--run", "learned", "--exported", str(tmp_path / "exported")]
    python("-m", "scripts.export", *folders, "--models", str(run.parent), "--formats", "saved_model")
    reports = ["--annotations", str(png_records), "--reports", str(tmp_path / "reports")]
    python("-m", "scripts.eval", *folders, *reports, "--split", "train", "--runtime", "tensorflow")
    figures = json.loads((tmp_path / "reports" / "learned" / "metrics.json").read_text())["figures"]
    for ours, theirs in SAME.items():
        assert figures[ours] == pytest.approx(api[theirs], abs=5e-5), ours
