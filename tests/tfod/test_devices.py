"""Training on several devices: two made of one processor, and two processes on this machine as two machines."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import train_tiny
from tiny_trainings import events, latest, start, train, wait_for

from facemask.core import signals
from facemask.core.errors import UserError
from facemask.core.progress import Progress
from facemask.tfod import detector_training

COPIES = "temp_worker_001"


@pytest.fixture(scope="module")
def same_picture(tmp_path_factory: pytest.TempPathFactory, tiny_records: Path) -> Path:
    """Records in two files that hold one picture only, so that two devices with one image each do what one does."""
    from facemask.data import tfrecord

    folder = tmp_path_factory.mktemp("same") / "annotations"
    shutil.copytree(tiny_records, folder)
    picture = next(tfrecord.read_tfrecord(folder / "train.record"))
    (folder / "train.record").unlink()
    for number in range(2):
        (folder / f"train.record-0000{number}-of-00002").write_bytes(tfrecord.frame_record(picture) * 2)
    return folder


@contextlib.contextmanager
def two_workers(folder: Path, records: Path, *more: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Two workers on ports of this machine that are free; none outlives the block."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    cluster = {"worker": [f"localhost:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    with contextlib.ExitStack() as stack:
        workers = []
        for index in range(2):
            given = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})}
            worker = start(folder, records, *more, env=os.environ | given)
            stack.enter_context(worker)
            stack.callback(worker.kill)
            workers.append(worker)
        yield workers


def variables(prefix: Path) -> dict[str, np.ndarray]:
    """The model's and the optimizer's values of a checkpoint."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if name.startswith(("model/", "optimizer/", "step/"))}


def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray], part: str) -> float:
    """How far the variables whose name holds `part` are from each other, as a share of their length."""
    names = [name for name in one if part in name]
    return float(
        np.linalg.norm([np.linalg.norm(one[name] - other[name]) for name in names])
        / np.linalg.norm([np.linalg.norm(one[name]) for name in names])
    )


@pytest.mark.long
def test_two_devices_with_the_same_image_train_as_one_does(tmp_path: Path, tiny_run: Path, same_picture: Path) -> None:
    """The mean of two gradients that are the same is the gradient, so losses and weights are one device's.

    Two steps only: a network with random weights takes the last digit's noise to the first within a few more.
    """
    same = ["--steps", "2", "--start", str(tiny_run / f"ckpt-{latest(tiny_run)}"), "--options"]
    options = {"summary_every": 1, "deterministic": True}
    one = train(tmp_path / "one", same_picture, *same, json.dumps(options), "--batch", "1")
    options["validate_every"] = 2
    two = train(tmp_path / "two", same_picture, *same, json.dumps(options), "--batch", "2", "--processors", "2")
    assert (one.returncode, two.returncode) == (0, 0), one.stdout + two.stdout
    expected = events(tmp_path / "one" / "train", "Loss/total_loss")
    assert sorted(expected) == [1, 2]
    assert abs(expected[1] - expected[2]) > 0.1, "nothing is learned"
    assert events(tmp_path / "two" / "train", "Loss/total_loss") == pytest.approx(expected, rel=1e-4)
    assert "mAP@0.5 on val" in two.stdout
    of_one, of_two = variables(tmp_path / "one" / "ckpt-2"), variables(tmp_path / "two" / "ckpt-2")
    assert of_one.keys() == of_two.keys()
    assert apart(of_one, of_two, "model/") < 1e-3
    assert apart(of_one, of_two, "OPTIMIZER_SLOT") < 0.02  # the gradients: of another scale, it would be 0.5 or 1


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    strategy = types.SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    with pytest.raises(UserError, match="BATCH=2: cannot be split evenly over 3 devices"):
        detector_training.train_loop(
            pipeline_config_path=str(train_tiny.write_config(tmp_path, tmp_path, 1, 0.1, batch=2)),
            model_dir=str(tmp_path),
            train_steps=1,
            options=detector_training.Options(),
            progress=Progress(1, 2),
            stop=signals.Stop(),
        )


def kill_one_of_two(folder: Path, records: Path) -> int:
    """Kill worker 1 of two after a save, and give the step of the last checkpoint that worker 0 says."""
    with two_workers(folder, records, "--steps", "100000", "--options", '{"save_every": 1}') as (chief, other):
        for process in (chief, other):
            wait_for(process, "loss: ")
        deadline = time.monotonic() + 120
        while not all((place / "checkpoint").exists() for place in (folder, folder / COPIES)):
            assert time.monotonic() < deadline, "nothing saved"
            time.sleep(0.1)
        other.kill()
        other.communicate()
        printed = chief.communicate(timeout=300)[0]
    assert chief.returncode == 1, printed
    error = printed.splitlines()[-1]
    assert re.search(r"error: worker 1 \(localhost:\d+\) was lost", error), printed
    step = latest(folder)
    assert error.endswith(f"continues from the last checkpoint, of step {step}.")
    return step


@pytest.mark.long
def test_two_workers_have_the_same_weights_and_a_lost_one_ends_the_other(tmp_path: Path, same_picture: Path) -> None:
    kill_one_of_two(tmp_path, same_picture)
    # Killed, worker 1 could not remove its own copies of the checkpoints.
    saved = [{path.stem for path in place.glob("ckpt-*.index")} for place in (tmp_path, tmp_path / COPIES)]
    step = max(saved[0] & saved[1])
    of_chief, of_other = variables(tmp_path / step), variables(tmp_path / COPIES / step)
    assert of_chief.keys() == of_other.keys()
    for name, value in of_chief.items():
        np.testing.assert_array_equal(of_other[name], value, err_msg=name)


@pytest.mark.long
def test_after_a_loss_both_go_on_to_the_end(tmp_path: Path, same_picture: Path) -> None:
    step = kill_one_of_two(tmp_path, same_picture)
    end = step + 4
    options = json.dumps({"validate_every": end})
    with two_workers(tmp_path, same_picture, "--steps", str(end), "--options", options) as workers:
        for process in workers:
            printed = process.communicate(timeout=300)[0]
            assert process.returncode == 0, printed
            assert f"going on at step {step} of {end}" in printed
            assert re.search(rf"Outcome\(step={end}, signal=None, best_step={end}, ", printed)
    assert latest(tmp_path) == end
    assert not (tmp_path / COPIES).exists()


@pytest.mark.long
def test_a_signal_to_one_worker_stops_both_at_the_same_step(tmp_path: Path, same_picture: Path) -> None:
    with two_workers(tmp_path, same_picture, "--steps", "100000") as (chief, other):
        for process in (chief, other):
            wait_for(process, "loss: ")
        other.send_signal(signal.SIGTERM)
        steps = set()
        for process in (chief, other):
            printed = process.communicate(timeout=300)[0]
            assert process.returncode == 143, printed
            steps |= set(re.findall(r"Outcome\(step=(\d+), signal=15", printed))
    assert steps == {str(latest(tmp_path))}
