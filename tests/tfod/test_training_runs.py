"""What may happen to a run's folder: `make train` goes on with it, starts it over, or refuses and changes nothing."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import standin

from facemask.cli import train_command as step
from facemask.core.errors import UserError
from facemask.core.label_map import LabelMap
from facemask.core.provenance import started_from
from facemask.evaluation import seen_pictures
from facemask.tfod import compat, detector_training, model_zoo, pipeline_config, restoring, training_runs

START = Path("elsewhere/ckpt-1")
TEMPLATE = standin.CONFIGS / "ssd_resnet50_v1_fpn_640x640.config.j2"


def train_command(
    folder: Path, records: Path, *more: str, cwd: Path = standin.CONFIGS.parent
) -> subprocess.CompletedProcess[str]:
    """`make train RUN=a` of the runs in `folder`, as far as the first error."""
    given = ["--run", "a", "--models", str(folder), "--annotations", str(records), "--size", "160", "--batch", "1"]
    command = [sys.executable, "-m", "scripts.train", *given, *more]
    environment = os.environ | {"PYTHONPATH": str(standin.CONFIGS.parent)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def config(**changes: object) -> Any:
    return pipeline_config.make_config(TEMPLATE, standin.settings(**changes))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> training_runs.Run:
    """A run with a checkpoint in it and a best one (files that nothing reads)."""
    run = training_runs.Run(tmp_path / "models" / "a", "ssd", LabelMap(("a", "b", "c")), "digest")
    training_runs.prepare_run(run, config(), None, {}, fresh=False)
    (run.folder / "best").mkdir()
    for place in (run.folder, run.folder / "best"):
        (place / "checkpoint").write_text('model_checkpoint_path: "ckpt-3"\n')
        for kind in ("index", "data-00000-of-00001"):
            (place / f"ckpt-3.{kind}").write_bytes(b"weights")
    return run


def test_the_command_refuses_to_remove_the_checkpoint_that_it_starts_from(
    tmp_path: Path, tiny_run: Path, tiny_records: Path
) -> None:
    run = tmp_path / "a"
    shutil.copytree(tiny_run, run)
    before = files_of(tmp_path)
    done = train_command(tmp_path, tiny_records, "--fresh", "--checkpoint", str(run))
    assert done.returncode == 2, done.stderr
    assert str(run) in done.stderr and "Traceback" not in done.stderr
    assert files_of(tmp_path) == before


def test_a_run_remembers_that_it_comes_from_the_shipped_weights(
    tmp_path: Path, tiny_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(run: str, checkpoint: str, **more: Any) -> str | None:
        with pytest.raises(SystemExit):
            step.main(run=run, checkpoint=checkpoint, models=tmp_path, annotations=tiny_records, **same, **more)
        return started_from(tmp_path / run)

    same: dict[str, Any] = {"model": "ssd_mobilenet_v2_fpnlite_640x640", "size": 320}
    outcome = SimpleNamespace(step=1, exit_code=0)
    monkeypatch.setattr(detector_training, "train", lambda *_: outcome)
    monkeypatch.setattr(
        model_zoo, "resolve_checkpoint", lambda checkpoint, model: None if checkpoint == "zoo" else START
    )
    monkeypatch.setattr(restoring, "checkpoint_type", lambda prefix, classes, head: "detection")
    monkeypatch.setattr(seen_pictures, "warn_of_start", lambda *_: None)
    assert train("plain", "zoo") is None
    assert train("tuned", "ready") == "ready"
    (tmp_path / "tuned" / "checkpoint").touch()  # so that it goes on
    assert train("tuned", "zoo") == "ready"
    assert train("second", str(tmp_path / "tuned")) == "ready"
    assert train("third", str(tmp_path / "plain")) is None
    scales = {name: training_runs.learned_anchor_scale(tmp_path / name / "ckpt-1") for name in ("plain", "second")}
    assert scales == {"plain": 2.0, "second": 4.0}  # the second's boxes were learned with the shipped weights' anchors
    assert train("tuned", "zoo", fresh=True) is None
    assert training_runs.learned_anchor_scale(tmp_path / "tuned") == 2.0


@pytest.mark.parametrize("given", ["ckpt-3", "best/ckpt-3", "../a/best/ckpt-3", "link", "relative", "linked_file"])
def test_starting_over_from_inside_the_run_is_refused_and_removes_nothing(
    run: training_runs.Run, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start = run.folder / given
    if given == "link":
        (tmp_path / "link").symlink_to(run.folder)
        start = tmp_path / "link" / "best" / "ckpt-3"
    elif given == "relative":
        start = Path("models/a/ckpt-3")
    elif given == "linked_file":
        for kind in ("index", "data-00000-of-00001"):
            (tmp_path / f"ckpt-3.{kind}").symlink_to(run.folder / f"ckpt-3.{kind}")
        start = tmp_path / "ckpt-3"
    before = files_of(run.folder)
    monkeypatch.setattr(restoring, "checkpoint_type", lambda prefix, classes, head: "detection")
    with pytest.raises(UserError, match="FRESH=1"):
        training_runs.prepare_run(run, config(), start, {}, fresh=True)
    assert files_of(run.folder) == before


def test_starting_over_from_elsewhere_removes_the_runs_files(run: training_runs.Run, tiny_run: Path) -> None:
    training_runs.prepare_run(run, config(), tiny_run / "ckpt-1", {}, fresh=True)
    assert {path.name for path in run.folder.iterdir()} == {"pipeline.config", "label_map.pbtxt", "run.json"}
    training = pipeline_config.read_config(run.config).train_config
    # The stand-in has three classes, as the tiny model, but larger heads.
    start = str(tiny_run / "ckpt-1")
    assert (training.fine_tune_checkpoint, training.fine_tune_checkpoint_type) == (start, "detection")
    same_heads = config(head_depth=16, head_layers=1)
    training_runs.prepare_run(run, same_heads, tiny_run / "ckpt-1", {}, fresh=True)
    assert pipeline_config.read_config(run.config).train_config.fine_tune_checkpoint_type == "full"


def test_the_heads_are_those_of_the_models_row_unless_they_are_given(
    run: training_runs.Run, tiny_records: Path, tmp_path: Path
) -> None:
    table = (standin.CONFIGS / "models.yaml").read_text(encoding="utf-8")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "models.yaml").write_text(
        table.replace("  size: 640\n", "  size: 640\n  head_depth: 128\n  head_layers: 2\n", 1), encoding="utf-8"
    )
    done = train_command(run.folder.parent, tiny_records, "--head-depth", "96", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "depth: 256 -> 96\n" in done.stderr
    assert "num_layers_before_predictor: 4 -> 2\n" in done.stderr


def test_a_run_that_goes_on_keeps_the_checkpoint_that_it_started_from(
    run: training_runs.Run, tiny_run: Path, tmp_path: Path
) -> None:
    training_runs.prepare_run(run, config(), tiny_run / "ckpt-1", {}, fresh=True)
    (run.folder / "checkpoint").touch()
    training_runs.prepare_run(run, config(steps=20), tmp_path / "other", {}, fresh=False)
    training = pipeline_config.read_config(run.config).train_config
    assert (training.fine_tune_checkpoint, training.num_steps) == (str(tiny_run / "ckpt-1"), 20)


def test_a_run_of_another_model_is_refused_with_what_differs(run: training_runs.Run) -> None:
    with pytest.raises(UserError, match="width: 160 -> 640"):
        training_runs.prepare_run(run, config(size=640), None, {}, fresh=False)
    with pytest.raises(UserError, match="a, b, c -> a, b, d"):
        training_runs.prepare_run(
            dataclasses.replace(run, label_map=LabelMap(("a", "b", "d"))), config(), None, {}, fresh=False
        )
    training_runs.prepare_run(run, config(size=640), None, {}, fresh=True)
    assert not (run.folder / "checkpoint").exists()


def test_a_new_run_may_start_over(tmp_path: Path) -> None:
    new = training_runs.Run(tmp_path / "new", "m", LabelMap(("a", "b", "c")), "digest")
    with training_runs.locked_run(new.folder):
        training_runs.prepare_run(new, config(), None, {}, fresh=True)
    assert training_runs.read_run(new.folder) == new


def test_a_folder_that_is_no_run_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=str(tmp_path)):
        training_runs.prepare_run(
            training_runs.Run(tmp_path, "m", LabelMap(("a",)), "digest"), config(), None, {}, fresh=True
        )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_config_is_the_same_when_it_is_read_again(run: training_runs.Run) -> None:
    odd = config(train_records=("a[1]*?/é \"'\\.record",))
    training_runs.prepare_run(run, odd, None, {}, fresh=True)
    assert pipeline_config.read_config(run.config) == odd


def test_a_run_does_not_go_on_over_other_records_unless_asked(run: training_runs.Run) -> None:
    other = dataclasses.replace(run, records_digest="other")
    before = files_of(run.folder)
    with pytest.raises(UserError, match=f"{run.folder}: .*NEW_RECORDS=1"):
        training_runs.prepare_run(other, config(), None, {}, fresh=False)
    assert files_of(run.folder) == before
    training_runs.prepare_run(other, config(), None, {}, fresh=False, new_records=True)
    assert training_runs.read_run(run.folder).records_digest == "other"
    assert (run.folder / "ckpt-3.index").exists()


def test_other_records_matter_to_no_run_without_a_checkpoint(run: training_runs.Run) -> None:
    (run.folder / "checkpoint").unlink()
    training_runs.prepare_run(dataclasses.replace(run, records_digest="other"), config(), None, {}, fresh=False)


def test_two_processes_do_not_train_one_run(run: training_runs.Run) -> None:
    code = (
        "import sys, pathlib; from facemask.tfod import training_runs\n"
        "with training_runs.locked_run(pathlib.Path(sys.argv[1])): print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(run.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=str(run.folder)), training_runs.locked_run(run.folder):
            pass
        other.kill()
    with training_runs.locked_run(run.folder):
        training_runs.prepare_run(run, config(), None, {}, fresh=True)
        with pytest.raises(UserError), training_runs.locked_run(run.folder):
            pass


def test_records_that_are_gone_are_named(tmp_path: Path, tiny_records: Path) -> None:
    annotations = tmp_path / "annotations"
    shutil.copytree(tiny_records, annotations)
    (annotations / "val.record").unlink()
    done = train_command(tmp_path / "models", annotations, "--checkpoint", "none")
    assert done.returncode == 2, done.stderr
    assert str(annotations / "val.record") in done.stderr and "make records" in done.stderr
    assert not (tmp_path / "models").exists()


def test_the_api_reads_a_label_map_of_any_names(tmp_path: Path) -> None:
    compat.install()
    from object_detection.utils import label_map_util

    names = ("maske😷", "面具", 'a "b"', "back\\slash", "tab\tbell\a", "\U0010ffff")
    (tmp_path / "label_map.pbtxt").write_text(LabelMap(names).to_pbtxt(), encoding="utf-8")
    index = label_map_util.create_category_index_from_labelmap(str(tmp_path / "label_map.pbtxt"))
    assert [index[number]["name"] for number in range(1, len(names) + 1)] == list(names)
