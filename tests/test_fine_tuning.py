"""The weights that come with facemask, fine-tuned on 50 pictures of a kind that they have not seen: docs/ready.md."""

import json
from pathlib import Path

import pytest
from run_step import step

pytestmark = [pytest.mark.long, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def drawn_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of records of 50 drawings to train on and 60 others to test on."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed, (split, count) in enumerate({"train": 50, "test": 60}.items(), start=1):
        step("sample", "--out", str(folder / "images" / split), "--count", str(count), "--seed", str(seed))
    step("records", "--images", str(folder / "images"), "--annotations", str(folder / "annotations"))
    return folder / "annotations"


def measure_map50(records: Path, reports: Path, *detector: str) -> float:
    """mAP@0.5 on the test split of the records, in 0..1."""
    where = ["--annotations", str(records), "--reports", str(reports), "--report", "measured"]
    step("eval", *detector, *where)
    metrics = json.loads((reports / "measured" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["figures"]["images"] == 60
    return float(metrics["figures"]["map50"])


def test_fifty_pictures_improve_the_shipped_ssd(drawn_records: Path, tmp_path: Path) -> None:
    before = measure_map50(drawn_records, tmp_path, "--run", "ready-ssd")
    run = ["--run", "tuned", "--annotations", str(drawn_records), "--models", str(tmp_path / "models")]
    step("train", *run, "--checkpoint", "ready", "--size", "224", "--eval-every", "0", timeout=2000)
    step("export", *run, "--exported", str(tmp_path / "exported"), "--formats", "openvino")
    after = measure_map50(drawn_records, tmp_path, "--run", "tuned", "--exported", str(tmp_path / "exported"))
    assert after > before + 0.05


def test_fifty_pictures_improve_the_shipped_classifier(drawn_records: Path, tmp_path: Path) -> None:
    before = measure_map50(drawn_records, tmp_path, "--run", "ready")
    where = ["--models", str(tmp_path / "models"), "--exported", str(tmp_path / "exported")]
    where += ["--reports", str(tmp_path / "reports"), "--annotations", str(drawn_records)]
    step("classifier", *where, "--weights", "ready", timeout=2000)
    tuned = ["--detector", "two_stage", "--exported", str(tmp_path / "exported")]
    after = measure_map50(drawn_records, tmp_path, *tuned)
    assert after > before + 0.05
