import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facemask.cli import train_command
from facemask.core.errors import UserError
from facemask.data.manifest import Manifest, Split, write_manifest
from facemask.tfod import distributed

HOSTS = ["one:1234", "two:1234"]


def variable(cluster: object, kind: object = "worker", index: object = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def records(folder: Path, files: int, images: int = 10) -> Path:
    split = Split(tuple(f"train.record-{i}" for i in range(files)), images, 20, {"a": 20}, 2)
    write_manifest(folder, Manifest(("a",), dict.fromkeys(("train", "val", "test"), split), "0"))
    for name in split.files:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("devices", [1, 2, 3, 5, 6, 7, 12])
def test_equal_settings_are_equal_on_any_number_of_devices(monkeypatch: pytest.MonkeyPatch, devices: int) -> None:
    def make_sum(_strategy: object, _cluster: object) -> Callable[[list[float]], list[float]]:
        # As on the devices of a worker: all add the same float32, and the sum is divided by their number.
        return lambda values: [
            float(np.sum(np.full(devices, value, np.float32), dtype=np.float32) / np.float32(devices))
            for value in values
        ]

    monkeypatch.setattr(distributed, "make_sum_of_workers", make_sum)
    chief = distributed.Cluster((("worker", tuple(HOSTS)),), 0)
    distributed.refuse_differences(chief, None, {f"OPTION{number}": number for number in range(300)})


class UnavailableError(Exception):
    """Named as TensorFlow names it."""


def test_workers_are_numbered_with_the_chief_first() -> None:
    cluster = distributed.read_tf_config(variable({"worker": HOSTS, "chief": ["[::1]:5"]}, "worker", "1"))
    assert cluster
    assert cluster.addresses == ("[::1]:5", *HOSTS)
    assert (cluster.index, cluster.is_chief) == (2, False)
    chief = distributed.read_tf_config(variable({"worker": HOSTS, "chief": ["[::1]:5"]}, "chief"))
    assert chief
    assert chief.is_chief
    first = distributed.read_tf_config(variable({"worker": HOSTS}))
    assert first
    assert first.is_chief


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}, variable({"worker": HOSTS[:1]})])
def test_one_worker_trains_alone(environment: dict[str, str]) -> None:
    assert distributed.read_tf_config(environment) is None


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TF_CONFIG": "worker 0"}, "not JSON"),
        ({"TF_CONFIG": "[]"}, 'needs "cluster" and "task"'),
        ({"TF_CONFIG": json.dumps({"cluster": {"worker": HOSTS}})}, 'needs "cluster" and "task"'),
        (variable({"worker": HOSTS, "ps": ["three:1"]}), "has the job 'ps'"),
        (variable({"worker": "one:1234"}), '"worker" is not a list'),
        (variable({"worker": []}), '"worker" is not a list'),
        (variable({"worker": ["one", "two:1"]}), "'one' is not an address"),
        (variable({"worker": ["http://one:1", "two:1"]}), "'http://one:1' is not an address"),
        (variable({"worker": ["one:1", "one:1"]}), "has one:1 twice"),
        (variable({"chief": HOSTS}, "chief"), "more than one chief"),
        (variable({"worker": HOSTS}, "chief"), "'chief', which is not a job"),
        (variable({"worker": HOSTS}, ["worker"]), "which is not a job"),
        (variable({"worker": HOSTS}, index=2), '"index" is 2, but the cluster has 2'),
        (variable({"worker": HOSTS}, index=-1), "not a whole number"),
        (variable({"worker": HOSTS}, index=True), "not a whole number"),
        (variable({"worker": HOSTS}, index=None), "not a whole number"),
    ],
)
def test_a_wrong_variable_is_refused_with_an_example(environment: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as error:
        distributed.read_tf_config(environment)
    assert told in str(error.value)
    assert '"task": {"type": "worker", "index": 0}' in str(error.value)


@pytest.mark.parametrize(
    ("files", "options", "told"),
    [
        (1, {}, "`make records SHARDS=2`"),
        (2, {"batch": 3}, "BATCH=3"),
        (2, {"fresh": True}, "Remove .*default first"),
        (11, {}, "10 images in 11 files"),
    ],
)
def test_what_workers_cannot_do_is_refused_before_anything_is_fetched_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, options: dict[str, object], told: str
) -> None:
    monkeypatch.setenv(*next(iter(variable({"worker": HOSTS}).items())))
    with pytest.raises(UserError, match=told):
        train_command.main(annotations=records(tmp_path / "records", files), models=tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 100}, "SIZE=100"),
        ({"learning_rate": -1.0}, "LEARNING_RATE=-1"),
        ({"optimizer": "sgd"}, "OPTIMIZER=sgd"),
        ({"warmup_steps": 4000}, "WARMUP_STEPS=4000"),
        ({"augment": "no"}, "AUGMENT=no"),
        ({"run": "../other"}, "RUN=../other"),
        ({"model": "no"}, "MODEL=no"),
    ],
)
def test_a_wrong_setting_is_refused_before_the_weights_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], told: str
) -> None:
    def fetch(*_: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr("facemask.tfod.model_zoo.resolve_checkpoint", fetch)
    given = {"annotations": records(tmp_path / "records", 1), "models": tmp_path / "models"}
    with pytest.raises(UserError, match=told):
        train_command.main(**given, **options)
    with pytest.raises(AssertionError, match="fetched"):
        train_command.main(**given)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("message", "who"),
    [
        (
            "Collective ops is aborted by: Error reported from /job:worker/task:1: The following tasks are unhealthy "
            "(stopped sending heartbeats):\n/job:worker/replica:0/task:1\nThe tasks have crashed.",
            "worker 1 (two:1234) was lost",
        ),
        ("Collective ops is aborted by: Connection reset by peer", "another worker was lost"),
    ],
)
def test_a_lost_worker_is_named_with_the_step_to_go_on_from(message: str, who: str) -> None:
    cluster = distributed.read_tf_config(variable({"worker": HOSTS}))
    assert cluster
    error = UnavailableError(message)
    assert distributed.is_lost_worker(error)
    told = str(distributed.lost_worker_error(error, cluster, 40))
    assert told.startswith(f"{who}, so training stops here too (Collective ops is aborted by: ")
    assert told.endswith("continues from the last checkpoint, of step 40.")
    assert "all 2 machines" in told


def test_other_failures_are_not_taken_for_a_lost_worker() -> None:
    assert not distributed.is_lost_worker(UnavailableError("the input pipeline is closed"))
    assert not distributed.is_lost_worker(
        UnavailableError("node at /job:worker/replica:0/task:0/device:GPU:0: out of memory")
    )
    assert not distributed.is_lost_worker(OSError("Collective ops is aborted"))
