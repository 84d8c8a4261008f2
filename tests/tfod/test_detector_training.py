"""The train loop: when it saves, validates and ends, what it goes on from, and what it leaves when it cannot go on.

The model is a stand-in of two layers (`small_model`), trained in this process. Tests marked `long` train a tiny SSD in
processes of their own; test_pipeline.py trains the default model.
"""

import contextlib
import io
import os
import queue
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
import train_tiny
from file_limit import files_of_at_most
from tiny_trainings import events, latest, start, train, train_here, wait_for

from facemask.core import signals
from facemask.core.errors import UserError
from facemask.tfod import detection_model, pipeline_config, validation
from facemask.tfod.best_checkpoint import read_best

SAVE_EACH = ["--options", '{"save_every": 1}']
TAGS = ("Loss/total_loss", "Loss/localization_loss", "Loss/classification_loss", "learning_rate")


def score_validations(patch: pytest.MonkeyPatch, *scores: float, measure: bool = False) -> None:
    """Make the validations give these scores one after another; `measure` validates all the same."""
    make, given = validation.make_validator, iter(scores)

    def validator(*arguments: Any) -> Callable[[int], float]:
        validate = make(*arguments) if measure else lambda step: 0.0
        return lambda step: (validate(step), next(given))[1]

    patch.setattr(validation, "make_validator", validator)


@pytest.fixture(scope="module")
def trained(small_model: None, tmp_path_factory: pytest.TempPathFactory, tiny_records: Path) -> tuple[Path, str]:
    """A run of exactly 7 steps in bfloat16, validated at 3, 6 and 7, and what it printed. Read-only."""
    folder, printed = tmp_path_factory.mktemp("trained"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        score_validations(patch, 0.1, 0.3, 0.2, measure=True)
        outcome = train_here(folder, tiny_records, 7, validate_every=3, bf16=True)
    assert (outcome.exit_code, outcome.step, outcome.best_step, outcome.best_map) == (0, 7, 6, 0.3)
    return folder, printed.getvalue()


@pytest.fixture
def run(trained: tuple[Path, str], tmp_path: Path) -> Path:
    """That run, to go on with."""
    return Path(shutil.copytree(trained[0], tmp_path / "run"))


def test_trains_exactly_the_steps_and_saves_the_last(trained: tuple[Path, str]) -> None:
    folder, printed = trained
    assert latest(folder) == 7
    assert re.findall(r"^step (\d+)/", printed, re.MULTILINE)[-1] == "7"
    assert (folder / "ckpt-7.index").exists()


def test_a_run_that_has_its_steps_is_left_alone(run: Path, tiny_records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection_model, "build_detection_model", None)
    assert train_here(run, tiny_records, 7).step == 7


def test_keeps_the_best_validated_checkpoint_apart(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    best = read_best(folder)
    assert (best.step, best.map, best.latest) == (6, 0.3, 0.2)
    assert latest(folder / "best") == 6
    assert (folder / "best" / "ckpt-6.index").samefile(folder / "ckpt-6.index")


def test_writes_tensorboard_events_under_the_apis_names(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    for tag in TAGS:
        assert 7 in events(folder / "train", tag)
    assert set(events(folder / "eval", "DetectionBoxes_Precision/mAP@.50IOU")) == {3, 6, 7}


def test_computes_in_bfloat16_and_saves_float32(trained: tuple[Path, str], tmp_path: Path, tiny_records: Path) -> None:
    import tensorflow as tf

    folder, printed = trained
    assert "computing in bfloat16" in printed
    dtypes = tf.train.load_checkpoint(str(folder)).get_variable_to_dtype_map().values()
    assert tf.float32 in dtypes and tf.bfloat16 not in dtypes
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    train_here(tmp_path, tiny_records, 1)
    (in_float32,) = events(tmp_path / "train", "Loss/classification_loss").values()
    train_here(tmp_path / "bf16", tiny_records, 1, bf16=True)
    (in_bfloat16,) = events(tmp_path / "bf16" / "train", "Loss/classification_loss").values()
    assert 1e-6 < abs(in_bfloat16 / in_float32 - 1) < 0.02


def test_starting_from_a_runs_checkpoint_starts_at_step_0(
    trained: tuple[Path, str], tmp_path: Path, tiny_records: Path
) -> None:
    best = trained[0] / "best"
    train_here(tmp_path, tiny_records, 3, start=best / f"ckpt-{latest(best)}", summary_every=1)
    assert latest(tmp_path) == 3
    rates = events(tmp_path / "train", "learning_rate")
    assert sorted(rates) == [1, 2, 3]
    assert min(rates[1], rates[2]) > 0, "past the end of the schedule it would be 0"


def test_a_frozen_backbone_keeps_its_weights(trained: tuple[Path, str], tmp_path: Path, tiny_records: Path) -> None:
    import tensorflow as tf

    start = trained[0] / "ckpt-7"
    train_here(tmp_path, tiny_records, 1, start=start, freeze="backbone")
    before, after = (tf.train.load_checkpoint(str(prefix)) for prefix in (start, tmp_path / "ckpt-1"))
    names = [name for name in before.get_variable_to_shape_map() if "OPTIMIZER" not in name]
    for part, is_frozen in (("/classification_backbone/", True), ("/_box_predictor/", False)):
        same = [np.array_equal(before.get_tensor(name), after.get_tensor(name)) for name in names if part in name]
        assert same and set(same) == {is_frozen}, part


def test_a_run_ends_when_patience_does_and_stays_ended(
    run: Path, tiny_records: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score_validations(monkeypatch, 0.2)  # the second in a row that is not 0.3
    train_here(run, tiny_records, 20, validate_every=1, patience=2)
    assert "going on at step 7 of 20" in capsys.readouterr().out
    assert latest(run) == 8
    again = train_here(run, tiny_records, 20, validate_every=1, patience=2)
    assert (again.exit_code, again.step, again.best_step, latest(run)) == (0, 8, 6, 8)
    assert "ended early at step 8" in capsys.readouterr().out


def test_a_run_that_ended_early_goes_on_when_its_steps_change(
    run: Path, tiny_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_validations(monkeypatch, 0.2)
    train_here(run, tiny_records, 20, validate_every=1, patience=2)
    monkeypatch.undo()
    score_validations(monkeypatch, 0.2, 0.2)
    more = train_here(run, tiny_records, 21, validate_every=1, patience=2)
    assert (more.exit_code, latest(run)) == (0, 10)
    assert latest(run / "best") == 6


def test_stops_and_saves_on_a_signal(
    small_model: None,
    tmp_path: Path,
    tiny_records: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The signal comes during the validation of step 25."""
    heard = queue.Queue[int]()
    hear = signals.Stop.hear
    monkeypatch.setattr(signals.Stop, "hear", lambda self, number: (hear(self, number), heard.put(number)))
    monkeypatch.setattr(
        validation,
        "make_validator",
        lambda *_: lambda step: (os.kill(os.getpid(), signal.SIGTERM), heard.get(timeout=60), 0.5)[-1],
    )
    outcome = train_here(tmp_path, tiny_records, 100000, validate_every=25)
    assert (outcome.step, outcome.signal, outcome.exit_code) == (26, 15, 143)
    assert latest(tmp_path) == 26
    assert "estimate: " in capsys.readouterr().out


class EndedError(Exception):
    """Instead of the end of this process."""


def test_a_signal_while_nothing_can_be_saved_ends_the_process_at_once(
    small_model: None, tmp_path: Path, tiny_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes while the model is built."""
    codes = queue.Queue[int]()

    def build(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        # The main thread is busy, as it is inside TensorFlow.
        raise EndedError(codes.get(timeout=30))

    monkeypatch.setattr(signals.os, "_exit", codes.put)
    monkeypatch.setattr(detection_model, "build_detection_model", build)
    with pytest.raises(EndedError, match="130"):
        train_here(tmp_path, tiny_records, 1000)
    assert latest(tmp_path) is None


@pytest.mark.long
def test_a_process_stops_and_saves_on_a_signal(tmp_path: Path, tiny_records: Path) -> None:
    process = start(tmp_path, tiny_records, "--steps", "100000")
    wait_for(process, "estimate: ")
    process.send_signal(signal.SIGTERM)
    printed = process.communicate()[0]
    assert process.returncode == 143, printed
    step = int(re.findall(r"Outcome\(step=(\d+), signal=15", printed)[0])
    assert latest(tmp_path) == step >= 20


@pytest.mark.long
def test_ends_at_once_while_nothing_can_be_saved(tmp_path: Path, tiny_records: Path) -> None:
    process = start(tmp_path, tiny_records, "--steps", "1000")
    wait_for(process, "computing in ")
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    printed = process.communicate()[0]
    assert process.returncode == 130, printed
    assert time.monotonic() - asked < 3
    assert latest(tmp_path) is None


def checkpoints(folder: Path) -> set[str]:
    """The checkpoints that TensorFlow's state file names."""
    return set(re.findall(r'^all_model_checkpoint_paths: "(.*)"', (folder / "checkpoint").read_text(), re.MULTILINE))


def kill_and_resume(folder: Path, records: Path, delay: float, while_saving: bool) -> None:
    """Kill a training process, `delay` seconds after its first step or inside the first save after that; resume it."""
    process = start(folder, records, "--steps", "100000", *SAVE_EACH)
    wait_for(process, "loss: ")
    time.sleep(delay)
    if while_saving:
        known = set(folder.glob("ckpt-*"))
        deadline = time.monotonic() + 60
        while not set(folder.glob("ckpt-*_temp")) | (set(folder.glob("ckpt-*.data-*")) - known):
            assert time.monotonic() < deadline, "no save seen"
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    step = latest(folder) or 0
    resumed = train(folder, records, "--steps", str(step + 1))
    assert resumed.returncode == 0, resumed.stdout
    assert step == 0 or f"going on at step {step} of" in resumed.stdout, resumed.stdout
    assert latest(folder) == step + 1
    assert {path.name.split(".")[0] for path in folder.glob("ckpt-*")} == checkpoints(folder)


@pytest.mark.long
def test_a_run_that_is_killed_while_it_saves_goes_on(tmp_path: Path, tiny_records: Path) -> None:
    kill_and_resume(tmp_path, tiny_records, 0.0, while_saving=True)


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(20))
def test_twenty_killed_runs_go_on(tmp_path: Path, tiny_records: Path, attempt: int) -> None:
    kill_and_resume(tmp_path, tiny_records, attempt * 0.137, while_saving=attempt % 4 != 0)


def test_a_loss_that_is_not_finite_stops_the_run(small_model: None, tmp_path: Path, tiny_records: Path) -> None:
    with pytest.raises(UserError, match=r"step 2: Loss/\w+ = (inf|nan) is not finite.*LEARNING_RATE") as error:
        train_here(tmp_path, tiny_records, 60, rate=1e30, save_every=1)
    assert f"last good checkpoint is {tmp_path / 'ckpt-1'}" in str(error.value)
    assert latest(tmp_path) == 1


def test_weights_that_are_not_finite_are_not_saved(small_model: None, tmp_path: Path, tiny_records: Path) -> None:
    """The first step's loss is finite, and what it does to the weights is not."""
    with pytest.raises(UserError, match=r"step 1: the weight .* is not finite.*none yet"):
        train_here(tmp_path, tiny_records, 1, rate=float("inf"))
    assert latest(tmp_path) is None


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(run: Path, tiny_records: Path) -> None:
    """Writing fails in the middle of a checkpoint, as on a full disk, by a limit that the system puts on files."""
    before = {path.name: path.read_bytes() for path in run.glob("ckpt-*")}
    limit = max(map(len, before.values())) // 2
    with pytest.raises(UserError) as raised, files_of_at_most(limit):
        train_here(run, tiny_records, 16, save_every=1)
    error = str(raised.value)
    assert f"{run}: the checkpoint of step 8 cannot be written: " in error
    assert "File too large" in error
    assert f"last good checkpoint is {run / 'ckpt-7'}." in error
    assert {path.name: path.read_bytes() for path in run.glob("ckpt-*")} == before
    assert latest(run) == 7


def refuse_differences(ours: Path, original: Path) -> None:
    """Fail unless two trainings of 20 steps had the same losses and learning rates."""
    for tag in TAGS:
        expected = events(original / "train", tag)
        assert sorted(expected) == list(range(1, 21))
        assert events(ours / "train", tag) == pytest.approx(expected, rel=1e-4)
        assert len(set(expected.values())) > 10, f"{tag} does not move"


def test_agrees_with_the_apis_own_loop(small_model: None, tmp_path: Path, tiny_records: Path) -> None:
    """Same initial weights, order of the images and precision, no augmentation: 20 steps lose the same."""
    config = pipeline_config.parse_config(tiny_model.CONFIG, tmp_path)
    model = detection_model.build_detection_model(config.model, is_training=True)
    weights = tiny_model.save_checkpoint(tmp_path / "start", model, steps=7)
    train_here(tmp_path / "ours", tiny_records, 20, start=weights, summary_every=1)
    config_file = train_tiny.write_config(tmp_path / "original", tiny_records, 20, 0.01, start=weights)
    train_tiny.train_original(config_file, tmp_path / "original", 20)
    refuse_differences(tmp_path / "ours", tmp_path / "original")


@pytest.mark.long
def test_agrees_with_the_apis_own_loop_on_an_ssd(tmp_path: Path, tiny_run: Path, tiny_records: Path) -> None:
    same = ["--steps", "20", "--start", str(tiny_run / f"ckpt-{latest(tiny_run)}")]
    options = ["--options", '{"deterministic": true, "summary_every": 1}']
    ours = train(tmp_path / "ours", tiny_records, *same, *options)
    original = train(tmp_path / "original", tiny_records, *same, "--original")
    assert (ours.returncode, original.returncode) == (0, 0), ours.stdout + original.stdout
    refuse_differences(tmp_path / "ours", tmp_path / "original")


@pytest.mark.long
def test_an_ssd_trains_in_bfloat16_and_is_validated(tmp_path: Path, tiny_records: Path) -> None:
    done = train(tmp_path, tiny_records, "--steps", "7", "--options", '{"validate_every": 3, "bf16": true}')
    assert done.returncode == 0, done.stdout
    assert set(events(tmp_path / "eval", "DetectionBoxes_Precision/mAP@.50IOU")) == {3, 6, 7}
