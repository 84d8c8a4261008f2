import errno
import json
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from tiny_trainings import events, latest, start, train, wait_for

from scripts.tfod import training

SAVE_EACH = ["--options", '{"save_every": 1}']
STEP = re.compile(r"^step (\d+)/", re.MULTILINE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_records: Path) -> tuple[Path, str]:
    """A run of exactly 7 steps in bfloat16, validated every 3, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    done = train(folder, tiny_records, "--steps", "7", "--options", json.dumps({"validate_every": 3, "bf16": True}))
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


def test_trains_exactly_the_steps_and_saves_the_last(trained: tuple[Path, str]) -> None:
    folder, printed = trained
    assert latest(folder) == 7
    assert STEP.findall(printed)[-1] == "7"
    assert (folder / "ckpt-7.index").exists()


def test_says_the_estimate_before_the_first_step(trained: tuple[Path, str]) -> None:
    _, printed = trained
    assert printed.index("estimate: about ") < printed.index("step 1/7" if "step 1/7" in printed else "step ")


def test_the_user_sees_no_warnings_of_the_libraries(trained: tuple[Path, str]) -> None:
    _, printed = trained
    known = re.compile(
        r"loading|computing|finishing|estimate|warning: [\d.]+ GB|building|tracing|step \d+|validating|Outcome|going on"
    )
    strange = [line for line in printed.splitlines() if line.strip() and not known.match(line)]
    assert not strange


def test_keeps_the_best_validated_checkpoint_apart(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    best = json.loads((folder / "best" / "best.json").read_text())
    assert best["step"] in (3, 6, 7)
    assert latest(folder / "best") == best["step"]
    assert (folder / "best" / f"ckpt-{best['step']}.index").exists()


def test_writes_tensorboard_events_under_the_apis_names(trained: tuple[Path, str]) -> None:
    folder, _ = trained
    for tag in ("Loss/total_loss", "Loss/localization_loss", "Loss/classification_loss", "learning_rate"):
        assert 7 in events(folder / "train", tag)
    assert set(events(folder / "eval", "DetectionBoxes_Precision/mAP@.50IOU")) == {3, 6, 7}


def test_starting_from_a_runs_checkpoint_starts_at_step_0(
    trained: tuple[Path, str], tmp_path: Path, tiny_records: Path
) -> None:
    folder, _ = trained
    best = folder / "best"
    started = train(
        tmp_path,
        tiny_records,
        "--steps",
        "3",
        "--start",
        str(best / f"ckpt-{latest(best)}"),
        "--options",
        json.dumps({"summary_every": 1}),
    )
    assert started.returncode == 0, started.stdout
    assert latest(tmp_path) == 3
    rates = events(tmp_path / "train", "learning_rate")
    assert sorted(rates) == [1, 2, 3]
    assert min(rates[1], rates[2]) > 0, "past the end of the schedule it would be 0"


def test_a_finished_run_is_left_alone_and_more_steps_go_on(trained: tuple[Path, str], tiny_records: Path) -> None:
    folder, _ = trained
    again = train(folder, tiny_records, "--steps", "7")
    assert again.returncode == 0
    assert "has its 7 steps" in again.stdout
    more = train(folder, tiny_records, "--steps", "9")
    assert "going on at step 7 of 9" in more.stdout
    assert latest(folder) == 9


def test_stops_and_saves_on_a_signal_and_goes_on_there(tmp_path: Path, tiny_records: Path) -> None:
    process = start(tmp_path, tiny_records, "--steps", "100000")
    wait_for(process, "loss: ")
    process.send_signal(signal.SIGTERM)
    printed = process.communicate()[0]
    assert process.returncode == 143, printed
    step = int(re.findall(r"Outcome\(step=(\d+), signal=15", printed)[0])
    assert latest(tmp_path) == step
    resumed = train(tmp_path, tiny_records, "--steps", str(step + 2))
    assert f"going on at step {step} of {step + 2}" in resumed.stdout
    assert latest(tmp_path) == step + 2


def test_ends_at_once_while_nothing_can_be_saved(tmp_path: Path, tiny_records: Path) -> None:
    process = start(tmp_path, tiny_records, "--steps", "1000")
    wait_for(process, "estimate")
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    printed = process.communicate()[0]
    assert process.returncode == 130, printed
    assert time.monotonic() - asked < 3
    assert latest(tmp_path) is None


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
    assert not list(folder.glob("ckpt-*_temp"))


@pytest.mark.parametrize("while_saving", [False, True])
def test_a_killed_run_goes_on_at_its_last_checkpoint(tmp_path: Path, tiny_records: Path, while_saving: bool) -> None:
    kill_and_resume(tmp_path, tiny_records, 0.0, while_saving)


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(20))
def test_twenty_killed_runs_go_on(tmp_path: Path, tiny_records: Path, attempt: int) -> None:
    kill_and_resume(tmp_path, tiny_records, attempt * 0.137, while_saving=attempt % 4 != 0)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path, tiny_records: Path) -> None:
    done = train(tmp_path, tiny_records, "--steps", "60", "--rate", "1e30", *SAVE_EACH)
    assert done.returncode == 1
    error = done.stdout.splitlines()[-1]
    assert re.search(r"step \d+: .* is not finite", error)
    assert "LEARNING_RATE" in error
    good = latest(tmp_path)
    assert f"last good checkpoint is {'none yet' if good is None else tmp_path / f'ckpt-{good}'}" in error


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, tiny_records: Path, trained: tuple[Path, str]
) -> None:
    """Writing fails in the middle of a checkpoint, as on a full disk, by a limit that the system puts on files."""
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    before = {path.name: path.read_bytes() for path in folder.glob("ckpt-*")}
    last = latest(folder)
    limit = max(map(len, before.values())) // 2
    done = train(folder, tiny_records, "--steps", str(last + 9), "--largest-file", str(limit), *SAVE_EACH)
    assert done.returncode == 1, done.stdout
    error = done.stdout.splitlines()[-1]
    assert f"{folder}: the checkpoint of step {last + 1} cannot be written: " in error
    assert "File too large" in error
    assert f"last good checkpoint is {folder / f'ckpt-{last}'}; make room" in error
    assert {path.name: path.read_bytes() for path in folder.glob("ckpt-*")} == before
    assert latest(folder) == last


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"the disk is full \(\d+ MB free\)"),
        (RuntimeError("ckpt-8_temp/part-0; No space left on device\nmore"), r"the disk is full \(\d+ MB free\)"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), r"the disk is full \(\d+ MB free\)"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (RuntimeError("{{function_node x}} a/ckpt-8; File too large [Op:SaveV2]"), "a/ckpt-8; File too large"),
    ],
)
def test_why_a_checkpoint_cannot_be_written_is_said(tmp_path: Path, error: Exception, said: str) -> None:
    assert re.search(f"^{said}$|^.*] {said}$", training.why_not_written(error, tmp_path))


def test_agrees_with_the_apis_own_loop(tmp_path: Path, tiny_run: Path, tiny_records: Path) -> None:
    """Same initial weights, order of the images and precision, no augmentation: 20 steps lose the same."""
    same = ["--steps", "20", "--start", str(tiny_run / f"ckpt-{latest(tiny_run)}")]
    options = {"deterministic": True, "summary_every": 1}
    ours = train(tmp_path / "ours", tiny_records, *same, "--options", json.dumps(options))
    original = train(tmp_path / "original", tiny_records, *same, "--original")
    assert (ours.returncode, original.returncode) == (0, 0), ours.stdout + original.stdout
    for tag in ("Loss/total_loss", "Loss/localization_loss", "Loss/classification_loss", "learning_rate"):
        expected = events(tmp_path / "original" / "train", tag)
        assert sorted(expected) == list(range(1, 21))
        assert events(tmp_path / "ours" / "train", tag) == pytest.approx(expected, rel=1e-4)
    assert len(set(expected.values())) > 10, "the learning rate does not move"
